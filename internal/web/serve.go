package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// Limits of the server. A request is a line and a few headers.
const (
	readLimit  = 10 * time.Second
	idleLimit  = 2 * time.Minute
	maxHeaders = 128 << 10
	grace      = 5 * time.Second // beyond the run's own deadline
)

// Listen takes the port on all addresses.
func Listen(port int) (net.Listener, error) {
	listener, err := net.Listen("tcp", ":"+strconv.Itoa(port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port %d is taken by another program: set PORT to a free one", port)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	return listener, nil
}

// Serve answers on the listener until ctx ends. Then it calls stop, which asks the runs to
// end, and waits for them: at most their deadline and a little more.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, deadline time.Duration, stop func(), log *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readLimit,
		ReadTimeout:       readLimit,
		WriteTimeout:      deadline + grace,
		IdleTimeout:       idleLimit,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}

	log.InfoContext(ctx, "shutting down: runs end at their next page")
	stop()
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadline+grace)
	defer cancel()
	if err := server.Shutdown(closing); err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	<-failed
	return nil
}
