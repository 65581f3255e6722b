package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	var status atomic.Int64
	status.Store(http.StatusOK)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(int(status.Load()))
	}))
	defer server.Close()
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String()) // the server made it
	settings := map[string]string{"PORT": port, "HTTP_PROXY": "http://127.0.0.1:1"}
	if _, complaints, exit := output(t, settings, "healthcheck"); exit != 0 {
		t.Errorf("a server that is well: %d %s", exit, complaints)
	}
	status.Store(http.StatusServiceUnavailable)
	if _, complaints, exit := output(t, settings, "healthcheck"); exit != 1 || !strings.Contains(complaints, "503") {
		t.Errorf("a server that is not: %d %s", exit, complaints)
	}
	settings["PORT"] = freePort(t)
	if _, complaints, exit := output(t, settings, "healthcheck"); exit != 1 || !strings.Contains(complaints, "does not answer") {
		t.Errorf("no server: %d %s", exit, complaints)
	}
}
