package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"

	"zohomirror/internal/zohosim"
)

// A blow is what befalls a call to Zoho on its way.
type blow func(w http.ResponseWriter, r *http.Request, zoho http.Handler)

// A wire stands between the binary and Zoho: it counts the calls, the token's included, and
// strikes at those that it is told to.
type wire struct {
	zoho *zohosim.Zoho

	mu     sync.Mutex
	calls  int
	from   int // the first call to strike at; 0 is none
	to     int // and the last
	struck int
	blow   blow
	tokens map[string]bool // access tokens that have passed
}

func (x *wire) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.mu.Lock()
	x.calls++
	var blow blow
	if x.from > 0 && x.calls >= x.from && x.calls <= x.to {
		blow = x.blow
		x.struck++
	}
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Zoho-oauthtoken "); ok {
		x.tokens[token] = true
	}
	x.mu.Unlock()
	if blow != nil {
		blow(w, r, x.zoho)
		return
	}
	x.zoho.ServeHTTP(w, r)
}

const always = 1 << 30

// strike befalls the n-th call from now, and the next times-1.
func (x *wire) strike(n, times int, b blow) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.calls, x.struck = 0, 0
	x.from, x.to, x.blow = n, n+times-1, b
}

// calm ends all strikes. It returns how many calls have passed since they began, and how
// many of these were struck.
func (x *wire) calm() (calls, struck int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	calls, struck = x.calls, x.struck
	x.calls, x.struck, x.from, x.to, x.blow = 0, 0, 0, 0, nil
	return calls, struck
}

// answers refuses a call that Zoho never sees.
func answers(status int, contentType, body string, headers ...string) blow {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

const (
	tooMany  = `{"code":"TOO_MANY_REQUESTS","details":{},"message":"too many requests. please try again after some time","status":"error"}`
	internal = `{"code":"INTERNAL_ERROR","details":{},"message":"Internal Server Error","status":"error"}`
	edge     = `<html><head><title>502 Bad Gateway</title></head><body><h1>Bad gateway</h1></body></html>`
	plain    = "application/json;charset=UTF-8"
)

// resetBefore breaks the connection before Zoho has seen the call, resetAfter when it has
// answered it.
func resetBefore(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }

func resetAfter(_ http.ResponseWriter, r *http.Request, zoho http.Handler) {
	zoho.ServeHTTP(httptest.NewRecorder(), r)
	panic(http.ErrAbortHandler)
}

// cut sends half of Zoho's answer.
func cut(w http.ResponseWriter, r *http.Request, zoho http.Handler) {
	answer := httptest.NewRecorder()
	zoho.ServeHTTP(answer, r)
	body := answer.Body.Bytes()
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(answer.Code)
	_, _ = w.Write(body[:len(body)/2]) // the caller sees the rest missing
	panic(http.ErrAbortHandler)
}

// hang says nothing until the caller leaves.
func hang(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body) // only then is it noticed that the caller has left
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// expired lets every access token die before the call.
func expired(w http.ResponseWriter, r *http.Request, zoho http.Handler) {
	zoho.(*zohosim.Zoho).ExpireTokens()
	zoho.ServeHTTP(w, r)
}

// before and after do something around a call, and let nothing come back of it.
func before(do func()) blow {
	return func(w http.ResponseWriter, r *http.Request, zoho http.Handler) {
		do()
		hang(w, r, zoho)
	}
}

func after(do func()) blow {
	return func(w http.ResponseWriter, r *http.Request, zoho http.Handler) {
		zoho.ServeHTTP(httptest.NewRecorder(), r)
		do()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// meanwhile does something before a call that goes its way.
func meanwhile(do func()) blow {
	return func(w http.ResponseWriter, r *http.Request, zoho http.Handler) {
		do()
		zoho.ServeHTTP(w, r)
	}
}
