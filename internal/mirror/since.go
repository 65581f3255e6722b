package mirror

import (
	"context"
	"time"

	"zohomirror/internal/postgres"
)

// resumable is how long a finished stream waits for the call that reads the others: later
// the same call means to read all of it once more.
const resumable = 24 * time.Hour

// readSince reads the module again from an earlier point in time, by streams of its own: the
// ordinary ones, their watermarks and open windows know nothing of it. A run cut short is
// resumed by the next one that is asked for the same point. Once all are read they are removed.
func (r *run) readSince(ctx context.Context) error {
	since, names := r.request.Since, []string{}
	for _, stream := range r.claimed.Module.Streams {
		stream.Name = "since:" + since.Format(time.RFC3339) + ":" + stream.Name
		names = append(names, stream.Name)
		c, begun := r.claimed.Checkpoints[stream.Name]
		if begun && c.CursorTime.IsZero() && time.Since(c.UpdatedAt) < resumable {
			continue // read to its end by an earlier run
		}
		if !begun || c.CursorTime.IsZero() {
			// A window starts an overlap below its watermark: this one at since exactly.
			r.claimed.Checkpoints[stream.Name] = postgres.Checkpoint{Stream: stream.Name, Watermark: since.Add(r.config.Overlap)}
		}
		if err := r.readStream(ctx, stream); err != nil || r.more {
			return err
		}
	}
	return r.writer.RemoveStreams(ctx, names)
}
