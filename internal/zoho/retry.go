package zoho

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// backoffs are the bounds of the pauses between attempts.
var backoffs = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}

// backoff returns how long to wait after the failed attempt (0 is the first), and whether
// another one makes sense. The jitter is full: clients that failed together must not come
// back together. A Retry-After is obeyed as it stands.
func backoff(attempt int, failure *Error) (time.Duration, bool) {
	if !failure.transient || attempt >= len(backoffs) {
		return 0, false
	}
	if failure.retryAfter > 0 {
		return failure.retryAfter, true
	}
	return rand.N(backoffs[attempt] + 1), true
}

// errNoTime says that a retry would come too late for the run.
type errNoTime struct{ wait time.Duration }

func (e errNoTime) Error() string {
	return "no time is left to ask again in " + e.wait.Round(time.Millisecond).String()
}

func (errNoTime) Unwrap() error { return context.DeadlineExceeded }

// pause waits, unless ctx would end first: then it does not wait at all.
func pause(ctx context.Context, wait time.Duration) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return errNoTime{wait}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retryAfter reads the header's seconds or date; Zoho does not document it, so it may
// be anything.
func retryAfter(header string) time.Duration {
	if seconds, err := strconv.Atoi(header); err == nil {
		return time.Duration(max(0, min(seconds, 24*60*60))) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
