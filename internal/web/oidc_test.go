package web_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"zohomirror/internal/mirror"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/web"
	"zohomirror/internal/zoho"
)

const (
	audience = "https://zohomirror.example"
	account  = "scheduler@project.iam.gserviceaccount.com"
)

// keyring is Google's certificates, and what signs with the key to them.
type keyring struct {
	key    *rsa.PrivateKey
	asked  atomic.Int64
	answer func() (*http.Response, error) // nil, or of nothing: the certificates
}

func newKeyring(t testing.TB) *keyring {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return &keyring{key: key}
}

// RoundTrip answers in Google's place.
func (k *keyring) RoundTrip(r *http.Request) (*http.Response, error) {
	k.asked.Add(1)
	if r.URL.String() != "https://www.googleapis.com/oauth2/v3/certs" {
		return nil, errors.New("another address: " + r.URL.String())
	}
	if k.answer != nil {
		if response, err := k.answer(); response != nil || err != nil {
			return response, err
		}
	}
	certificate := map[string]string{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one",
		"n": base64.RawURLEncoding.EncodeToString(k.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.key.E)).Bytes())}
	body, err := json.Marshal(map[string]any{"keys": []any{certificate}})
	if err != nil {
		return nil, err
	}
	return plainResponse(http.StatusOK, string(body), "Cache-Control", "public, max-age=19000, must-revalidate"), nil
}

func plainResponse(status int, body string, headers ...string) *http.Response {
	recorder := httptest.NewRecorder()
	for i := 0; i < len(headers); i += 2 {
		recorder.Header().Set(headers[i], headers[i+1])
	}
	recorder.WriteHeader(status)
	_, _ = io.WriteString(recorder, body) // in memory
	return recorder.Result()
}

// token is what Google's scheduler sends, with some claims changed.
func (k *keyring) token(t testing.TB, header map[string]any, change map[string]any) string {
	t.Helper()
	head := map[string]any{"alg": "RS256", "kid": "one", "typ": "JWT"}
	for name, value := range header {
		head[name] = value
	}
	claims := map[string]any{"iss": "https://accounts.google.com", "aud": audience, "azp": "1", "sub": "1", "email": account, "email_verified": true,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range change {
		claims[name] = value
	}
	part := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	content := part(head) + "." + part(claims)
	digest := sha256.Sum256([]byte(content))
	signature, err := rsa.SignPKCS1v15(nil, k.key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return content + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// behind is a router over a database that is not there: who is let in gets as far as an
// answer of 400, having named no module.
func behind(t testing.TB, secret string, options ...web.Option) *httptest.Server {
	t.Helper()
	m, err := mirror.Open(t.Context(), mirror.Config{Deadline: time.Second}, zoho.Config{}, "postgres://u:p@127.0.0.1:1/db", quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	server := httptest.NewServer(web.New(m, secret, quiet, options...))
	t.Cleanup(server.Close)
	return server
}

const letIn = http.StatusBadRequest

func TestGoogleTokens(t *testing.T) {
	t.Parallel()
	google, stranger := newKeyring(t), newKeyring(t)
	google2 := web.Google{Audience: audience, ServiceAccount: account, Transport: google}
	server := behind(t, secret, web.WithGoogle(google2))
	good := google.token(t, nil, nil)
	cut := good[:strings.LastIndex(good, ".")+1]
	bare := base64.RawURLEncoding.EncodeToString([]byte("null"))
	for _, c := range []struct {
		name, token string
		status      int
		says        string
	}{
		{"the job's", good, letIn, "module is missing"},
		{"the secret", secret, letIn, "module is missing"},
		{"of another key", stranger.token(t, nil, nil), 403, "signature is not Google's"},
		{"of an unknown key", google.token(t, map[string]any{"kid": "two"}, nil), 403, "signature is not Google's"},
		{"of another algorithm", google.token(t, map[string]any{"alg": "ES256"}, nil), 403, "RS256"},
		{"of no algorithm", google.token(t, map[string]any{"alg": "none"}, nil), 403, "RS256"},
		{"of an algorithm with a shared key", google.token(t, map[string]any{"alg": "HS256"}, nil), 403, "RS256"},
		{"for another audience", google.token(t, nil, map[string]any{"aud": audience + "/api/sync?module=leads"}), 403, "audience is not OIDC_AUDIENCE"},
		{"for several audiences", google.token(t, nil, map[string]any{"aud": []string{audience}}), 403, "no ID token"},
		{"for no audience", google.token(t, nil, map[string]any{"aud": ""}), 403, "audience is not OIDC_AUDIENCE"},
		{"of another account", google.token(t, nil, map[string]any{"email": "x" + account}), 403, "account is not OIDC_SERVICE_ACCOUNT"},
		{"of an account in other letters", google.token(t, nil, map[string]any{"email": strings.ToUpper(account)}), 403, "account is not OIDC_SERVICE_ACCOUNT"},
		{"of an address that is not verified", google.token(t, nil, map[string]any{"email_verified": false}), 403, "account is not OIDC_SERVICE_ACCOUNT"},
		{"of another issuer", google.token(t, nil, map[string]any{"iss": "https://accounts.google.com.example"}), 403, "issuer is not Google"},
		{"of yesterday", google.token(t, nil, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), 403, "expired"},
		{"without its signature", cut, 403, "signature is not Google's"},
		{"as Cloud Run hands it on", cut + "SIGNATURE_REMOVED_BY_GOOGLE", 403, "OIDC_TRUST_CLOUD_RUN"},
		{"of nothing", "..", 403, "no ID token"},
		{"of nulls", bare + "." + bare + ".", 403, "RS256"},
		{"with a null for a header", bare + good[strings.Index(good, "."):], 403, "RS256"},
		{"with a null for claims", good[:strings.Index(good, ".")+1] + bare + ".x", 403, "issuer"},
		{"in two parts", cut[:len(cut)-1], 403, "secret is missing or wrong"},
	} {
		status, got := call(t, http.MethodGet, server.URL+"/api/sync", "Bearer "+c.token)
		if text, _ := got["error"].(string); status != c.status || !strings.Contains(text, c.says) {
			t.Errorf("a token %s: %d %v", c.name, status, got)
		}
	}
	if n := google.asked.Load(); n != 1 {
		t.Errorf("Google was asked for its certificates %d times", n)
	}

	others := behind(t, "", web.WithGoogle(google2))
	if status, _ := call(t, http.MethodGet, others.URL+"/api/sync", "Bearer "+good); status != letIn {
		t.Errorf("without a secret of the server's: %d", status)
	}
	for _, given := range []string{"", "Bearer ", "Bearer " + secret, "Basic " + good} {
		if status, _ := call(t, http.MethodGet, others.URL+"/api/sync", given); status != http.StatusForbidden {
			t.Errorf("without a secret of the server's, %.20q: %d", given, status)
		}
	}
	closed := behind(t, secret)
	if status, got := call(t, http.MethodGet, closed.URL+"/api/sync", "Bearer "+good); status != http.StatusForbidden {
		t.Errorf("where no account is named: %d %v", status, got)
	}
	run := behind(t, secret, web.WithGoogle(web.Google{Audience: audience, ServiceAccount: account, Transport: google, TrustCloudRun: true}))
	for token, want := range map[string]int{
		cut + "SIGNATURE_REMOVED_BY_GOOGLE":                                                       letIn,
		cut + "signature_removed_by_google":                                                       403,
		stranger.token(t, nil, nil):                                                               403,
		removed(google.token(t, nil, map[string]any{"email": "x" + account})):                     403,
		removed(google.token(t, nil, map[string]any{"exp": time.Now().Add(-time.Minute).Unix()})): 403,
	} {
		if status, got := call(t, http.MethodGet, run.URL+"/api/sync", "Bearer "+token); status != want {
			t.Errorf("on Cloud Run …%s: %d %v", token[len(token)-20:], status, got)
		}
	}
}

func removed(token string) string {
	return token[:strings.LastIndex(token, ".")+1] + "SIGNATURE_REMOVED_BY_GOOGLE"
}

// Where Google cannot be asked, a token is not judged: 503, which is worth another call.
// Redirects are not followed, and strangers' tokens cause no call.
func TestGoogleIsAway(t *testing.T) {
	t.Parallel()
	google := newKeyring(t)
	server := behind(t, secret, web.WithGoogle(web.Google{Audience: audience, ServiceAccount: account, Transport: google}))
	good := google.token(t, nil, nil)
	for name, answer := range map[string]func() (*http.Response, error){
		"not there": func() (*http.Response, error) { return nil, errors.New("connection refused") },
		"broken":    func() (*http.Response, error) { return plainResponse(500, ""), nil },
		"redirected": func() (*http.Response, error) {
			return plainResponse(302, "", "Location", "https://elsewhere.example/"), nil
		},
	} {
		google.answer = answer
		google.asked.Store(0)
		status, got := call(t, http.MethodGet, server.URL+"/api/sync", "Bearer "+good)
		if status != http.StatusServiceUnavailable || google.asked.Load() != 1 {
			t.Errorf("%s: %d %v, asked %d times", name, status, got, google.asked.Load())
		}
		status, _ = call(t, http.MethodGet, server.URL+"/api/sync", "Bearer "+google.token(t, nil, map[string]any{"aud": "x"}))
		if status != http.StatusForbidden || google.asked.Load() != 1 {
			t.Errorf("a stranger, while Google is %s: %d, asked %d times", name, status, google.asked.Load())
		}
	}
	google.answer = func() (*http.Response, error) { time.Sleep(50 * time.Millisecond); return nil, nil } // the others arrive meanwhile
	google.asked.Store(0)
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			if status, got := call(t, http.MethodGet, server.URL+"/api/sync", "Bearer "+good); status != letIn {
				t.Errorf("%d %v", status, got)
			}
		})
	}
	callers.Wait()
	if n := google.asked.Load(); n != 1 {
		t.Errorf("twenty callers at once had Google asked %d times", n)
	}
}

// Cloud Scheduler's name for a run is the same in a retry, and a forced run may bear the
// next one's: neither is ever taken for a duplicate.
func TestForcedRunIsNoDuplicate(t *testing.T) {
	t.Parallel()
	s := newSite(t, pgtest.Database(t), secret)
	seen := map[any]bool{}
	for range 3 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/sync?module=deals", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{"Authorization": "Bearer " + secret, "User-Agent": "Google-Cloud-Scheduler", "X-CloudScheduler": "true",
			"X-CloudScheduler-JobName": "deals", "X-CloudScheduler-ScheduleTime": "2026-11-27T06:15:00Z"} {
			request.Header.Set(name, value)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		err = json.NewDecoder(response.Body).Decode(&got)
		response.Body.Close()
		if err != nil || response.StatusCode != 200 || got["status"] != "ok" || seen[got["run_id"]] {
			t.Errorf("%d %v %v", response.StatusCode, got, err)
		}
		seen[got["run_id"]] = true
	}
}

func TestPreviewDoesNotSync(t *testing.T) {
	t.Parallel()
	server := behind(t, secret, web.Preview(true))
	status, got := call(t, http.MethodGet, server.URL+"/api/sync?module=leads", "Bearer "+secret)
	if hint, _ := got["hint"].(string); status != http.StatusForbidden || !strings.Contains(hint, "SYNC_PREVIEW") {
		t.Errorf("%d %v", status, got)
	}
	status, got = call(t, http.MethodGet, server.URL+"/api/sync?module=leads", "")
	if status != http.StatusForbidden || got["error"] != "the secret is missing or wrong" {
		t.Errorf("a stranger learns more than that: %d %v", status, got)
	}
}

// Whatever stands in the header, nobody gets in who cannot sign, and nothing falls over.
func FuzzAuthorization(f *testing.F) {
	google, stranger := newKeyring(f), newKeyring(f)
	server := behind(f, secret, web.WithGoogle(web.Google{Audience: audience, ServiceAccount: account, Transport: google}))
	for _, seed := range []string{"", "Bearer", "Bearer x", "Basic eDp5", "Bearer a.b.c", "Bearer " + stranger.token(f, nil, nil),
		"Bearer " + stranger.token(f, map[string]any{"alg": "ES256"}, nil), "bearer bnVsbA.bnVsbA.", "Bearer " + removed(stranger.token(f, nil, nil))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/api/sync", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header["Authorization"] = []string{header}
		recorder := httptest.NewRecorder()
		server.Config.Handler.ServeHTTP(recorder, request)
		if recorder.Code != http.StatusForbidden && !strings.HasSuffix(strings.TrimSpace(header), secret) {
			t.Errorf("%q: %d %s", header, recorder.Code, recorder.Body)
		}
	})
}
