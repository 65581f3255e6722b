package web

import (
	"net/http"
	"net/url"
	"testing"
)

// Whatever the query is, it is refused with a reason, or it is a request that a run takes.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "module=leads", "module=leads&module=deals", "module=%zz", "module=leads;x", "module=leads&run_id=0192d5a1-7c3e-7b6f-8a41-5c2f9be31d07",
		"module=deals&since=2026-01-31T08:00:00Z", "module=deals&since=2026-01-31T08:00:00%2B23:59", "module=leads&mode=repair&deep=T", "module=leads&deep=true", "a=b&&&=&%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		request, err := requestOf(&http.Request{URL: &url.URL{Path: "/api/sync", RawQuery: query}})
		if err != nil {
			if text := err.Error(); text == "" || len(text) > 300 {
				t.Errorf("%q: %q", query, text)
			}
			return
		}
		if err := request.Validate(); err != nil || request.Module == nil || len(query) > maxQuery {
			t.Errorf("%q: %+v, %v", query, request, err)
		}
	})
}
