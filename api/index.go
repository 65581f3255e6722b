// Package zohomirror is the function that Vercel runs. It bears the module's name because
// the builder rewrites the module's path to that of this package.
package zohomirror

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/sethvargo/go-envconfig"
	_ "github.com/vercel/go-bridge/go/bridge" // pinned: the builder's own main imports it

	"zohomirror/internal/config"
	"zohomirror/internal/dashboard"
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
	if err = closed(err); err != nil {
		return broken(err)
	}
	log := settings.Logger(os.Stdout)
	settings.Zoho.UserAgent = "zohomirror/" + cmp.Or(os.Getenv("VERCEL_GIT_COMMIT_SHA"), os.Getenv("VERCEL_DEPLOYMENT_ID"), "dev")
	m, err := mirror.Open(ctx, settings.Mirror, settings.Zoho, settings.DatabaseURL, log)
	if err != nil {
		return broken(err)
	}
	board, err := dashboard.For(settings, m, true, log)
	if err != nil {
		return broken(err)
	}
	handler := web.New(m, settings.CronSecret, log, web.WithGoogle(settings.Google), web.Preview(settings.Preview), web.WithDashboard(board))
	return &resting{Handler: handler, rest: m.Rest}
}

// closed adds to what is wrong with the settings that nobody is let in: the health check of
// such a deployment would be green while every call of its scheduler is refused. A preview
// need not be called.
func closed(err error) error {
	for _, name := range []string{"CRON_SECRET", "OIDC_AUDIENCE"} {
		if strings.TrimSpace(os.Getenv(name)) != "" {
			return err
		}
	}
	if os.Getenv("VERCEL_ENV") == "preview" {
		return err
	}
	all := &config.Error{}
	if err != nil && !errors.As(err, &all) {
		return err
	}
	return &config.Error{Problems: append(slices.Clone(all.Problems), "CRON_SECRET: is missing")}
}

// resting leaves nothing open when the last request has been answered: from its answer to
// its next call a function is frozen, and a frozen connection is one that the database lacks.
type resting struct {
	http.Handler
	rest   func()
	atWork atomic.Int64
}

func (h *resting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.atWork.Add(1)
	defer func() {
		if h.atWork.Add(-1) == 0 {
			h.rest()
		}
	}()
	h.Handler.ServeHTTP(w, r)
}

// broken says which settings are wrong.
func broken(cause error) http.Handler {
	problems := []string{cause.Error()}
	var settings *config.Error
	if errors.As(cause, &settings) {
		problems = settings.Problems
	}
	return web.Broken(problems)
}
