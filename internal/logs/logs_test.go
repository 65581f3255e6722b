package logs_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/logs"
)

// lines counts the writes: platforms take each for an entry of its own.
type lines []string

func (l *lines) Write(p []byte) (int, error) {
	*l = append(*l, string(p))
	return len(p), nil
}

const trace = "105445aa7843bc8bf206b12000100000"

// written is what the four levels write, as JSON without its time.
func written(t *testing.T, o logs.Options, ctx context.Context) []map[string]any {
	t.Helper()
	var out lines
	o.Level = slog.LevelDebug
	log := logs.New(&out, o).With("run_id", "7")
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		log.Log(ctx, level, "said\ntwice", "error", errors.New("a\nb"), "level_of", "x")
	}
	if len(out) != 4 {
		t.Fatalf("%d writes for 4 lines: %q", len(out), out)
	}
	all := make([]map[string]any, len(out))
	for i, line := range out {
		if !strings.HasPrefix(line, "{") || strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
			t.Errorf("not one line: %q", line)
		}
		if err := json.Unmarshal([]byte(line), &all[i]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if all[i]["time"] == nil {
			t.Errorf("no time: %s", line)
		}
		delete(all[i], "time")
	}
	return all
}

func TestJSON(t *testing.T) {
	t.Parallel()
	traced := logs.WithTrace(t.Context(), trace+"/1;o=1")
	for i, level := range []string{"debug", "info", "warn", "error"} {
		want := map[string]any{"level": level, "msg": "said\ntwice", "run_id": "7", "error": "a\nb", "level_of": "x"}
		if diff := cmp.Diff(want, written(t, logs.Options{Project: "p"}, traced)[i]); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestCloudLogging(t *testing.T) {
	t.Parallel()
	for header, project := range map[string]string{
		trace + "/2450465917091935019;o=1": "mirror-7", trace: "mirror-7", trace + "/1": "", "": "mirror-7",
		"ZZZ45aa7843bc8bf206b12000100000x/1": "mirror-7", trace + "00": "mirror-7", `"}{` + trace: "mirror-7",
	} {
		got := written(t, logs.Options{Cloud: true, Project: project}, logs.WithTrace(t.Context(), header))
		for i, severity := range []string{"DEBUG", "INFO", "WARNING", "ERROR"} {
			want := map[string]any{"severity": severity, "message": "said\ntwice", "run_id": "7", "error": "a\nb", "level_of": "x"}
			if header == trace || strings.HasPrefix(header, trace+"/") && project != "" {
				want["logging.googleapis.com/trace"] = "projects/mirror-7/traces/" + trace
			}
			if diff := cmp.Diff(want, got[i]); diff != "" {
				t.Errorf("%q (-want +got):\n%s", header, diff)
			}
		}
	}
}

func TestText(t *testing.T) {
	t.Parallel()
	for plain, colours := range map[bool]bool{true: false, false: true} {
		var out lines
		logs.New(&out, logs.Options{Text: true, Plain: plain}).Warn("seen", "run_id", "7")
		if len(out) != 1 || !strings.Contains(out[0], "seen") || strings.Contains(out[0], "\x1b[") != colours {
			t.Errorf("plain %t: %q", plain, out)
		}
	}
}
