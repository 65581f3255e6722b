package main

import (
	"io"
	"net/http"
	"testing"
	"time"
)

// BenchmarkStart reports the time from the process's start to its first answer, of a call
// that needs no database.
func BenchmarkStart(b *testing.B) {
	settings := map[string]string{
		"DATABASE_URL": "postgres://u:p@127.0.0.1:1/db", "ZOHO_DC": "eu", "ZOHO_CLIENT_ID": "i", "ZOHO_CLIENT_SECRET": "s", "ZOHO_REFRESH_TOKEN": "r",
		"PORT": freePort(b), "LOG_FORMAT": "json",
	}
	for b.Loop() {
		command := program(b, settings, "serve")
		command.Stderr = io.Discard
		if err := command.Start(); err != nil {
			b.Fatal(err)
		}
		for {
			response, err := http.Get("http://127.0.0.1:" + settings["PORT"] + "/api/sync?module=leads")
			if err == nil {
				_ = response.Body.Close()
				break
			}
			time.Sleep(500 * time.Microsecond)
		}
		b.StopTimer()
		_ = command.Process.Kill()
		_ = command.Wait() // it was killed
		b.StartTimer()
	}
}
