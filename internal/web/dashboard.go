package web

import (
	"net/http"

	"github.com/go-chi/chi/v5"
)

// WithDashboard serves a dashboard, at /dashboard and below; nil: there is none.
func WithDashboard(handler http.Handler) Option { return func(s *server) { s.dashboard = handler } }

// mountDashboard says of a dashboard that there is none how to have one.
func (s *server) mountDashboard(r chi.Router) {
	handler := s.dashboard
	if handler == nil {
		handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			answer(w, http.StatusNotFound, failure{Error: "there is no dashboard", Hint: "set DASHBOARD_PASSWORD, of at least 12 characters, and start anew"})
		})
	} else {
		r.Get("/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/dashboard", http.StatusFound) })
	}
	r.Handle("/dashboard", handler)
	r.Handle("/dashboard/*", handler)
}
