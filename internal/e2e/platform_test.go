package e2e

import (
	"encoding/base64"
	"strings"
	"testing"
)

// Pain 24: settings that are ignored. Those of the platforms reach the answer, in the server
// as in the function.
func TestPain24PlatformSettings(t *testing.T) {
	t.Parallel()
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	token := func(audience string) []string {
		claims := `{"iss":"https://accounts.google.com","aud":"` + audience + `","email":"s@p.iam.gserviceaccount.com","email_verified":true,"exp":9999999999}`
		return []string{"Authorization", "Bearer " + part(`{"alg":"RS256"}`) + "." + part(claims) + ".SIGNATURE_REMOVED_BY_GOOGLE"}
	}
	oidc := []string{"OIDC_AUDIENCE=https://m.example", "OIDC_SERVICE_ACCOUNT=s@p.iam.gserviceaccount.com"}
	run := append([]string{"K_SERVICE=m", "OIDC_TRUST_CLOUD_RUN=true"}, oidc...)
	onBoth(t, func(t *testing.T, _ *world, deploy func(*testing.T, ...string) *deployment) {
		for _, c := range []struct {
			name     string
			settings []string
			headers  []string
			status   int
			says     string
		}{
			{"a preview", []string{"VERCEL_ENV=preview"}, key, 403, "preview deployment"},
			{"a preview that may sync", []string{"VERCEL_ENV=preview", "SYNC_PREVIEW=true"}, key, 200, `"status":"ok"`},
			{"no accounts", nil, token("https://m.example"), 403, "the secret is missing"},
			{"an account, another audience", oidc, token("https://x.example"), 403, "OIDC_AUDIENCE"},
			{"an account", oidc, token("https://m.example"), 403, "OIDC_TRUST_CLOUD_RUN"},
			{"an account, which Cloud Run has checked", run, token("https://m.example"), 200, `"status":"ok"`},
			{"half of it", oidc[:1], key, 500, "OIDC_SERVICE_ACCOUNT: is missing"},
		} {
			if c.status == 500 && !strings.HasSuffix(t.Name(), "function") {
				continue // the server does not start
			}
			got := deploy(t, c.settings...).get(t, "GET", "/api/sync?module=leads", c.headers...)
			if got.Status != c.status || !strings.Contains(got.Text, c.says) {
				t.Errorf("%s: %d %s", c.name, got.Status, got.Text)
			}
		}
	})
}
