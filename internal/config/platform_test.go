package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/web"
)

func TestPlatformSettings(t *testing.T) {
	for name, c := range map[string]struct {
		set    map[string]string
		change func(*Config)
	}{
		"production":    {map[string]string{"VERCEL_ENV": "production"}, func(*Config) {}},
		"staging":       {map[string]string{"VERCEL_ENV": "staging"}, func(c *Config) { c.Preview, c.Notify.Environment = true, "staging" }},
		"preview syncs": {map[string]string{"VERCEL_ENV": "preview", "SYNC_PREVIEW": "true"}, func(c *Config) { c.Notify.Environment = "preview" }},
		"tokens":        {map[string]string{"OIDC_AUDIENCE": "a", "OIDC_SERVICE_ACCOUNT": "s"}, func(c *Config) { c.Google = web.Google{Audience: "a", ServiceAccount: "s"} }},
		"tokens, IAM": {map[string]string{"OIDC_AUDIENCE": "a", "OIDC_SERVICE_ACCOUNT": "s", "OIDC_TRUST_CLOUD_RUN": "true", "K_SERVICE": "m"}, func(c *Config) {
			c.Google, c.CloudRun = web.Google{Audience: "a", ServiceAccount: "s", TrustCloudRun: true}, true
		}},
	} {
		want := defaults()
		c.change(&want)
		want.Mirror.Notify = want.Notify // whom runs tell
		got, err := load(t, c.set)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Whose tokens Cloud Run has checked must be said, or none would open the endpoint.
func TestTrustInCloudRunNeedsAnAccount(t *testing.T) {
	t.Parallel()
	_, err := load(t, map[string]string{"OIDC_TRUST_CLOUD_RUN": "true", "K_SERVICE": "m"})
	if err == nil || !strings.Contains(err.Error(), "OIDC_AUDIENCE: is missing: it goes with OIDC_TRUST_CLOUD_RUN") {
		t.Errorf("%v", err)
	}
}
