package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"
)

// authorize lets in who sends the secret, or a token of the account that is named.
func (s *server) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		given = strings.TrimSpace(given)
		switch {
		case !strings.EqualFold(scheme, "Bearer"):
		case s.isSecret(given):
			next.ServeHTTP(w, r)
			return
		case s.google != nil && strings.Count(given, ".") == 2:
			err := s.google.check(r.Context(), given)
			if err == nil {
				next.ServeHTTP(w, r)
				return
			}
			s.refuseToken(w, r, err)
			return
		}
		s.log.WarnContext(r.Context(), "a call without the right secret was refused", "path", r.URL.Path, "secret_configured", s.open)
		answer(w, http.StatusForbidden, failure{
			Error: "the secret is missing or wrong",
			Hint:  "send the header Authorization: Bearer followed by CRON_SECRET, which must be set for the server too",
		})
	})
}

// isSecret compares digests, which takes the same time wherever two secrets differ.
func (s *server) isSecret(given string) bool {
	digest := sha256.Sum256([]byte(given))
	return subtle.ConstantTimeCompare(digest[:], s.secret[:]) == 1 && s.open
}

// refuseToken tells a token that is refused from one that could not be judged, which is
// worth another try.
func (s *server) refuseToken(w http.ResponseWriter, r *http.Request, cause error) {
	s.log.WarnContext(r.Context(), "a call with an ID token was refused", "path", r.URL.Path, "error", cause)
	if errors.Is(cause, errNoCertificates) {
		answer(w, http.StatusServiceUnavailable, failure{
			Error: "the token cannot be checked: Google's certificates cannot be had",
			Hint:  "the server must reach https://www.googleapis.com; call again",
		})
		return
	}
	answer(w, http.StatusForbidden, failure{
		Error: "the token is refused: " + cause.Error(),
		Hint:  "the scheduler's job must name the account OIDC_SERVICE_ACCOUNT and the audience OIDC_AUDIENCE",
	})
}
