package zohosim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// How long what is deleted is remembered (zoho-api, "Deleted records").
const (
	binRetention  = 60 * 24 * time.Hour  // then it is purged by itself
	goneRetention = 120 * 24 * time.Hour // then the list forgets it
)

// maxLosers is how many duplicates one merge takes (zoho-api, "Restore, purge, merge, convert").
const maxLosers = 2

// A tombstone is one line of the deleted list.
type tombstone struct {
	id        uint64
	number    int // in the order of lines
	permanent bool
	loser     bool      // of a merge: anonymous, and no restore brings it back
	removed   time.Time // when the record left its module; the list forgets it by this
	at        time.Time // deleted_time
	name      string

	from, until time.Time // on the list; a zero until is without end
}

// aged is the line as it is now: what the bin has held too long is gone for good.
func (t tombstone) aged(now time.Time, keepsTime bool) tombstone {
	if purged := t.removed.Add(binRetention); !t.permanent && !now.Before(purged) {
		t.permanent = true
		if !keepsTime {
			t.at = purged
		}
	}
	return t
}

// Delete moves records to the recycle bin. After 60 days there they are purged.
func (z *Zoho) Delete(module string, ids ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	for _, id := range ids {
		if e := m.entry(id); !e.truth.gone {
			z.bury(m, e, tombstone{name: e.truth.displayName()})
		}
	}
}

// Purge deletes records for good; those in the bin too.
func (z *Zoho) Purge(module string, ids ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	for _, id := range ids {
		e := m.entry(id)
		t := tombstone{permanent: true}
		if e.truth.gone {
			binned := m.line(e).aged(z.now(), z.config.PurgeKeepsTime)
			if binned.permanent {
				continue
			}
			t.loser, t.removed = binned.loser, binned.removed
			if z.config.PurgeKeepsTime {
				t.at = binned.at
			}
		}
		z.bury(m, e, t)
	}
}

// Restore brings a record back from the bin; whether that moves Modified_Time is not
// documented, so the caller says. Of what is gone for good, and of the losers of a merge,
// a restore does nothing.
func (z *Zoho) Restore(module, id string, moves bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	e := m.entry(id)
	if !e.truth.gone {
		return
	}
	if t := m.line(e).aged(z.now(), false); t.permanent || t.loser {
		return
	}
	lines := m.deleted[e.id]
	lines[len(lines)-1].until = z.listing(m, e)
	back := *e.truth
	back.gone = false
	if moves {
		back.modified = z.now().Unix()
	}
	z.put(m, e, &back)
}

// Merge makes one record of several: the losers are deleted, the master is modified, and
// lookups that pointed to a loser point to the master from now on, which moves no
// Modified_Time.
func (z *Zoho) Merge(module, master string, losers ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	if len(losers) == 0 || len(losers) > maxLosers || slices.Contains(losers, master) {
		panic(fmt.Sprintf("zohosim: %d records cannot be merged into %s", len(losers), master)) // a mistake in the test's code
	}
	to := m.entry(master)
	z.amend(m, to, z.now().Unix(), nil)
	lost := map[string]bool{}
	for _, id := range losers {
		e := m.entry(id)
		if e.truth.gone || to.truth.gone {
			panic(fmt.Sprintf("zohosim: %s is deleted and cannot be merged", id)) // a mistake in the test's code
		}
		z.bury(m, e, tombstone{loser: true, permanent: z.config.LosersPermanent})
		lost[id] = true
	}
	z.repoint(module, lost, Ref{ID: master, Name: to.truth.displayName()})
}

// repoint lets every lookup of the module that points to one of the lost point to another record.
func (z *Zoho) repoint(module string, lost map[string]bool, to Ref) {
	for _, m := range z.modules {
		var lookups []string
		for _, f := range m.fields {
			if f.Type == "lookup" && f.Target == module {
				lookups = append(lookups, f.API)
			}
		}
		if lookups == nil {
			continue
		}
		for _, e := range m.entries {
			record := e.truth.record()
			changes := Record{}
			for _, name := range lookups {
				if ref, ok := record[name].(Ref); ok && lost[ref.ID] {
					changes[name] = to
				}
			}
			if len(changes) > 0 {
				z.amend(m, e, e.truth.modified, changes)
			}
		}
	}
}

// bury hides a record from reads and puts its line on the deleted list, each in its time.
func (z *Zoho) bury(m *module, e *entry, t tombstone) {
	now := z.now()
	m.lines++
	t.id, t.number, t.from = e.id, m.lines, z.listing(m, e)
	if t.at.IsZero() {
		t.at = now
	}
	if t.removed.IsZero() {
		t.removed = now
	}
	lines := m.deleted[e.id]
	if n := len(lines); n > 0 && lines[n-1].until.IsZero() {
		lines[n-1].until = t.from
	}
	m.deleted[e.id] = append(lines, t)
	if e.truth.gone {
		return
	}
	gone := *e.truth
	gone.gone = true
	z.put(m, e, &gone)
}

// listing is when the deleted list shows what happens to a record now: it has a lag of its
// own, so that it may do so before reads hide the record, or after.
func (z *Zoho) listing(m *module, e *entry) time.Time {
	at := z.now().Add(z.lag(^e.id, uint64(z.now().Unix()+int64(len(z.calls)+m.lines)<<40)))
	if at.After(e.listed) { // a record's changes are shown in their order
		e.listed = at
	}
	return e.listed
}

// line is the present line of a record that is deleted.
func (m *module) line(e *entry) tombstone {
	lines := m.deleted[e.id]
	return lines[len(lines)-1]
}

func (z *Zoho) listDeleted(r *http.Request, _ []byte) answer {
	z.mu.Lock()
	defer z.mu.Unlock()
	m, refused := z.readable(r)
	if refused != nil {
		return *refused
	}
	kind := cmp.Or(r.URL.Query().Get("type"), "all")
	if !slices.Contains([]string{"all", "recycle", "permanent"}, kind) {
		return badParam("type")
	}
	page, per, bad := paging(r)
	if bad != nil {
		return *bad
	}
	if wall := z.config.DeletedWall; wall > 0 && page*per > wall {
		return fail(http.StatusBadRequest, "DISCRETE_PAGINATION_LIMIT_EXCEEDED", fmt.Sprintf("page is limited to %d records", wall), map[string]any{"limit": wall})
	}
	since, err := time.Parse(time.RFC3339, r.Header.Get("If-Modified-Since"))
	if err == nil && z.config.SinceExclusive {
		since = since.Add(time.Second)
	}
	found := z.tombstones(m, kind, since)
	list := make([]any, len(found))
	for i, t := range found {
		list[i] = z.tombstoneRow(t)
	}
	rows := cut(list, (page-1)*per, per)
	info := pageInfo(page, per, len(rows), len(list) > page*per)
	switch {
	case len(rows) > 0:
		return listed(rows, info)
	case z.config.DeletedEmpty == http.StatusOK:
		return listed([]any{}, info)
	case z.config.DeletedEmpty != 0:
		return answer{status: z.config.DeletedEmpty}
	case err == nil:
		return answer{status: http.StatusNotModified}
	default:
		return nothing
	}
}

// tombstones are the lines of a kind that the list shows now, in its order.
func (z *Zoho) tombstones(m *module, kind string, since time.Time) []tombstone {
	now := z.now()
	var found []tombstone
	for _, lines := range m.deleted {
		for _, t := range lines {
			if now.Before(t.from) || !t.until.IsZero() && !now.Before(t.until) || now.Sub(t.removed) >= goneRetention {
				continue
			}
			t = t.aged(now, z.config.PurgeKeepsTime)
			of := map[bool]string{true: "permanent", false: "recycle"}[t.permanent]
			if (kind == "all" || kind == of) && !t.at.Truncate(time.Second).Before(since) {
				found = append(found, t)
			}
		}
	}
	slices.SortFunc(found, func(a, b tombstone) int {
		if a.permanent != b.permanent {
			return cmp.Compare(map[bool]int{true: 1}[a.permanent], map[bool]int{true: 1}[b.permanent])
		}
		return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.number, b.number))
	})
	z.listings++
	switch z.config.DeletedOrder {
	case OrderAny:
		place := func(t tombstone) uint64 { return rand.New(rand.NewPCG(t.id, 0)).Uint64() }
		slices.SortFunc(found, func(a, b tombstone) int { return cmp.Compare(place(a), place(b)) })
	case OrderShifting:
		own := rand.New(rand.NewPCG(z.listings, 0))
		own.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
	}
	return found
}

// tombstoneRow renders a line: what is gone for good, and what a merge removed, is anonymous.
func (z *Zoho) tombstoneRow(t tombstone) map[string]any {
	row := map[string]any{
		"id": strconv.FormatUint(t.id, 10), "deleted_time": t.at.In(z.config.Zones[0]).Format("2006-01-02T15:04:05-07:00"),
		"type": "recycle", "display_name": nil, "deleted_by": nil, "created_by": nil,
	}
	if t.permanent {
		row["type"] = "permanent"
	}
	if !t.permanent && !t.loser {
		by := map[string]any{"id": z.users[0].ID, "name": z.users[0].FullName()}
		row["display_name"], row["deleted_by"], row["created_by"] = t.name, by, by
	}
	return row
}

// draft reports whether a record is not, or no longer, among the published ones.
func (v *version) draft() bool {
	status, _ := v.get("Record_Status__s").(string)
	return status == "Draft" || status == "Trash"
}
