package zoho

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// ErrPageTooLarge says that an answer is larger than a client should hold: ask for less.
var ErrPageTooLarge = errors.New("the answer is larger than 32 MiB")

// Error is what Zoho, or the way there, said instead of an answer.
type Error struct {
	Call    string // what was asked for
	Status  int    // HTTP; 0 where no answer came
	Code    string // Zoho's, e.g. INVALID_QUERY; or the error of a token answer
	Message string
	Details string // JSON text

	cause      error
	transient  bool // another attempt may succeed
	retryAfter time.Duration
	scope      string
	apiDomain  string // where the token answer says the org lives
	hint       string
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Call)
	if e.Status != 0 {
		fmt.Fprintf(&b, ": HTTP %d", e.Status)
	}
	for _, part := range []string{e.Code, e.Message} {
		if part != "" {
			b.WriteString(": " + part)
		}
	}
	if e.Details != "" && e.Details != "{}" {
		b.WriteString(" " + e.Details)
	}
	if e.cause != nil {
		b.WriteString(": " + e.cause.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.cause }

// hide takes secrets out of what the server said: some repeat what they were sent.
func (e *Error) hide(secrets ...string) {
	for _, text := range []*string{&e.Code, &e.Message, &e.Details} {
		*text = conceal(*text, secrets...)
	}
}

func conceal(text string, secrets ...string) string {
	for _, secret := range secrets {
		if len(secret) >= 8 { // what is shorter is part of too many words
			text = strings.ReplaceAll(text, secret, "[hidden]")
		}
	}
	return text
}

// Zoho's error codes that this client tells apart (zoho-api, "Using the token", "Errors").
const (
	codeInvalidToken   = "INVALID_TOKEN"
	codeAuthentication = "AUTHENTICATION_FAILURE"
	codeScope          = "OAUTH_SCOPE_MISMATCH"
	codeNoPermission   = "NO_PERMISSION"
	codeInvalidQuery   = "INVALID_QUERY"
	codeTooMany        = "TOO_MANY_REQUESTS"
	codeInternal       = "INTERNAL_ERROR"
	codeLimitExceeded  = "LIMIT_EXCEEDED"
	codeAccessDenied   = "Access Denied" // of the token endpoint: too many tokens
	codeGeneral        = "general_error" // of the token endpoint
)

func (e *Error) rejectsToken() bool {
	return e.Code == codeInvalidToken || e.Code == codeAuthentication
}

func (e *Error) isTransient() bool {
	switch {
	case e.Status == http.StatusTooManyRequests, e.Status >= 500, e.Code == codeTooMany, e.Code == codeInternal:
		return true
	default: // a page of HTML from the edge
		return e.Code == "" && e.Status != http.StatusNotFound
	}
}

var codeHints = map[string]string{
	codeTooMany:             "the org's API credits of the last 24 hours, or its concurrent calls, are used up: see Setup > Developer Hub > APIs > Usage; credits come back over the day",
	codeLimitExceeded:       "the query is larger than Zoho allows, most likely by its number of columns: see the details",
	"INVALID_MODULE":        "the org has no such module, or the user who consented may not use it by API",
	codeNoPermission:        "the user who consented may not read this: let an administrator consent",
	codeInvalidQuery:        "Zoho does not accept this query: see the details for the column",
	"SYNTAX_ERROR":          "Zoho does not accept this query: please report it with the details",
	codeInternal:            "Zoho is in trouble; the next run tries again",
	"AUTHORIZATION_FAILED":  "the user who consented may not read this: let an administrator consent",
	"INVALID_URL_PATTERN":   "ZOHO_API_URL does not lead to Zoho's API: check it",
	"invalid_client":        "the client id is unknown here: most often the data centre is wrong (check ZOHO_DC or ZOHO_ACCOUNTS_URL against the address of your CRM), else ZOHO_CLIENT_ID",
	"invalid_client_secret": "ZOHO_CLIENT_SECRET is wrong",
	"invalid_code":          "the refresh token is not known here: most often the data centre is wrong (check ZOHO_DC or ZOHO_ACCOUNTS_URL), else it was revoked or belongs to another client: consent anew and set ZOHO_REFRESH_TOKEN",
	"invalid_grant":         "the refresh token is not known here: most often the data centre is wrong (check ZOHO_DC or ZOHO_ACCOUNTS_URL), else it was revoked or belongs to another client: consent anew and set ZOHO_REFRESH_TOKEN",
	"invalid_redirect_uri":  "ZOHO_REFRESH_TOKEN does not belong to this client: consent anew",
	"access_denied":         "Zoho refuses for now: too many grants were asked for, or the user refused",
	codeAccessDenied:        "more than ten access tokens were asked for within ten minutes: nothing is to be done but to wait; if it comes again, look for another program that uses the same refresh token",
	codeGeneral:             "Zoho's accounts server is in trouble; the next run tries again",
}

// Hint says what the operator should do.
func (e *Error) Hint() string {
	switch {
	case e.hint != "":
		return e.hint
	case e.rejectsToken():
		hint := "Zoho rejects a fresh access token: most often ZOHO_API_URL belongs to another data centre than the token (check ZOHO_DC)"
		if e.apiDomain != "" {
			hint += "; the token's own answer names " + e.apiDomain
		}
		return hint
	case e.Code == codeScope:
		return "the refresh token lacks the scope " + e.scope + ": consent anew with it and set ZOHO_REFRESH_TOKEN"
	case codeHints[e.Code] != "":
		return codeHints[e.Code]
	case e.Status == http.StatusTooManyRequests:
		return codeHints[codeTooMany]
	case e.Status >= 300 && e.Status < 400:
		return "check ZOHO_API_URL and ZOHO_ACCOUNTS_URL: they must name Zoho's own hosts"
	case e.transient:
		return "Zoho or the network is in trouble; the next run tries again"
	default:
		return ""
	}
}

// UnknownColumn reports the column for which Zoho refused a query.
func UnknownColumn(err error) (string, bool) {
	var failure *Error
	if !errors.As(err, &failure) || failure.Code != codeInvalidQuery {
		return "", false
	}
	var details struct {
		Column   string `json:"column_name"`
		Operator string `json:"operator"`
	}
	if json.Unmarshal([]byte(failure.Details), &details) != nil || details.Operator != "" {
		return "", false
	}
	return details.Column, details.Column != ""
}

// LimitExceeded reports whether a query was larger than Zoho allows; it does not say in what.
func LimitExceeded(err error) bool { return hasCode(err, codeLimitExceeded) }

// IsScope reports whether the token lacks a scope for the call.
func IsScope(err error) bool { return hasCode(err, codeScope) }

// NoPermission reports whether the user who consented may not make the call.
func NoPermission(err error) bool { return hasCode(err, codeNoPermission) }

// What a lasting refusal of a module is about.
const (
	RefusalUnknown    = "unknown"    // the org has no such module, or not by API
	RefusalPermission = "permission" // the user may not view it
	RefusalFeature    = "feature"    // the org's edition or settings do not offer it
)

var refusals = map[string]string{
	"INVALID_MODULE": RefusalUnknown, codeNoPermission: RefusalPermission, "AUTHORIZATION_FAILED": RefusalPermission,
	"NOT_SUPPORTED": RefusalFeature, "FEATURE_NOT_ENABLED": RefusalFeature,
}

// Refusal reports whether Zoho refuses a module for good, and what that is about.
func Refusal(err error) (about string, refused bool) {
	var failure *Error
	if !errors.As(err, &failure) {
		return "", false
	}
	about, refused = refusals[failure.Code]
	return about, refused
}

func hasCode(err error, code string) bool {
	var failure *Error
	return errors.As(err, &failure) && failure.Code == code
}

// An errorBody is Zoho's form of an error. Its status is the word error, not a number.
type errorBody struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details"`
	Status  string          `json:"status"`
}

func (b errorBody) asError() *Error {
	details := jsontext.Value(b.Details)
	if len(details) > 0 {
		_ = details.Format(lenient...) // strings in their plainest form, in which a secret is found
	}
	return &Error{Code: b.Code, Message: b.Message, Details: string(details)}
}

// readError reads an answer that is no success: Zoho's form, or a page of HTML from the edge.
// It hides token before an excerpt could cut it in two.
func readError(body io.Reader, token string) *Error {
	const enough = 64 << 10
	text, err := io.ReadAll(io.LimitReader(body, enough))
	if err != nil {
		return &Error{Message: "the answer broke off", cause: err}
	}
	text = []byte(conceal(strings.ToValidUTF8(string(text), ""), token)) // a stray byte must not hide a token from its search
	var parsed errorBody
	if json.Unmarshal(text, &parsed) == nil && parsed.Code != "" {
		failure := parsed.asError()
		failure.hide(token) // it may have been written with escapes
		return failure
	}
	return &Error{Message: "an answer that is not Zoho's: " + excerpt(text)}
}

func excerpt(text []byte) string {
	const limit = 80
	short := strings.Join(strings.Fields(strings.ToValidUTF8(string(text[:min(len(text), 4*limit)]), "")), " ")
	if len(short) > limit {
		short = strings.ToValidUTF8(short[:limit], "") + "…"
	}
	return fmt.Sprintf("%q", short)
}

// networkError says what happened on the way. The request's address is left out: it is
// in the call's name, as far as it matters.
func networkError(call string, err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	failure := &Error{Call: call, Message: "no answer", cause: err, transient: !errors.Is(err, context.Canceled)}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		failure.hint = "the host is not known: check ZOHO_DC, or ZOHO_API_URL and ZOHO_ACCOUNTS_URL"
	}
	return failure
}

// Classes of an Error: what it is about, for grouping.
const (
	ClassCredentials = "credentials" // client, refresh token or data centre
	ClassScope       = "scope"
	ClassLimit       = "limit"   // credits, calls or tokens are used up
	ClassTrouble     = "trouble" // Zoho or the way there; it may pass by itself
	ClassRequest     = "request" // Zoho does not take what was asked for
)

// Class says what an error of Zoho is about, or "" for another error.
func Class(err error) string {
	var failure *Error
	if !errors.As(err, &failure) {
		return ""
	}
	switch {
	case failure.Code == codeScope:
		return ClassScope
	case failure.Code == codeTooMany, failure.Code == codeAccessDenied, failure.Status == http.StatusTooManyRequests:
		return ClassLimit
	case failure.Code == codeGeneral, failure.isTransient():
		return ClassTrouble
	case failure.rejectsToken(), strings.HasPrefix(failure.Code, "invalid_"), failure.Code == "access_denied":
		return ClassCredentials
	}
	return ClassRequest
}
