package zohosim

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of Get Records (zoho-api, "Get Records").
const (
	maxFields     = 50
	maxIDs        = 1024 // characters
	maxPaged      = 2000 // records that page reaches
	tokenReach    = 100_000
	pageTokenLife = 24 * time.Hour
)

// recordPath takes /crm/v8/{module}[/{rest}] apart.
func recordPath(path string) (module, rest string, ok bool) {
	tail, found := strings.CutPrefix(path, "/crm/v8/")
	module, rest, _ = strings.Cut(tail, "/")
	if !found || module == "" || module == "settings" || strings.Contains(rest, "/") {
		return "", "", false
	}
	return module, rest, true
}

func recordRoute(r *http.Request) (route, bool) {
	module, rest, ok := recordPath(r.URL.Path)
	if !ok {
		return route{}, false
	}
	found := route{method: http.MethodGet, scope: func(*http.Request) []string { return []string{"ZohoCRM.modules." + module + ".READ"} }}
	switch rest {
	case "":
		found.params = []string{"fields", "per_page", "page", "page_token", "sort_by", "sort_order", "converted", "ids", "cvid", "territory_id", "include_child", "approved", "uid"}
		found.handle = (*Zoho).listRecords
	case "deleted":
		found.params = []string{"type", "page", "per_page"}
		found.handle = (*Zoho).listDeleted
	default:
		found.params = []string{"fields"}
		found.handle = (*Zoho).singleRecord
	}
	return found, true
}

// readable returns the module of a record's path, or what is answered instead.
func (z *Zoho) readable(r *http.Request) (*module, *answer) {
	name, _, _ := recordPath(r.URL.Path)
	m, known := z.modules[name]
	switch {
	case !known:
		return nil, &unknownModule
	case z.forbidden[name]:
		refused := noPermission(name)
		return nil, &refused
	}
	return m, nil
}

// Forbid withdraws the user's right to view a module's records, or gives it back.
func (z *Zoho) Forbid(module string, forbidden bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.forbidden[z.module(module).name] = forbidden
}

// RemoveModule makes the org one that has no such module.
func (z *Zoho) RemoveModule(module string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	delete(z.modules, z.module(module).name)
}

func noPermission(module string) answer {
	return fail(http.StatusForbidden, "NO_PERMISSION", "permission denied", map[string]any{"permissions": []string{"Crm_Implied_View_" + module}})
}

var unknownModule = fail(http.StatusBadRequest, "INVALID_MODULE", "the module name given seems to be invalid", map[string]any{"resource_path_index": 0})

func badParam(name string) answer {
	return fail(http.StatusBadRequest, "PATTERN_NOT_MATCHED", "Please check whether the input values are correct", map[string]any{"param_name": name})
}

// A pageToken goes on with a list, for the same parameters only.
type pageToken struct {
	params  string
	offset  int
	page    int
	expires time.Time
}

// A listing is a judged request for a list of records.
type listing struct {
	fields    []string
	sortBy    string
	descend   bool
	converted string
	ids       []string
	since     int64 // unix seconds; 0 is always
	page, per int
	offset    int
	params    string
}

func (z *Zoho) listRecords(r *http.Request, _ []byte) answer {
	z.mu.Lock()
	defer z.mu.Unlock()
	m, refused := z.readable(r)
	if refused != nil {
		return *refused
	}
	l, bad := z.judge(m, r)
	if bad != nil {
		return *bad
	}
	m.settle(z.now())
	found := m.list(l, z.config.Drafts == DraftsHiddenByAll)
	part := found[min(l.offset, len(found)):min(l.offset+l.per, len(found))]
	if len(part) == 0 {
		if l.since > 0 {
			return answer{status: http.StatusNotModified}
		}
		return nothing
	}
	rows := make([]any, len(part))
	for i, e := range part {
		rows[i] = z.fullRow(m, l.fields, e)
	}
	return listed(rows, z.listInfo(l, len(rows), len(found) > l.offset+l.per))
}

func listed(rows []any, info map[string]any) answer {
	return ok(map[string]any{"data": rows, "info": info}, len(rows))
}

// judge reads the parameters, and says what is wrong with them.
func (z *Zoho) judge(m *module, r *http.Request) (*listing, *answer) {
	query := r.URL.Query()
	refused := func(code, message string, details map[string]any) (*listing, *answer) {
		wrong := fail(http.StatusBadRequest, code, message, details)
		return nil, &wrong
	}
	l := &listing{sortBy: cmp.Or(query.Get("sort_by"), "id"), descend: cmp.Or(query.Get("sort_order"), "desc") == "desc",
		converted: cmp.Or(query.Get("converted"), "false"), params: boundParams(query)}
	if query.Get("fields") == "" {
		return refused("REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", map[string]any{"param_name": "fields"})
	}
	l.fields = strings.Split(query.Get("fields"), ",")
	if len(l.fields) > maxFields {
		return refused("LIMIT_EXCEEDED", "the limit of fields is exceeded", map[string]any{"limit": maxFields})
	}
	if ids := query.Get("ids"); len(ids) > maxIDs {
		return refused("LIMIT_EXCEEDED", "the limit of ids is exceeded", map[string]any{"limit": maxIDs})
	} else if ids != "" {
		l.ids = strings.Split(ids, ",")
	}
	for name, allowed := range map[string][]string{"sort_by": {"id", "Created_Time", "Modified_Time"}, "sort_order": {"asc", "desc"}, "converted": {"true", "false", "both"}} {
		if v := query.Get(name); v != "" && !slices.Contains(allowed, v) {
			wrong := badParam(name)
			return nil, &wrong
		}
	}
	page, per, bad := paging(r)
	if bad != nil {
		return nil, bad
	}
	l.page, l.per, l.offset = page, per, (page-1)*per
	if since, err := time.Parse(time.RFC3339, r.Header.Get("If-Modified-Since")); err == nil {
		l.since = since.Unix()
	}
	token := query.Get("page_token")
	switch {
	case token == "" && page*per > maxPaged:
		return refused("DISCRETE_PAGINATION_LIMIT_EXCEEDED", "page is limited to 2000 records", map[string]any{"limit": maxPaged})
	case token == "":
		return l, nil
	case query.Has("page"):
		return refused("AMBIGUITY_DURING_PROCESSING", "page and page_token cannot be given together", nil)
	}
	kept, known := z.pageTokens[token]
	switch {
	case !known:
		return refused("INVALID_DATA", "the page token is invalid", map[string]any{"param_name": "page_token"})
	case kept.params != l.params:
		return refused("TOKEN_BOUND_DATA_MISMATCH", "the parameters differ from those of the page token", map[string]any{"param_name": "page_token"})
	case z.now().After(kept.expires):
		return refused("EXPIRED_VALUE", "the page token has expired", map[string]any{"param_name": "page_token"})
	case kept.offset >= tokenReach:
		return refused("PAGINATION_LIMIT_EXCEEDED", "page tokens reach 100000 records", map[string]any{"limit": tokenReach})
	}
	l.offset, l.page = kept.offset, kept.page
	return l, nil
}

// boundParams are the parameters that a page token holds for.
func boundParams(query url.Values) string {
	bound := url.Values{}
	for name, values := range query {
		if name != "page_token" && name != "page" {
			bound[name] = values
		}
	}
	return bound.Encode()
}

func (m *module) list(l *listing, noDrafts bool) []*entry {
	var found []*entry
	take := func(e *entry) bool {
		isConverted := e.visible.converted != 0
		if (l.converted == "both" || isConverted == (l.converted == "true")) && e.visible.modified >= l.since && !(noDrafts && e.visible.draft()) {
			found = append(found, e)
		}
		return true
	}
	if l.ids == nil {
		m.byID.Scan(take)
	} else {
		for _, e := range m.visible(numbers(l.ids)) {
			take(e)
		}
	}
	slices.SortFunc(found, m.order([]ordering{{name: l.sortBy, desc: l.descend}, {name: "id", desc: l.descend}}))
	return found
}

// numbers reads ids; what is none is nobody's.
func numbers(texts []string) []uint64 {
	var ids []uint64
	for _, text := range texts {
		if id, err := strconv.ParseUint(text, 10, 64); err == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// visible returns those of the records that reads show, each once, by id.
func (m *module) visible(ids []uint64) []*entry {
	var found []*entry
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		if e := m.entries[id]; e != nil && e.visible != nil {
			found = append(found, e)
		}
	}
	return found
}

func (z *Zoho) listInfo(l *listing, count int, more bool) map[string]any {
	info := map[string]any{"call": false, "email": false, "per_page": l.per, "count": count, "page": l.page, "sort_by": l.sortBy,
		"sort_order": map[bool]string{true: "desc", false: "asc"}[l.descend], "more_records": more,
		"next_page_token": nil, "previous_page_token": nil, "page_token_expiry": nil}
	if more {
		expires := z.now().Add(pageTokenLife)
		token := fmt.Sprintf("c8582%08x", len(z.pageTokens)+1)
		z.pageTokens[token] = pageToken{params: l.params, offset: l.offset + l.per, page: l.page + 1, expires: expires}
		info["next_page_token"], info["page_token_expiry"] = token, expires.Format(time.RFC3339)
	}
	return info
}

// fullRow renders a record as Get Records does: users by their full name and with their
// address, and only fields that exist.
func (z *Zoho) fullRow(m *module, fields []string, e *entry) map[string]any {
	s := &statement{}
	for _, name := range fields {
		if m.field(name) != nil && name != "id" {
			s.columns = append(s.columns, column{name: name, field: m.field(name)})
		}
	}
	row := z.row(m, s, e)
	for _, c := range s.columns {
		ref, isRef := e.visible.get(c.name).(Ref)
		if !isRef || c.field.Type != "ownerlookup" {
			continue
		}
		for _, u := range z.users {
			if u.ID == ref.ID {
				row[c.name] = map[string]any{"name": u.FullName(), "id": u.ID, "email": u.Email}
			}
		}
	}
	return row
}

func (z *Zoho) singleRecord(r *http.Request, _ []byte) answer {
	z.mu.Lock()
	defer z.mu.Unlock()
	m, refused := z.readable(r)
	if refused != nil {
		return *refused
	}
	_, id, _ := recordPath(r.URL.Path)
	n, err := strconv.ParseUint(id, 10, 64)
	if err != nil {
		return fail(http.StatusBadRequest, "INVALID_DATA", "the related id given seems to be invalid", map[string]any{"resource_path_index": 1})
	}
	m.settle(z.now())
	e := m.entries[n]
	if e == nil || e.visible == nil || z.config.Drafts == DraftsHiddenByAll && e.visible.draft() {
		return nothing
	}
	var fields []string
	for _, f := range m.fields {
		fields = append(fields, f.API)
	}
	return answer{status: http.StatusOK, rows: 1, body: map[string]any{"data": []any{z.fullRow(m, fields, e)}}}
}
