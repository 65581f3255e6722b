package dashboard

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

const (
	cookieName  = "zohomirror_session"
	sessionLife = 12 * time.Hour

	expiryBytes = 8
	nonceBytes  = 16
	cookieBytes = expiryBytes + nonceBytes + sha256.Size
)

// keys are derived from the password, each for one purpose: another password ends every
// session, and nothing of them needs to be stored.
type keys struct {
	password [sha256.Size]byte // its digest
	cookie   []byte
	form     []byte
	caller   []byte
}

func newKeys(password string) (*keys, error) {
	k := &keys{password: sha256.Sum256([]byte(password))}
	for purpose, key := range map[string]*[]byte{"session cookie": &k.cookie, "form token": &k.form, "log-in source": &k.caller} {
		var err error
		if *key, err = hkdf.Key(sha256.New, []byte(password), nil, "zohomirror dashboard: "+purpose, sha256.Size); err != nil {
			return nil, fmt.Errorf("derive the key of the %s: %w", purpose, err)
		}
	}
	return k, nil
}

// right compares digests, which takes the same time wherever two passwords differ.
func (k *keys) right(password string) bool {
	given := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(given[:], k.password[:]) == 1
}

// A session is a log-in: its signed text is all that there is of it.
type session struct {
	signed  string // the cookie's value
	expires time.Time
	token   string // that its forms carry
}

func (k *keys) open(now time.Time) session {
	raw := make([]byte, expiryBytes+nonceBytes, cookieBytes)
	binary.BigEndian.PutUint64(raw, uint64(now.Add(sessionLife).Unix()))
	_, _ = rand.Read(raw[expiryBytes:]) // it never fails
	raw = append(raw, sum(k.cookie, raw)...)
	return k.session(raw)
}

func (k *keys) session(raw []byte) session {
	return session{
		signed:  base64.RawURLEncoding.EncodeToString(raw),
		expires: time.Unix(int64(binary.BigEndian.Uint64(raw)), 0),
		token:   base64.RawURLEncoding.EncodeToString(sum(k.form, raw[:expiryBytes+nonceBytes])),
	}
}

// parse reads a cookie's value. What was not signed with the present password, has expired,
// or would live longer than a session does, is none.
func (k *keys) parse(value string, now time.Time) (s session, ok bool) {
	if len(value) != base64.RawURLEncoding.EncodedLen(cookieBytes) {
		return s, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(value)
	if err != nil || len(raw) != cookieBytes {
		return s, false
	}
	signed, mac := raw[:expiryBytes+nonceBytes], raw[expiryBytes+nonceBytes:]
	if !hmac.Equal(mac, sum(k.cookie, signed)) {
		return s, false
	}
	s = k.session(raw)
	return s, s.expires.After(now) && !s.expires.After(now.Add(sessionLife))
}

func (s session) owns(token string) bool {
	return s.token != "" && subtle.ConstantTimeCompare([]byte(s.token), []byte(token)) == 1
}

func sum(key, text []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(text)
	return mac.Sum(nil)
}

// source names the caller's address without showing it.
func (k *keys) source(r *http.Request, forwarded bool) string {
	return hex.EncodeToString(sum(k.caller, []byte(callerOf(r, forwarded))))[:32]
}

// callerOf is the caller's address, of IPv6 the network, since whoever has one address there has
// 2^64. forwarded: a platform in front writes the header, so it can be believed.
func callerOf(r *http.Request, forwarded bool) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if forwarded {
		if first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ","); strings.TrimSpace(first) != "" {
			host = strings.TrimSpace(first)
		}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return "unknown"
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		network, _ := ip.Prefix(64)
		return network.String()
	}
	return ip.String()
}

// secure reports whether the caller speaks https, to this process or to what stands before it.
func secure(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Proto"), ",")
	return r.TLS != nil || strings.EqualFold(strings.TrimSpace(first), "https")
}

func cookie(r *http.Request, value string, age time.Duration) *http.Cookie {
	seconds := int(age.Seconds())
	if seconds <= 0 {
		seconds = -1 // the browser forgets it
	}
	return &http.Cookie{Name: cookieName, Value: value, Path: "/dashboard", MaxAge: seconds,
		HttpOnly: true, Secure: secure(r), SameSite: http.SameSiteStrictMode}
}
