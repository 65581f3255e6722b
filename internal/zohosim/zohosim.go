// Package zohosim simulates Zoho CRM over HTTP, for demos, tests and benchmarks: the
// token endpoint, COQL, records, deleted records and metadata of version 8, with their
// limits, their error bodies and their odd habits.
//
// It is strict. What Zoho does not document it refuses with the documented error that
// fits best, and records (see [Zoho.Refused]), so that a client which relies on it fails
// its tests. It is not bent to suit any client.
package zohosim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Credentials of a simulated client, where Config names none.
const (
	DefaultClientID     = "1000.ZOHOSIMCLIENT"
	DefaultClientSecret = "zohosim-client-secret"
	DefaultRefreshToken = "1000.zohosim.refresh.token"
)

// DefaultScopes is the least set that a mirror needs.
var DefaultScopes = []string{
	"ZohoCRM.modules.READ", "ZohoCRM.coql.READ", "ZohoCRM.bulk.READ", "ZohoCRM.settings.fields.READ",
	"ZohoCRM.settings.modules.READ", "ZohoCRM.users.READ", "ZohoCRM.org.READ",
}

// Config shapes a simulated org. The zero Config is an org without records and with
// generous limits.
type Config struct {
	ClientID, ClientSecret, RefreshToken string
	Scopes                               []string // what the refresh token allows

	Now           func() time.Time // the org's clock
	Latency       time.Duration    // before each answer of the API
	VisibilityLag time.Duration    // at most, until COQL and Get Records, and the deleted list, show a change; each has its own
	Zones         []*time.Location // datetimes are rendered in these, by field and row

	Credits     int  // in 24 hours; 0 is 1,000,000
	Concurrency int  // heavy calls at a time; 0 is 10
	MaxColumns  int  // of a SELECT; 0 is 500
	NoDate      bool // answers have no Date header
	TokenStatus int  // HTTP status of the token endpoint's errors; 0 is 400

	APIDomain string // what token answers call the org's API; empty is the address that was asked

	Unknowns // what Zoho does not document
}

// Unknowns are the questions that Zoho's documentation leaves open (zoho-api, "Open
// questions"), so that a client can be held against each answer.
type Unknowns struct {
	DeletedOrder    DeletedOrder // of the deleted list
	DeletedWall     int          // records that page reaches on the deleted list; 0 is no wall
	DeletedEmpty    int          // status of an empty deleted list: 200, 204 or 304; 0 is 304 to If-Modified-Since and else 204
	SinceExclusive  bool         // the deleted list leaves out the very second of If-Modified-Since
	PurgeKeepsTime  bool         // a purge from the bin leaves deleted_time as it was
	LosersPermanent bool         // the deleted list calls the losers of a merge permanent, not recycle
	Drafts          Drafts       // who sees records that are drafts or in the trash
	ConvertedApart  bool         // a criterion that allows both states of conversion shows the unconverted alone
	LiteralMillis   bool         // COQL takes fractions of a second in a datetime
	LiteralNoZ      bool         // COQL refuses Z in a datetime
	PriceByRows     bool         // COQL costs by the rows it finds, not by the LIMIT
}

// DeletedOrder is the order of the deleted list.
type DeletedOrder int

// Orders of the deleted list.
const (
	OrderSample   DeletedOrder = iota // as in Zoho's sample: the bin, then what is gone for good, newest first
	OrderAny                          // any, but always the same
	OrderShifting                     // another for each page that is asked for
)

// Drafts says which reads hide records whose Record_Status__s is Draft or Trash.
type Drafts int

// Who sees drafts.
const (
	DraftsShown       Drafts = iota
	DraftsNotInCOQL          // Get Records shows them
	DraftsHiddenByAll        // no read shows them
)

// Zoho is a simulated org. It is an http.Handler and safe for concurrent use.
type Zoho struct {
	config Config

	mu      sync.Mutex
	modules map[string]*module
	users   []*User
	tokens  tokens
	calls   []Call
	refused []string
	credits []charge
	heavy   int
	faults  []*planned
	onCall  func(Call)
	nextID  uint64

	pageTokens map[string]pageToken
	forbidden  map[string]bool // modules
	listings   uint64          // of deleted records so far
}

// New returns an org with its standard modules, fields and a few users.
func New(config Config) *Zoho {
	defaults(&config)
	z := &Zoho{
		config:  config,
		modules: standardModules(),
		users:   standardUsers(),
		nextID:  5725767000000500000,

		pageTokens: map[string]pageToken{}, forbidden: map[string]bool{},
	}
	return z
}

func defaults(c *Config) {
	text := func(s *string, value string) {
		if *s == "" {
			*s = value
		}
	}
	number := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	text(&c.ClientID, DefaultClientID)
	text(&c.ClientSecret, DefaultClientSecret)
	text(&c.RefreshToken, DefaultRefreshToken)
	number(&c.Credits, 1_000_000)
	number(&c.Concurrency, 10)
	number(&c.MaxColumns, 500)
	number(&c.TokenStatus, http.StatusBadRequest)
	if c.Scopes == nil {
		c.Scopes = DefaultScopes
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Zones == nil {
		c.Zones = standardZones()
	}
}

// standardZones differ by hour and half hour, and one keeps summer time.
func standardZones() []*time.Location {
	zones := []*time.Location{time.UTC, time.FixedZone("", 5*3600+1800), time.FixedZone("", -3*3600-1800)}
	if summer, err := time.LoadLocation("America/Los_Angeles"); err == nil {
		zones = append(zones, summer)
	}
	return zones
}

// Call is one request that was answered.
type Call struct {
	At     time.Time
	Method string
	Path   string
	Query  string // the address's query, or COQL's select_query
	Status int
	Code   string // Zoho's, of an error
	Rows   int
	Credit int
	Heavy  int // heavy calls in flight, this one included; 0 for others
}

// Calls returns what was asked for since the start or the last ResetCalls.
func (z *Zoho) Calls() []Call {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.calls)
}

// ResetCalls forgets the calls.
func (z *Zoho) ResetCalls() {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.calls = nil
}

// Refused lists what was asked for and is not documented. A client's tests hold it empty.
func (z *Zoho) Refused() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return slices.Clone(z.refused)
}

func (z *Zoho) refuse(format string, args ...any) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.refused = append(z.refused, fmt.Sprintf(format, args...))
}

// OnCall sets a function that is called with each request before it is answered, so that
// a test can change records between two pages.
func (z *Zoho) OnCall(fn func(Call)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.onCall = fn
}

func (z *Zoho) now() time.Time { return z.config.Now() }

// An answer is what a handler decides; the transport writes it.
type answer struct {
	status int
	body   any // nil: no body
	code   string
	rows   int
}

func ok(body any, rows int) answer { return answer{status: http.StatusOK, body: body, rows: rows} }

var nothing = answer{status: http.StatusNoContent}

// fail is an error in Zoho's form.
func fail(status int, code, message string, details map[string]any) answer {
	if details == nil {
		details = map[string]any{}
	}
	return answer{status: status, code: code, body: map[string]any{
		"code": code, "details": details, "message": message, "status": "error",
	}}
}

// ServeHTTP answers as Zoho's accounts and API hosts would, both at once.
func (z *Zoho) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if z.config.NoDate {
		w.Header()["Date"] = nil
	} else {
		w.Header().Set("Date", z.now().UTC().Format(http.TimeFormat))
	}
	if r.URL.Path == "/oauth/v2/token" {
		z.serveToken(w, r)
		return
	}
	call := Call{At: z.now(), Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery}
	route, known := findRoute(r)
	var body []byte
	if known && route.body {
		body = readBody(r)
		call.Query = selectQuery(body)
	}
	fault, hook := z.enter(&call, route)
	if hook != nil {
		hook(call)
	}
	defer z.leave(route)
	if z.config.Latency > 0 {
		select {
		case <-time.After(z.config.Latency):
		case <-r.Context().Done():
			return
		}
	}
	got := z.decide(&call, route, known, r, body, fault)
	call.Status, call.Code, call.Rows = got.status, got.code, got.rows
	z.mu.Lock()
	z.calls = append(z.calls, call)
	left, low := z.creditsLeft()
	z.mu.Unlock()
	if low {
		w.Header().Set("X-API-CREDITS-REMAINING", fmt.Sprint(left))
	}
	write(w, r, got, fault)
}

// enter counts a call in and finds the fault that is planned for it.
func (z *Zoho) enter(call *Call, route route) (Fault, func(Call)) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if route.heavy {
		z.heavy++
		call.Heavy = z.heavy
	}
	return z.plannedFault(*call), z.onCall
}

func (z *Zoho) leave(route route) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if route.heavy {
		z.heavy--
	}
}

// decide says what the answer is, before a fault spoils it on the way.
func (z *Zoho) decide(call *Call, route route, known bool, r *http.Request, body []byte, fault Fault) answer {
	if fault.Status != 0 {
		return answer{status: fault.Status, code: "planned", body: json.RawMessage(fault.Body)}
	}
	if fault.ExpireTokens {
		z.ExpireTokens()
	}
	if !known {
		z.refuse("%s %s is not documented", r.Method, r.URL.Path)
		return fail(http.StatusNotFound, "INVALID_URL_PATTERN", "Please check if the URL trying to access is a correct one", nil)
	}
	if r.Method != route.method {
		z.refuse("%s %s: the method is not documented", r.Method, r.URL.Path)
		return fail(http.StatusBadRequest, "INVALID_REQUEST_METHOD", "The http request method type is not a valid one", nil)
	}
	if denied, ok := z.authorize(r, route.scope(r)); !ok {
		return denied
	}
	if call.Heavy > z.config.Concurrency {
		return tooMany
	}
	for name := range r.URL.Query() {
		if !slices.Contains(route.params, name) {
			z.refuse("%s %s: the parameter %s is not documented", r.Method, r.URL.Path, name) // Zoho ignores it
		}
	}
	price := 1
	if route.price != nil && !z.config.PriceByRows {
		price = route.price(body)
	}
	if !z.charge(price) {
		return tooMany
	}
	call.Credit = price
	got := route.handle(z, r, body)
	if route.price != nil && z.config.PriceByRows {
		rest := priceOf(got.rows) - price
		call.Credit += rest
		z.charge(rest)
	}
	return got
}

var tooMany = fail(http.StatusTooManyRequests, "TOO_MANY_REQUESTS", "too many requests. please try again after some time", nil)

// A route is one documented endpoint.
type route struct {
	method string
	heavy  bool
	body   bool
	params []string
	scope  func(*http.Request) []string // each an alternative to none: all are needed
	price  func(body []byte) int        // nil: one credit
	handle func(z *Zoho, r *http.Request, body []byte) answer
}

func findRoute(r *http.Request) (route, bool) {
	fixed := func(scope ...string) func(*http.Request) []string {
		return func(*http.Request) []string { return scope }
	}
	switch {
	case r.URL.Path == "/crm/v8/coql":
		return route{method: http.MethodPost, heavy: true, body: true, scope: fixed("ZohoCRM.coql.READ"), price: coqlPrice, handle: (*Zoho).coql}, true
	case r.URL.Path == "/crm/v8/settings/fields":
		return route{method: http.MethodGet, params: []string{"module", "type", "include"}, scope: fixed("ZohoCRM.settings.fields.READ"), handle: (*Zoho).fields}, true
	case r.URL.Path == "/crm/v8/settings/modules":
		return route{method: http.MethodGet, params: []string{"status"}, scope: fixed("ZohoCRM.settings.modules.READ"), handle: (*Zoho).listModules}, true
	case r.URL.Path == "/crm/v8/users":
		return route{method: http.MethodGet, params: []string{"type", "page", "per_page", "ids"}, scope: fixed("ZohoCRM.users.READ"), handle: (*Zoho).listUsers}, true
	case r.URL.Path == "/crm/v8/org":
		return route{method: http.MethodGet, scope: fixed("ZohoCRM.org.READ"), handle: (*Zoho).org}, true
	default:
		return recordRoute(r)
	}
}
