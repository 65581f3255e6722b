package postgres

import (
	"context"
	"time"
)

// restLimit bounds the goodbyes; restPause is how long to look away while broken
// connections are being ended in the background.
const (
	restLimit = 2 * time.Second
	restPause = 2 * time.Millisecond
)

// Rest ends all connections and returns when that is done: a process that is frozen right
// after it holds none. The store goes on working; whoever uses it meanwhile keeps what he
// has, and Rest waits for him no longer than restLimit.
func (s *Store) Rest() {
	ctx, cancel := context.WithTimeout(context.Background(), restLimit)
	defer cancel()
	// Not Reset: that leaves the goodbyes to goroutines, which the freeze would catch.
	for _, conn := range s.pool.AcquireAllIdle(ctx) {
		_ = conn.Hijack().Close(ctx) // a connection that breaks now is gone too
	}
	for s.pool.Stat().TotalConns() > 0 && ctx.Err() == nil {
		time.Sleep(restPause)
	}
}
