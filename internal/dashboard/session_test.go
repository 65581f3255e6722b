package dashboard

import (
	"encoding/base64"
	"encoding/binary"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestSessionLife(t *testing.T) {
	k, err := newKeys("a password of some length")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	s := k.open(now)
	for after, want := range map[time.Duration]bool{
		0: true, sessionLife - time.Second: true, sessionLife: false, 30 * 24 * time.Hour: false,
		-time.Hour: false, // one that would live longer than a session does is not of this server
	} {
		if _, ok := k.parse(s.signed, now.Add(after)); ok != want {
			t.Errorf("after %s: %v", after, ok)
		}
	}
}

// A panic is a page that tells nothing of it, and is logged.
func TestPanic(t *testing.T) {
	k, err := newKeys("a password of some length")
	if err != nil {
		t.Fatal(err)
	}
	var logged strings.Builder
	d := &dashboard{Options: Options{Log: slog.New(slog.NewTextHandler(&logged, nil))}, keys: k, origin: http.NewCrossOriginProtection()}
	request := httptest.NewRequest(http.MethodGet, "/dashboard", nil) // without a database the page cannot but panic
	request.AddCookie(cookie(request, k.open(time.Now()).signed, sessionLife))
	answer := httptest.NewRecorder()
	d.routes().ServeHTTP(answer, request)
	if body := answer.Body.String(); answer.Code != http.StatusInternalServerError || !strings.Contains(body, "This page has a fault of its own") || strings.Contains(body, "nil pointer") {
		t.Errorf("%d\n%s", answer.Code, body)
	}
	if answer.Header().Get("Content-Security-Policy") != policy || !strings.Contains(logged.String(), "nil pointer") || !strings.Contains(logged.String(), "front.go") {
		t.Errorf("%v\n%s", answer.Header(), logged.String())
	}
}

// Whatever is parsed never panics, and what opens is what was signed, byte for byte.
func FuzzCookie(f *testing.F) {
	k, err := newKeys("a password of some length")
	if err != nil {
		f.Fatal(err)
	}
	now := time.Unix(1_800_000_000, 0)
	raw := binary.BigEndian.AppendUint64(nil, uint64(now.Add(time.Hour).Unix())) // the same in each of the fuzzer's processes
	raw = append(raw, make([]byte, nonceBytes)...)
	good := k.session(append(raw, sum(k.cookie, raw)...)).signed
	f.Add("")
	f.Add(good)
	f.Add(good[:10])
	f.Add(base64.RawURLEncoding.EncodeToString(make([]byte, cookieBytes)))
	f.Fuzz(func(t *testing.T, value string) {
		s, ok := k.parse(value, now)
		if ok && value != good {
			t.Errorf("%q opens", value)
		}
		if ok && (s.signed != value || !s.owns(s.token) || s.owns("")) {
			t.Errorf("%q is read as %+v", value, s)
		}
	})
}
