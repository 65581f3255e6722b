// Package dashboard is the operator's pages: whether all is well, and if not, which module,
// since when, and why. They are made on the server and work without script; a small script
// keeps them current while they are open.
//
// A page reads the database in one round trip, counts nothing in a mirror table, and never
// shows a record's payload. Whoever knows the password may look, run a module and replay a
// quarantined record.
package dashboard

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"zohomirror/internal/config"
	"zohomirror/internal/mirror"
	"zohomirror/internal/panics"
	"zohomirror/internal/postgres"
)

// Options says what a dashboard shows and to whom.
type Options struct {
	Password   string // whoever knows it is let in; must not be empty
	Mirror     *mirror.Mirror
	Deadline   time.Duration // of a run
	StaleAfter time.Duration // a module without a good run for so long is told of
	PublicURL  string        // where people reach this server; empty: as the request says
	Forwarded  bool          // a platform in front writes X-Forwarded-For
	Preview    bool          // a deployment that does not sync: its buttons refuse
	Log        *slog.Logger
}

const (
	lookLimit = 5 * time.Second // for the database to answer a page
	maxForm   = 8 << 10         // of a form; ours are a few words
	pageRuns  = 20
	pageOpen  = 50 // quarantined records a page
)

// policy lets a page load nothing but what this server serves from a file.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; " +
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// dashboard answers everything under /dashboard.
type dashboard struct {
	Options
	db     *postgres.Store
	keys   *keys
	origin *http.CrossOriginProtection
	logins postgres.LoginLimits
}

// New returns the handler of /dashboard and all below it.
func New(options Options) (http.Handler, error) {
	if options.Password == "" {
		return nil, errors.New("a dashboard needs a password")
	}
	k, err := newKeys(options.Password)
	if err != nil {
		return nil, err
	}
	d := &dashboard{Options: options, db: options.Mirror.Store(), keys: k, origin: http.NewCrossOriginProtection(),
		logins: postgres.LoginLimits{PerSource: 5, Overall: 50, Window: 15 * time.Minute}}
	return d.routes(), nil
}

// For returns the dashboard that the settings ask for; nil where they have no password.
// forwarded: a platform in front writes X-Forwarded-For.
func For(settings *config.Config, m *mirror.Mirror, forwarded bool, log *slog.Logger) (http.Handler, error) {
	if settings.Dashboard == "" {
		return nil, nil
	}
	return New(Options{Password: settings.Dashboard, Mirror: m, Deadline: settings.Mirror.Deadline, StaleAfter: settings.Notify.StaleAfter,
		PublicURL: settings.Notify.PublicURL, Forwarded: forwarded, Preview: settings.Preview, Log: log})
}

func (d *dashboard) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(headers, d.recover, middleware.GetHead)
	r.Get("/dashboard/assets/{name}", d.asset)
	r.Get("/dashboard/login", d.loginPage)
	r.With(d.sameOrigin).Post("/dashboard/login", d.login)
	r.Group(func(r chi.Router) {
		r.Use(d.guard)
		r.Get("/dashboard", d.front)
		r.Get("/dashboard/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/dashboard", http.StatusSeeOther) })
		r.Get("/dashboard/runs", d.history)
		r.Get("/dashboard/runs/{id}", d.run)
		r.Get("/dashboard/quarantine", d.quarantine)
		r.Group(func(r chi.Router) {
			r.Use(d.sameOrigin, d.ownForm)
			r.Post("/dashboard/runs", d.runAgain)
			r.Post("/dashboard/quarantine", d.replay)
			r.Post("/dashboard/logout", d.logout)
		})
	})
	r.NotFound(func(w http.ResponseWriter, r *http.Request) { d.notFound(w, r, "There is no such page.") })
	r.MethodNotAllowed(func(w http.ResponseWriter, r *http.Request) {
		d.trouble(w, r, http.StatusMethodNotAllowed, trouble{Title: "Not like this", Text: "This address does not take " + r.Method + "."})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		// What the outer router has found out is of no use here, and would mislead GetHead.
		r.ServeHTTP(w, request.WithContext(context.WithValue(request.Context(), chi.RouteCtxKey, (*chi.Context)(nil))))
	})
}

func headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: browsers would then send Origin: null with our own forms, which
		// without https is all that tells them from another site's.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// recover answers a panic with a page, and says where it came from.
func (d *dashboard) recover(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				fault := panics.New(p)
				d.Log.ErrorContext(r.Context(), "a page ended in a panic", "path", r.URL.Path, "panic", fault.Error(), "stack", fault.Stack())
				d.trouble(w, r, http.StatusInternalServerError, trouble{Title: "Our mistake",
					Text: "This page has a fault of its own; the mirror is not touched by it. The log says where; please report it."})
				d.Mirror.ReportPanic(r.Context(), r.URL.Path, fault)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

type contextKey struct{}

// who is the session of a request that came past guard.
func who(r *http.Request) session {
	s, _ := r.Context().Value(contextKey{}).(session)
	return s
}

func (d *dashboard) session(r *http.Request) (session, bool) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return session{}, false
	}
	return d.keys.parse(c.Value, time.Now())
}

// guard lets only sessions through.
func (d *dashboard) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, ok := d.session(r)
		switch {
		case ok:
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, s)))
		case polled(r):
			w.WriteHeader(http.StatusUnauthorized)
		case r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site":
			// A link in a message. The cookie is withheld from what another site begins, so
			// the page asks once more by itself before it asks for the password.
			d.render(w, r, http.StatusOK, "opening", page{Title: "Opening", Data: r.URL.RequestURI()})
		default:
			http.Redirect(w, r, loginAddress(r), http.StatusSeeOther)
		}
	})
}

// sameOrigin refuses what another site's page has made the browser send.
func (d *dashboard) sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := d.origin.Check(r); err != nil {
			d.Log.WarnContext(r.Context(), "a form of another site was refused", "path", r.URL.Path)
			d.trouble(w, r, http.StatusForbidden, trouble{Title: "Refused", Text: "This came from another site's page. Nothing was done."})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			d.trouble(w, r, http.StatusBadRequest, trouble{Title: "Not readable", Text: "The form cannot be read. Nothing was done."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ownForm refuses a form that was not made for this session.
func (d *dashboard) ownForm(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !who(r).owns(r.PostForm.Get("token")) {
			d.Log.WarnContext(r.Context(), "a form without its session's token was refused", "path", r.URL.Path)
			d.trouble(w, r, http.StatusForbidden, trouble{Title: "Refused", Text: "This form is of another log-in, perhaps of a page that was open for long. Nothing was done: go back to the page and try again."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// base is the address that people reach this server at.
func (d *dashboard) base(r *http.Request) string {
	if d.PublicURL != "" {
		return d.PublicURL
	}
	scheme := "http://"
	if secure(r) {
		scheme = "https://"
	}
	return scheme + r.Host
}

// local accepts an address of the dashboard, and nothing that a browser takes for another site's.
func local(address string) bool {
	if strings.ContainsFunc(address, func(c rune) bool { return c == '\\' || c < ' ' || c == 0x7f }) {
		return false
	}
	return address == "/dashboard" || strings.HasPrefix(address, "/dashboard?") || strings.HasPrefix(address, "/dashboard/")
}
