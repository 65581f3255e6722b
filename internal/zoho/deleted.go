package zoho

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Deleted is one entry of a module's list of deleted records. Nothing else of an entry is
// always there: permanent deletions and losers of a merge are anonymous.
type Deleted struct {
	ID   string    `json:"id"`
	Kind string    `json:"type"` // recycle or permanent
	At   time.Time `json:"deleted_time"`
}

// Kinds of Deleted.
const (
	KindRecycle   = "recycle"   // in the bin, from where it may be restored
	KindPermanent = "permanent" // gone for good
)

// DeletedPage is one page of the list, in no documented order.
type DeletedPage struct {
	Entries   []Deleted
	More      bool
	AsOf      time.Time // as of Page
	ZohoClock bool
}

// deletedPage is the most that a page of the list may hold.
const deletedPage = 200

type deletedAnswer struct {
	Data []Deleted `json:"data"`
	Info struct {
		More bool `json:"more_records"`
	} `json:"info"`
}

// Deleted reads a page, from 1, of what was deleted since; the zero time is all that Zoho
// remembers. An empty list comes as an empty 200, as 204 or as 304.
func (c *Client) Deleted(ctx context.Context, module string, since time.Time, page int) (*DeletedPage, error) {
	got, err := c.do(ctx, call{
		name: "deleted records of " + module, scope: ReadScope(module),
		method: http.MethodGet, path: "/crm/v8/" + module + "/deleted", since: since,
		params: url.Values{"type": {"all"}, "page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(deletedPage)}},
		decode: decodeInto[deletedAnswer],
	})
	if err != nil {
		return nil, err
	}
	answer, _ := got.value.(deletedAnswer) // none with 204 and 304
	if err := answer.check(); err != nil {
		return nil, fmt.Errorf("deleted records of %s: %w", module, err)
	}
	deleted := &DeletedPage{Entries: answer.Data, More: answer.Info.More}
	deleted.AsOf, deleted.ZohoClock = got.asOf()
	return deleted, nil
}

// ListEndsEarly reports whether Zoho refuses a page because a list may only be so long.
func ListEndsEarly(err error) bool { return hasCode(err, "DISCRETE_PAGINATION_LIMIT_EXCEEDED") }

// check holds the list against what Zoho always sends.
func (a deletedAnswer) check() error {
	for _, d := range a.Data {
		if !idForm.MatchString(d.ID) || d.At.IsZero() || d.Kind != KindRecycle && d.Kind != KindPermanent {
			return fmt.Errorf("an entry without id, type or deleted_time: %+v", d)
		}
	}
	return nil
}

type readableAnswer struct {
	Data []struct {
		ID string `json:"id"`
	} `json:"data"`
}

// Readable returns which of the records, at most MaxIDs, can be read now; converted leads
// can, in spite of being hidden from other reads.
func (c *Client) Readable(ctx context.Context, module string, ids []string) (map[string]bool, error) {
	got, err := c.do(ctx, call{
		name: "records of " + module + " by id", scope: ReadScope(module),
		method: http.MethodGet, path: "/crm/v8/" + module,
		params: url.Values{"ids": {strings.Join(ids, ",")}, "fields": {"id"}, "converted": {"both"}},
		decode: decodeInto[readableAnswer],
	})
	if err != nil {
		return nil, err
	}
	answer, answered := got.value.(readableAnswer) // none with 204
	readable := make(map[string]bool, len(answer.Data))
	for _, record := range answer.Data {
		if !slices.Contains(ids, record.ID) {
			return nil, fmt.Errorf("records of %s by id: an answer with %.40q, which nobody asked for", module, record.ID)
		}
		readable[record.ID] = true
	}
	if answered && len(readable) == 0 {
		// Whoever is absent is taken for deleted: an answer of another form must not say so.
		return nil, fmt.Errorf("records of %s by id: an answer without records", module)
	}
	return readable, nil
}

// ReadScope is the scope by which a module's records are read.
func ReadScope(module string) string { return "ZohoCRM.modules." + strings.ToLower(module) + ".READ" }
