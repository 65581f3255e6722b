package mirror

import (
	"context"
	"log/slog"

	"zohomirror/internal/postgres"
)

// summarize writes the one line of a run that ended; docs/logs.md describes its keys.
func (r *run) summarize(ctx context.Context, result Result, outcome postgres.Outcome) {
	log := r.log.With("mode", result.Mode, "trigger", r.claimed.Trigger, "status", result.Status,
		"pages", result.Counts.Pages, "rows", result.Counts.Processed,
		"inserted", result.Counts.Inserted, "updated", result.Counts.Updated, "unchanged", result.Counts.Unchanged,
		"deleted", result.Counts.Deleted, "restored", result.Counts.Restored, "quarantined", result.Counts.Quarantined,
		"calls", outcome.Calls, "credits", outcome.Credits, "more", result.More, "reason", result.Reason,
		"watermark", watermark(result), "duration_ms", result.Duration.Milliseconds())
	if result.Status == StatusFailed {
		log.ErrorContext(ctx, "run failed", "cause", outcome.Cause, "error", result.Err, "hint", result.Hint)
		return
	}
	log.InfoContext(ctx, "run ended")
}

// watermark is null before the first window is complete: the key is always there.
func watermark(result Result) any {
	if result.Watermark.IsZero() {
		return nil
	}
	return result.Watermark.UTC()
}

// about says of a run that did not get the lock what it was.
func about(log *slog.Logger, request Request, result Result) *slog.Logger {
	return log.With("mode", request.Mode, "trigger", request.Trigger, "status", result.Status, "duration_ms", result.Duration.Milliseconds())
}
