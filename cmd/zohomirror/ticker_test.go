package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/mirror"
	"zohomirror/internal/panics"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// The first tick comes at once, each other one when its time has come; a module goes on
// while there is more, and neither its length, nor a failure or a panic, touches the others
// or the next tick. The bubble ends only when no goroutine is left.
func TestTicker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var log bytes.Buffer
		at := map[string][]time.Duration{}
		began := time.Now()
		run := func(ctx context.Context, request mirror.Request) (mirror.Result, error) {
			name := request.Module.Name
			mu.Lock()
			at[name] = append(at[name], time.Since(began))
			n := len(at[name])
			mu.Unlock()
			if request.Trigger != "ticker" || request.Mode != "" {
				t.Errorf("%+v", request)
			}
			if name == "deals" {
				switch n {
				case 1:
					return mirror.Result{More: true}, errors.New("no Zoho")
				case 2:
					panic("a mistake")
				}
				return mirror.Result{Status: mirror.StatusSkipped}, nil
			}
			time.Sleep(time.Minute)
			if ctx.Err() != nil {
				t.Error("a run was cancelled, not ended")
			}
			return mirror.Result{More: n == 1 || n == 2}, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		var fallen []string
		fell := func(_ context.Context, where string, p *panics.Error) { fallen = append(fallen, where+": "+p.Error()) }
		wait := ticker{15 * time.Minute, run, fell, slog.New(slog.NewTextHandler(&log, nil))}.start(ctx)
		time.Sleep(45*time.Minute + 30*time.Second) // leads are at work
		cancel()
		wait()
		const m = time.Minute
		want := map[string][]time.Duration{"leads": {0, 1 * m, 2 * m, 15 * m, 30 * m, 45 * m}, "deals": {0, 15 * m, 30 * m, 45 * m}}
		if diff := cmp.Diff(want, at); diff != "" || !strings.Contains(log.String(), "a mistake") {
			t.Errorf("(-want +got):\n%s%s", diff, log.String())
		}
		if diff := cmp.Diff([]string{"ticker: panic: a mistake"}, fallen); diff != "" {
			t.Errorf("Sentry (-want +got):\n%s", diff)
		}
	})
}

// On a box: both modules are mirrored without a call, time and again; the secret's absence
// is nothing to warn of; a signal ends the run at its page, and the program well.
func TestServeEvery(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	zoho.InsertMany("Leads", 300, func(int) zohosim.Record { return zohosim.Record{"Last_Name": "L"} })
	zoho.InsertMany("Deals", 40, func(int) zohosim.Record { return zohosim.Record{"Deal_Name": "D"} })
	settings := settingsFor(t, zoho, pgtest.Database(t))
	settings["PORT"], settings["SYNC_PAGE_SIZE"] = freePort(t), "10"
	command := program(t, settings, "serve", "--every", "1s")
	var log bytes.Buffer
	command.Stderr = &log
	var once sync.Once
	var deals atomic.Int64
	started, ended := make(chan struct{}), make(chan struct{})
	zoho.OnCall(func(c zohosim.Call) {
		switch {
		case strings.Contains(c.Query, "from Deals"):
			deals.Add(1)
		case strings.Contains(c.Query, "from Leads") && deals.Load() > 12: // a tick takes six or so
			once.Do(func() {
				<-started
				_ = command.Process.Signal(syscall.SIGTERM) // it is alive
				close(ended)
			})
		}
	})
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	<-ended
	_ = command.Wait() // judged by its status
	if status := command.ProcessState.ExitCode(); status != 0 || strings.Contains(log.String(), "CRON_SECRET") {
		t.Errorf("exit status %d: %s", status, log.String())
	}
	conn, err := pgx.Connect(t.Context(), settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var modules, triggers string
	var open, mirrored int
	err = conn.QueryRow(t.Context(), `SELECT string_agg(DISTINCT module, ' ' ORDER BY module), string_agg(DISTINCT trigger, ' '),
		count(*) FILTER (WHERE status <> 'ok'), (SELECT count(*) FROM deals) FROM sync_runs`).Scan(&modules, &triggers, &open, &mirrored)
	if err != nil || modules != "deals leads" || triggers != "ticker" || open != 0 || mirrored != 40 {
		t.Errorf("modules %q, triggers %q, %d runs that are not ok, %d deals, %v", modules, triggers, open, mirrored, err)
	}
}

func TestEveryIsADuration(t *testing.T) {
	t.Parallel()
	for _, every := range []string{"15", "-1m", "10ms"} {
		if _, complaints, status := output(t, nil, "serve", "--every="+every); status == 0 || !strings.Contains(complaints, "every") {
			t.Errorf("%s: %d %s", every, status, complaints)
		}
	}
}
