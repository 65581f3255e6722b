package config

import (
	"context"
	"strconv"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/web"
)

// google reads whose ID tokens open the endpoint. An account without an audience would let
// in tokens that it was given for other services.
func (r *reader) google() web.Google {
	g := web.Google{Audience: r.env.Audience, ServiceAccount: r.env.Account, TrustCloudRun: r.boolean("OIDC_TRUST_CLOUD_RUN", r.env.TrustRun)}
	switch {
	case g.Audience == "" && g.ServiceAccount != "":
		r.problem("OIDC_AUDIENCE", "is missing: it goes with OIDC_SERVICE_ACCOUNT")
	case g.Audience != "" && g.ServiceAccount == "":
		r.problem("OIDC_SERVICE_ACCOUNT", "is missing: it goes with OIDC_AUDIENCE")
	case g.TrustCloudRun && r.env.CloudRun == "":
		r.problem("OIDC_TRUST_CLOUD_RUN", "is for Cloud Run alone: elsewhere nobody has checked the tokens")
	case g.TrustCloudRun && g.Audience == "":
		r.problem("OIDC_AUDIENCE", "is missing: it goes with OIDC_TRUST_CLOUD_RUN, and so does OIDC_SERVICE_ACCOUNT")
	}
	return g
}

// preview says whether Vercel runs this for anything but production.
func (r *reader) preview() bool {
	allowed := r.boolean("SYNC_PREVIEW", r.env.SyncPreview)
	return r.env.VercelEnv != "" && r.env.VercelEnv != "production" && !allowed
}

func (r *reader) boolean(name, value string) bool {
	b, err := strconv.ParseBool(value)
	if err != nil {
		r.problem(name, "must be true or false")
	}
	return b
}

// LoadPort reads only where the server listens.
func LoadPort(ctx context.Context, from envconfig.Lookuper) (int, error) {
	r, err := read(ctx, from)
	if err != nil {
		return 0, err
	}
	return r.integer("PORT", r.env.Port, 1, 65535), r.failure()
}
