package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
)

type healthCmd struct{}

// healthLimit is less than what container engines wait.
const healthLimit = 5 * time.Second

// Run asks the server on this machine, for images in which nothing else could.
func (healthCmd) Run(ctx context.Context) error {
	port, err := config.LoadPort(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/healthz", port), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{} // no proxy stands between a machine and itself
	response, err := transport.RoundTrip(request)
	if err != nil {
		return fmt.Errorf("the server does not answer: %w", err)
	}
	_ = response.Body.Close() // the status says it
	if response.StatusCode != http.StatusOK {
		return errors.New("the server answers " + response.Status)
	}
	return nil
}
