package zoho

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// TokenStore keeps the sealed access token for all processes: functions start cold and
// side by side, and would use up what Zoho mints.
type TokenStore interface {
	// Token returns what is kept under fingerprint, or the zero StoredToken.
	Token(ctx context.Context, fingerprint string) (StoredToken, error)
	// UpdateToken keeps others out while update turns what is kept into what is to be
	// kept. That is stored also where update returns an error, which UpdateToken then returns.
	UpdateToken(ctx context.Context, fingerprint string, update func(context.Context, StoredToken) (StoredToken, error)) error
}

// StoredToken is an access token as it may lie in a database.
type StoredToken struct {
	Sealed    []byte
	ExpiresAt time.Time
	NotBefore time.Time // Zoho minted too many: none may be asked for before this
}

const (
	tokenMargin    = 120 * time.Second // a token is not used so shortly before its end
	refreshLimit   = 8 * time.Second   // below the store's limit for an idle transaction
	deniedPause    = 5 * time.Minute   // after Access Denied; the limit is over ten minutes
	refreshRetries = 3                 // while the accounts server is in trouble
)

// A broker hands out access tokens. Zoho mints at most ten per refresh token in ten minutes.
type broker struct {
	config      Config
	http        *http.Client
	store       TokenStore
	seal        cipher.AEAD
	fingerprint string

	mu       sync.Mutex // guards the rest, and lets one goroutine ask for all
	current  string
	expires  time.Time
	minted   string // the last that this process has asked for itself
	rejected string // Zoho refused it before its time
	domain   string // api_domain of the last token answer
}

func newBroker(config Config, client *http.Client, store TokenStore) *broker {
	// New credentials give another key and another fingerprint, so they take effect at once.
	identity := strings.Join([]string{config.AccountsURL, config.APIURL, config.ClientID, config.RefreshToken}, "\n")
	fingerprint := derive(identity, "zohomirror token fingerprint", 16)
	key := derive(config.ClientSecret+"\n"+config.RefreshToken, "zohomirror token seal", 32)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // the key's length is ours
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		panic(err) // a block of AES fits
	}
	return &broker{config: config, http: client, store: store, seal: seal, fingerprint: hex.EncodeToString(fingerprint)}
}

func derive(secret, purpose string, length int) []byte {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, purpose, length)
	if err != nil {
		panic(err) // only for a length beyond 255 hashes
	}
	return key
}

// token returns a good access token: the one in hand, the stored one, or a new one.
func (b *broker) token(ctx context.Context, log *slog.Logger) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.good(b.current, b.expires) {
		return b.current, nil
	}
	stored, err := b.store.Token(ctx, b.fingerprint)
	if err != nil {
		return "", err
	}
	if b.adopt(stored) {
		return b.current, nil
	}
	token, err := b.refresh(ctx, log)
	if err == nil {
		log.DebugContext(ctx, "a new access token is in use", "expires_at", b.expires.UTC())
	}
	return token, err
}

// reject notes that Zoho refuses a token before its time, and reports whether this process has
// asked for it itself: one that was stored may have died with those before it.
func (b *broker) reject(token string) (own bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if token == b.current { // else it was replaced already, and what replaced it may be refused too
		b.rejected = token
	}
	return token == b.minted
}

func (b *broker) apiDomain() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.domain == b.config.APIURL {
		return ""
	}
	return b.domain
}

func (b *broker) good(token string, expires time.Time) bool {
	return token != "" && token != b.rejected && time.Until(expires) > tokenMargin
}

// adopt takes a stored token into use, if it can be opened and is good.
func (b *broker) adopt(stored StoredToken) bool {
	token := b.open(stored.Sealed)
	if !b.good(token, stored.ExpiresAt) {
		return false
	}
	b.current, b.expires = token, stored.ExpiresAt
	return true
}

// refresh asks for a new token while the store keeps all others waiting for it. Trouble of
// the accounts server is retried here, each time without holding the others up.
func (b *broker) refresh(ctx context.Context, log *slog.Logger) (string, error) {
	for attempt := 0; ; attempt++ {
		err := b.store.UpdateToken(ctx, b.fingerprint, b.mint)
		if err == nil {
			return b.current, nil
		}
		var failure *Error
		if !errors.As(err, &failure) {
			return "", err
		}
		wait, again := backoff(attempt, failure)
		if !again || attempt >= refreshRetries {
			return "", failure
		}
		if err := pause(ctx, wait); err != nil {
			return "", fmt.Errorf("%w: %w", err, failure)
		}
		log.WarnContext(ctx, "a call to Zoho is sent again", "call", refreshCall, "attempt", attempt+2, "error", failure)
	}
}

// mint turns what is stored into a good token: another process's, or a new one of Zoho's.
func (b *broker) mint(ctx context.Context, stored StoredToken) (StoredToken, error) {
	if b.adopt(stored) {
		return stored, nil
	}
	if wait := time.Until(stored.NotBefore); wait > 0 {
		return stored, &Error{Call: refreshCall, Code: codeAccessDenied,
			Message: fmt.Sprintf("Zoho mints no token at the moment; not asked again before %s", stored.NotBefore.UTC().Format(time.RFC3339))}
	}
	answer, err := b.ask(ctx)
	if err != nil {
		var failure *Error
		if errors.As(err, &failure) && failure.Code == codeAccessDenied {
			stored.NotBefore = time.Now().Add(deniedPause)
		}
		return stored, err
	}
	b.current, b.expires = answer.AccessToken, time.Now().Add(answer.life())
	b.minted = b.current
	b.domain = answer.APIDomain
	return StoredToken{Sealed: b.close(b.current), ExpiresAt: b.expires}, nil
}

const refreshCall = "token refresh"

// tokenAnswer is a success exactly when it has an access token: errors come with any status.
type tokenAnswer struct {
	AccessToken string `json:"access_token"`
	Refresh     string `json:"refresh_token"` // with a grant code's alone
	Scope       string `json:"scope"`
	APIDomain   string `json:"api_domain"`
	ExpiresIn   int64  `json:"expires_in"`
	ExpiresSec  int64  `json:"expires_in_sec"` // where it is present, expires_in is in milliseconds
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (a tokenAnswer) life() time.Duration {
	switch {
	case a.ExpiresSec > 0:
		return time.Duration(a.ExpiresSec) * time.Second
	case a.ExpiresIn > 0:
		return time.Duration(a.ExpiresIn) * time.Second
	default:
		return time.Hour
	}
}

// ask makes one attempt at the accounts server. Everything secret goes in the body, since
// addresses end up in logs.
func (b *broker) ask(ctx context.Context) (*tokenAnswer, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshLimit)
	defer cancel()
	return askToken(ctx, b.http, b.config, refreshCall, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {b.config.RefreshToken}})
}

// askToken sends one request to the token endpoint. What the form has beside the client's
// own credentials is secret too.
func askToken(ctx context.Context, client *http.Client, config Config, call string, form url.Values) (*tokenAnswer, error) {
	form.Set("client_id", config.ClientID)
	form.Set("client_secret", config.ClientSecret)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, config.AccountsURL+"/oauth/v2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", call, err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("User-Agent", config.UserAgent)
	response, err := client.Do(request)
	if err != nil {
		return nil, networkError(call, err)
	}
	defer response.Body.Close()

	const enough = 64 << 10
	text, err := io.ReadAll(io.LimitReader(response.Body, enough))
	if err != nil {
		return nil, &Error{Call: call, Status: response.StatusCode, Message: "the answer broke off", cause: err, transient: true}
	}
	var answer tokenAnswer
	_ = json.Unmarshal(text, &answer) // a member of an unexpected form spoils nothing but itself
	failure := &Error{Call: call, Status: response.StatusCode, Code: answer.Error, Message: answer.Description,
		retryAfter: retryAfter(response.Header.Get("Retry-After"))}
	failure.hide(config.ClientSecret, form.Get("refresh_token"), form.Get("code"))
	switch {
	case answer.AccessToken != "":
		return &answer, nil
	case answer.Error != "": // one that is known means what it says, whatever the status
		failure.transient = answer.Error == codeGeneral || codeHints[answer.Error] == "" && failure.isTransient()
	case response.StatusCode >= 300 && response.StatusCode < 400:
		failure.Message = "the server redirects elsewhere, and a secret follows no redirect"
	default: // never an excerpt: the answer may hold a token in a form we do not know
		failure.Message, failure.transient = "an answer without a token or an error", failure.isTransient()
	}
	return nil, failure
}

// close seals a token for this fingerprint.
func (b *broker) close(token string) []byte {
	nonce := make([]byte, b.seal.NonceSize())
	rand.Read(nonce) // never fails
	return b.seal.Seal(nonce, nonce, []byte(token), []byte(b.fingerprint))
}

// open returns a sealed token, or nothing: what cannot be opened counts as absent.
func (b *broker) open(sealed []byte) string {
	size := b.seal.NonceSize()
	if len(sealed) < size {
		return ""
	}
	token, err := b.seal.Open(nil, sealed[:size], sealed[size:], []byte(b.fingerprint))
	if err != nil {
		return ""
	}
	return string(token)
}
