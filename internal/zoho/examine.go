package zoho

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// OwnToken is a TokenStore for one process, for what needs no database. It costs one of the
// ten tokens that Zoho mints in ten minutes.
type OwnToken struct {
	mu   sync.Mutex
	kept StoredToken
}

// Token implements [TokenStore].
func (o *OwnToken) Token(context.Context, string) (StoredToken, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept, nil
}

// UpdateToken implements [TokenStore].
func (o *OwnToken) UpdateToken(ctx context.Context, _ string, update func(context.Context, StoredToken) (StoredToken, error)) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	token, err := update(ctx, o.kept)
	o.kept = token
	return err
}

// CheckToken gets an access token. Afterwards APIDomain says where the org lives, if this
// client minted it.
func (c *Client) CheckToken(ctx context.Context) error {
	_, err := c.tokens.token(ctx, c.log)
	return err
}

// Scopes that the mirror's calls need, beside a module's (see [ReadScope]).
const (
	ScopeCOQL   = "ZohoCRM.coql.READ"
	ScopeFields = "ZohoCRM.settings.fields.READ"
	ScopeUsers  = "ZohoCRM.users.READ"
	ScopeOrg    = "ZohoCRM.org.READ" // of no call of a run
)

// CheckUsers asks for one user.
func (c *Client) CheckUsers(ctx context.Context) error {
	_, err := c.do(ctx, call{
		name: "users", scope: ScopeUsers, method: http.MethodGet, path: "/crm/v8/users",
		params: url.Values{"type": {"AllUsers"}, "page": {"1"}, "per_page": {"1"}}, decode: decodeInto[usersAnswer],
	})
	return err
}

// CheckCOQL asks for one record. It takes the module's scope too.
func (c *Client) CheckCOQL(ctx context.Context, module string) error {
	_, err := c.Query(ctx, Query{Module: module, Columns: []string{"id"}, Limit: 1})
	return err
}

// CheckRecords asks what was deleted in this second, which is next to nothing. It returns
// by how much Zoho's clock is ahead of ours, to a second or the time that the call took.
func (c *Client) CheckRecords(ctx context.Context, module string) (ahead time.Duration, known bool, err error) {
	sent := time.Now()
	page, err := c.Deleted(ctx, module, sent, 1)
	if err != nil {
		return 0, false, err
	}
	return page.AsOf.Sub(sent), page.ZohoClock, nil
}

// Org is what Zoho says of the org.
type Org struct {
	Edition string // e.g. enterprise; empty where Zoho does not say
	Credits int64  // left for today; negative: more than half, and then Zoho does not say
}

type orgAnswer struct {
	Org []struct {
		License struct {
			Type string `json:"paid_type"`
		} `json:"license_details"`
	} `json:"org"`
}

// Org asks for the org's edition and what is left of its API credits.
func (c *Client) Org(ctx context.Context) (Org, error) {
	got, err := c.do(ctx, call{name: "organisation", scope: ScopeOrg, method: http.MethodGet, path: "/crm/v8/org", decode: decodeInto[orgAnswer]})
	if err != nil {
		return Org{}, err
	}
	org := Org{Credits: -1}
	if answer, _ := got.value.(orgAnswer); len(answer.Org) > 0 {
		org.Edition = answer.Org[0].License.Type
	}
	if left, err := strconv.ParseInt(got.header.Get("X-API-CREDITS-REMAINING"), 10, 64); err == nil {
		org.Credits = left
	}
	return org, nil
}
