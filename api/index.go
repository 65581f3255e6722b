// Package zohomirror is the function that Vercel runs. It bears the module's name because
// the builder rewrites the module's path to that of this package.
package zohomirror

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"sync"

	"github.com/sethvargo/go-envconfig"
	_ "github.com/vercel/go-bridge/go/bridge" // pinned: the builder's own main imports it

	"zohomirror/internal/config"
	"zohomirror/internal/mirror"
	"zohomirror/internal/web"
)

// router is built by the first request of a process and serves all others.
var router = sync.OnceValue(build)

// Handler answers every path.
func Handler(w http.ResponseWriter, r *http.Request) { router().ServeHTTP(w, r) }

func build() http.Handler {
	ctx := context.Background()
	settings, err := config.Load(ctx, envconfig.OsLookuper())
	if err != nil {
		return broken(err)
	}
	log := settings.Logger(os.Stdout)
	m, err := mirror.Open(ctx, settings.Mirror, settings.Zoho, settings.DatabaseURL, log)
	if err != nil {
		return broken(err)
	}
	return web.New(m, settings.CronSecret, log)
}

// broken answers everything with what is wrong with the settings: their names, no value.
func broken(cause error) http.Handler {
	problems := []string{cause.Error()}
	var settings *config.Error
	if errors.As(cause, &settings) {
		problems = settings.Problems
	}
	body, err := json.Marshal(map[string]any{"error": "the settings cannot be used", "problems": problems, "hint": "set them in the project's environment variables, then deploy again"})
	if err != nil {
		panic(err) // strings
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write(body) // a caller that left needs no answer
	})
}
