package web

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/auth/credentials/idtoken"
)

// Google says whose ID tokens open the endpoint besides the secret: those of the service
// account that a Cloud Scheduler job runs as. The zero value lets none in.
type Google struct {
	Audience       string // as the job names it
	ServiceAccount string // its e-mail address
	// TrustCloudRun: this is a Cloud Run service that requires authentication. It has
	// checked the token and hands it on without its signature.
	TrustCloudRun bool
	Transport     http.RoundTripper // to Google's certificates; nil: the default one
}

// WithGoogle lets in whom g names.
func WithGoogle(g Google) Option {
	return func(s *server) {
		if g.Audience != "" && g.ServiceAccount != "" {
			s.google = newGoogle(g)
		}
	}
}

const (
	certLimit = 5 * time.Second // for Google's certificates, once in some hours
	issuer    = "https://accounts.google.com"
	stripped  = "SIGNATURE_REMOVED_BY_GOOGLE" // what Cloud Run writes in a signature's place
)

// errNoCertificates says that Google could not be asked: the token may be good.
var errNoCertificates = errors.New("the certificates of Google cannot be had")

type google struct {
	Google
	validator *idtoken.Validator
	turn      chan struct{} // one asks for certificates, the others then have them
}

func newGoogle(g Google) *google {
	if g.Transport == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.DisableKeepAlives = true
		g.Transport = transport
	}
	validator, err := idtoken.NewValidator(&idtoken.ValidatorOptions{Client: &http.Client{Transport: certificates{g.Transport}}})
	if err != nil {
		panic(err) // it fails for no options of ours
	}
	return &google{Google: g, validator: validator, turn: make(chan struct{}, 1)}
}

// certificates marks every way in which Google's answer is not had. A redirect is one of
// them, so that none is followed.
type certificates struct{ http.RoundTripper }

func (c certificates) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := c.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoCertificates, err)
	}
	if response.StatusCode != http.StatusOK {
		_ = response.Body.Close() // it is of no use
		return nil, fmt.Errorf("%w: HTTP status %d", errNoCertificates, response.StatusCode)
	}
	return response, nil
}

// check reports why a token does not open the endpoint. What the token claims is looked at
// first: a stranger's token causes no call to Google.
func (g *google) check(ctx context.Context, token string) error {
	if err := g.claims(token, time.Now()); err != nil {
		return err
	}
	if strings.HasSuffix(token, "."+stripped) {
		if g.TrustCloudRun {
			return nil
		}
		return errors.New("its signature was removed by Cloud Run: set OIDC_TRUST_CLOUD_RUN=true if, and only if, this service requires authentication")
	}
	ctx, cancel := context.WithTimeout(ctx, certLimit)
	defer cancel()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return errNoCertificates
	}
	defer func() { <-g.turn }()
	_, err := g.validator.Validate(ctx, token, g.Audience)
	if err != nil && !errors.Is(err, errNoCertificates) {
		return errors.New("its signature is not Google's")
	}
	return err
}

// claims reports what the token itself says against it. Google's library checks the
// signature, the time and the audience, and nothing else; besides it falls over tokens that
// are none, and over another algorithm's short signatures.
func (g *google) claims(token string, now time.Time) error {
	parts := strings.Split(token, ".")
	var header struct{ Alg string }
	var claims struct {
		Issuer   string `json:"iss"`
		Audience string `json:"aud"`
		Email    string `json:"email"`
		Verified bool   `json:"email_verified"`
		Expires  int64  `json:"exp"`
	}
	if len(parts) != 3 || !readPart(parts[0], &header) || !readPart(parts[1], &claims) {
		return errors.New("it is no ID token")
	}
	switch {
	case header.Alg != "RS256":
		return errors.New("it is not signed with RS256")
	case claims.Issuer != issuer:
		return errors.New("its issuer is not Google")
	case claims.Audience != g.Audience:
		return errors.New("its audience is not OIDC_AUDIENCE")
	case claims.Email != g.ServiceAccount || !claims.Verified:
		return errors.New("its account is not OIDC_SERVICE_ACCOUNT")
	case now.Unix() > claims.Expires:
		return errors.New("it has expired")
	}
	return nil
}

func readPart(part string, into any) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	return err == nil && json.Unmarshal(text, into) == nil
}
