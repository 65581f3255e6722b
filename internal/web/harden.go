package web

import "net/http"

// maxBody bounds what a request may bring along. Nothing of ours is sent one but the
// dashboard's forms.
const maxBody = 64 << 10

// hardened sets the headers of every answer and bounds every request. A handler that sends
// a page for people sets a policy of its own.
func hardened(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Cache-Control":           "no-store",
			"X-Content-Type-Options":  "nosniff",
			"X-Frame-Options":         "DENY",
			"Referrer-Policy":         "no-referrer",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			w.Header().Set(name, value)
		}
		if r.ContentLength > maxBody {
			w.Header().Set("Connection", "close") // the rest is not worth reading
			answer(w, http.StatusRequestEntityTooLarge, failure{Error: "the request is too large"})
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}
