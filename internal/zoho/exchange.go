package zoho

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"
)

// A Grant is what a grant code was exchanged for.
type Grant struct {
	RefreshToken string
	Scopes       []string // none: the answer does not say
	APIDomain    string   // where the org's API is, by the answer; empty: it does not say
}

const (
	exchangeCall  = "exchange of the grant code"
	exchangeLimit = 30 * time.Second
)

// exchangeHints say of a code what codeHints say of a refresh token.
var exchangeHints = map[string]string{
	"invalid_client":        "this accounts host does not know the client id: a client belongs to the data centre whose API console made it, so name that one (ZOHO_DC or --dc: the ending of your CRM's address, com is us), else check ZOHO_CLIENT_ID",
	"invalid_client_secret": "ZOHO_CLIENT_SECRET is wrong: copy it from the API console, tab Client Secret",
	"invalid_code":          "the code is too old (it lives for the minutes that were chosen with it), was used before, or is of another data centre than the one asked: create a new one in the API console, and exchange it at once",
	"invalid_redirect_uri":  "the client is not a self client: add one in the API console, and create the code there",
	"access_denied":         "too many codes were created within ten minutes: wait, then create one more",
}

// Exchange gives a self client's grant code away for a refresh token. Zoho takes a code
// once, so it is asked once.
func Exchange(ctx context.Context, config Config, code string) (*Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeLimit)
	defer cancel()
	client := newHTTP()
	defer client.CloseIdleConnections()
	answer, err := askToken(ctx, client, config, exchangeCall, url.Values{"grant_type": {"authorization_code"}, "code": {code}})
	if err != nil {
		return nil, exchangeFailure(err)
	}
	if answer.Refresh == "" {
		return nil, &Error{Call: exchangeCall, Message: "the answer has an access token and no refresh token",
			hint: "the code is not a self client's: create one in the API console, under Self Client"}
	}
	scopes := strings.FieldsFunc(answer.Scope, func(r rune) bool { return r == ' ' || r == ',' })
	return &Grant{RefreshToken: answer.Refresh, Scopes: scopes, APIDomain: strings.TrimSuffix(answer.APIDomain, "/")}, nil
}

func exchangeFailure(err error) error {
	var failure *Error
	if !errors.As(err, &failure) {
		return err
	}
	name := failure.Code
	if name == "invalid_grant" { // the newer word
		name = "invalid_code"
	}
	switch {
	case exchangeHints[name] != "":
		failure.hint = exchangeHints[name]
	case failure.hint == "" && failure.transient:
		failure.hint = "Zoho or the network is in trouble: try once more within the code's life, then with a new code"
	}
	return failure
}

// LeastScopes is what a mirror of all modules needs.
var LeastScopes = []string{"ZohoCRM.modules.READ", "ZohoCRM.coql.READ", "ZohoCRM.settings.fields.READ", "ZohoCRM.users.READ"}

// Lacks returns the scopes of LeastScopes that a grant does not have. A grant that does not
// say what it has lacks none; one for single modules is taken for enough of them.
func (g *Grant) Lacks() (lacking []string) {
	if len(g.Scopes) == 0 {
		return nil
	}
	for _, needed := range LeastScopes {
		if !g.allows(strings.ToLower(needed)) {
			lacking = append(lacking, needed)
		}
	}
	return lacking
}

func (g *Grant) allows(needed string) bool {
	area, _ := strings.CutSuffix(needed, ".read")
	for _, scope := range g.Scopes {
		scope = strings.ToLower(scope)
		if scope == needed || scope == area+".all" || strings.HasPrefix(needed, "zohocrm.settings.") && scope == "zohocrm.settings.all" {
			return true
		}
		if single, ok := strings.CutPrefix(scope, "zohocrm.modules."); ok && area == "zohocrm.modules" && (strings.HasSuffix(single, ".read") || strings.HasSuffix(single, ".all")) {
			return true
		}
	}
	return false
}
