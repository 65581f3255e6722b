package zohosim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	tokenLife     = time.Hour
	liveTokens    = 15 // the next one kills the oldest, silently
	mintedTokens  = 10 // in mintingWindow
	mintingWindow = 10 * time.Minute
)

// A token is a live access token.
type token struct {
	text    string
	expires time.Time
}

type tokens struct {
	live   []token
	minted []time.Time
	count  int
	fails  []string // planned bodies of the next answers

	granted   int                  // codes so far
	codes     map[string]time.Time // grant codes that are not used yet → their ends
	refreshes []string             // refresh tokens that codes were exchanged for
}

// Minted says how many access tokens were handed out.
func (z *Zoho) Minted() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.tokens.count
}

// ExpireTokens makes every live access token worthless.
func (z *Zoho) ExpireTokens() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.tokens.live = nil
}

// FailTokens makes the token endpoint answer its next calls with these bodies.
func (z *Zoho) FailTokens(bodies ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.tokens.fails = append(z.tokens.fails, bodies...)
}

// SetScopes changes what the refresh token allows.
func (z *Zoho) SetScopes(scopes ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.config.Scopes = scopes
}

func (z *Zoho) serveToken(w http.ResponseWriter, r *http.Request) {
	status, body := z.mint(r)
	z.mu.Lock()
	z.calls = append(z.calls, Call{At: z.now(), Method: r.Method, Path: r.URL.Path, Status: status})
	z.mu.Unlock()
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}

// mint judges a token request. Parameters may come in the query, as a form or as multipart.
func (z *Zoho) mint(r *http.Request) (int, string) {
	failed := func(text string) (int, string) { return z.config.TokenStatus, fmt.Sprintf(`{"error":%q}`, text) }
	if r.Method != http.MethodPost {
		z.refuse("%s %s: the method is not documented", r.Method, r.URL.Path)
		return failed("invalid_request")
	}
	const enough = 1 << 20
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		_ = r.ParseMultipartForm(enough) // what is missing is judged below
	}
	form := r.FormValue
	kind := form("grant_type")
	if kind != grantRefresh && kind != grantCode {
		z.refuse("%s %s: the grant_type %.40q is not documented", r.Method, r.URL.Path, kind)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if len(z.tokens.fails) > 0 {
		body := z.tokens.fails[0]
		z.tokens.fails = z.tokens.fails[1:]
		return z.config.TokenStatus, body
	}
	switch {
	case form("client_id") != z.config.ClientID:
		return failed("invalid_client")
	case form("client_secret") != z.config.ClientSecret:
		return failed("invalid_client_secret")
	case kind == grantRefresh && z.consented(form("refresh_token")):
	case kind == grantCode && z.redeem(form("code")):
	default:
		return failed("invalid_code")
	}
	now := z.now()
	recent := z.tokens.minted[:0]
	for _, at := range z.tokens.minted {
		if now.Sub(at) < mintingWindow {
			recent = append(recent, at)
		}
	}
	z.tokens.minted = recent
	if len(recent) >= mintedTokens {
		return z.config.TokenStatus, `{"error_description":"You have made too many requests continuously. Please try again after some time.","error":"Access Denied","status":"failure"}`
	}
	z.tokens.minted = append(z.tokens.minted, now)
	z.tokens.count++
	fresh := token{text: fmt.Sprintf("1000.%032x.%032x", z.tokens.count, now.UnixNano()), expires: now.Add(tokenLife)}
	z.tokens.live = append(z.tokens.live, fresh)
	if extra := len(z.tokens.live) - liveTokens; extra > 0 {
		z.tokens.live = z.tokens.live[extra:]
	}
	answer := map[string]any{
		"access_token": fresh.text, "scope": strings.Join(z.config.Scopes, " "),
		"api_domain": cmp.Or(z.config.APIDomain, "http://"+r.Host), "token_type": "Bearer", "expires_in": int(tokenLife.Seconds()),
	}
	if kind == grantCode {
		answer["refresh_token"] = z.grant()
	}
	body, err := json.Marshal(answer)
	if err != nil {
		panic(err) // strings and a number
	}
	return http.StatusOK, string(body)
}

// authorize judges the Authorization header and the scopes that a call needs.
func (z *Zoho) authorize(r *http.Request, needed []string) (answer, bool) {
	text, found := strings.CutPrefix(r.Header.Get("Authorization"), "Zoho-oauthtoken ")
	if !found {
		return fail(http.StatusUnauthorized, "AUTHENTICATION_FAILURE", "Authentication failed", nil), false
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	now, live := z.now(), false
	for _, t := range z.tokens.live {
		live = live || t.text == text && now.Before(t.expires)
	}
	if !live {
		return fail(http.StatusUnauthorized, "INVALID_TOKEN", "invalid oauth token", nil), false
	}
	for _, scope := range needed {
		if !z.allowed(scope) {
			return fail(http.StatusUnauthorized, "OAUTH_SCOPE_MISMATCH", "Unauthorized", nil), false
		}
	}
	return answer{}, true
}

// allowed: a module's scope is met by that of all modules; ALL includes READ.
func (z *Zoho) allowed(scope string) bool {
	parts := strings.Split(scope, ".")
	for _, have := range z.config.Scopes {
		have := strings.Split(have, ".")
		if len(have) == 3 && len(parts) == 4 && parts[1] == "modules" && strings.EqualFold(have[1], "modules") {
			have = []string{have[0], have[1], parts[2], have[2]}
		}
		if len(have) != len(parts) {
			continue
		}
		match := true
		for i := range parts {
			last := i == len(parts)-1
			match = match && (strings.EqualFold(have[i], parts[i]) || last && strings.EqualFold(have[i], "ALL"))
		}
		if match {
			return true
		}
	}
	return false
}
