// Package web is the HTTP side: the endpoint that a scheduler calls, and health. Every
// answer is JSON; people have the dashboard, which is mounted here.
package web

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/logs"
	"zohomirror/internal/mirror"
	"zohomirror/internal/panics"
)

const (
	maxQuery    = 4 << 10         // of an address; ours are a few words
	healthLimit = 3 * time.Second // for the database to answer
)

// An Option changes what New returns.
type Option func(*server)

// New returns the router. Only callers that know the secret may sync; an empty secret lets
// nobody in, but for those that an option names.
func New(m *mirror.Mirror, secret string, log *slog.Logger, options ...Option) http.Handler {
	s := &server{mirror: m, open: secret != "", secret: sha256.Sum256([]byte(secret)), log: log, judging: make(chan struct{}, 1)}
	for _, option := range options {
		option(s)
	}
	r := chi.NewRouter()
	r.Use(traced, s.recover, hardened)
	r.Get("/healthz", s.health)
	r.Head("/healthz", s.health) // monitors; net/http, and the platform of a function, leave the body out
	r.With(s.authorize, s.refusePreview).Get("/api/sync", s.sync)
	s.mountDashboard(r)
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, failure{Error: "there is nothing here", Hint: "see GET /api/sync?module=leads and GET /healthz"})
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		allowed := http.MethodGet
		if r.URL.Path == "/healthz" {
			allowed += ", " + http.MethodHead
		}
		w.Header().Set("Allow", allowed)
		answer(w, http.StatusMethodNotAllowed, failure{Error: "only GET is allowed here"})
	})
	return r
}

type server struct {
	mirror *mirror.Mirror
	open   bool
	secret [sha256.Size]byte
	log    *slog.Logger

	judging   chan struct{} // holds one place for the deep health check
	google    *google       // nil: its tokens let nobody in
	dashboard http.Handler  // of everything under /dashboard; nil: there is none
	preview   bool          // this is a preview deployment, which does not sync
}

// failure is the form of every error that is not a run's.
type failure struct {
	Error   string   `json:"error"`
	Hint    string   `json:"hint,omitempty"`
	Modules []string `json:"modules,omitempty"`
}

func answer(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // our own types
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a caller that left needs no answer
}

// traced lets every line of the log say which of the platform's requests it belongs to.
func traced(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(logs.WithTrace(r.Context(), r.Header.Get("X-Cloud-Trace-Context"))))
	})
}

// recover answers a panic with 500, and says where it came from.
func (s *server) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				fault := panics.New(p)
				s.log.ErrorContext(r.Context(), "a request ended in a panic", "path", r.URL.Path, "panic", fault.Error(), "stack", fault.Stack())
				answer(w, http.StatusInternalServerError, failure{Error: "an internal error", Hint: "see the log; please report it"})
				s.mirror.ReportPanic(r.Context(), r.URL.Path, fault)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// sync runs one module. The run goes on when the caller hangs up: what it has begun is
// worth finishing, and it ends by itself in time.
func (s *server) sync(w http.ResponseWriter, r *http.Request) {
	request, err := requestOf(r)
	if err != nil {
		answer(w, http.StatusBadRequest, failure{Error: err.Error(), Modules: crm.Modules()})
		return
	}
	request.Trigger = triggerOf(r)
	result, err := s.mirror.Run(context.WithoutCancel(r.Context()), request)
	status := http.StatusOK
	var other *mirror.OtherRun
	switch {
	case errors.As(err, &other):
		status = http.StatusConflict
	case err != nil:
		status = http.StatusInternalServerError
	}
	answer(w, status, result)
}

// requestOf reads what the address asks for.
func requestOf(r *http.Request) (request mirror.Request, err error) {
	if len(r.URL.RawQuery) > maxQuery {
		return request, fmt.Errorf("the address is too long: its query has %d bytes", len(r.URL.RawQuery))
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return request, fmt.Errorf("the address's query cannot be read: write ?module=leads")
	}
	if request.Module, err = moduleOf(query); err != nil {
		return request, err
	}
	for name, read := range map[string]func(string) error{
		"run_id": func(text string) (err error) { request.RunID, err = mirror.ParseRunID(text); return err },
		"since":  func(text string) (err error) { request.Since, err = mirror.ParseSince(text, time.Now()); return err },
		"mode":   func(text string) (err error) { request.Mode, err = mirror.ParseMode(text); return err },
		"deep": func(text string) (err error) {
			if request.Deep, err = strconv.ParseBool(text); err != nil {
				err = fmt.Errorf("deep is %.40q: write true or false", text)
			}
			return err
		},
	} {
		switch given := query[name]; len(given) {
		case 0:
		case 1:
			if err := read(given[0]); err != nil {
				return request, err
			}
		default:
			return request, fmt.Errorf("the parameter %s is given %d times", name, len(given))
		}
	}
	return request, request.Validate()
}

func moduleOf(query url.Values) (*crm.Module, error) {
	names := query["module"]
	switch {
	case len(names) == 0:
		return nil, fmt.Errorf("the parameter module is missing: write ?module=leads")
	case len(names) > 1:
		return nil, fmt.Errorf("the parameter module is given %d times: one run syncs one module", len(names))
	}
	module, ok := crm.Find(names[0])
	if !ok {
		return nil, fmt.Errorf("there is no module %.40q", names[0])
	}
	return module, nil
}
