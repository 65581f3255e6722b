package web

import "net/http"

// Preview makes a deployment one that does not sync: a branch's code would write to the
// database that production mirrors into.
func Preview(is bool) Option { return func(s *server) { s.preview = is } }

// refusePreview stands behind authorize: only who may sync learns why not here.
func (s *server) refusePreview(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.preview {
			answer(w, http.StatusForbidden, failure{
				Error: "this is a preview deployment, which does not sync",
				Hint:  "call the production deployment, or set SYNC_PREVIEW=true and a DATABASE_URL of its own for previews",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}
