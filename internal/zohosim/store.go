package zohosim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/tidwall/btree"
)

// Record is a record's values by API name: string, bool, int, [json.Number], [Ref],
// [time.Time] (rendered with an offset), nil, or [json.RawMessage] for anything at all.
// The system's own fields (id, Created_Time, Modified_Time, …) may be given, to import.
type Record map[string]any

// Ref is a looked-up record or user.
type Ref struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
}

// A version is one state of a record. It is never changed once made.
type version struct {
	modified  int64 // unix seconds: Zoho knows no fractions
	converted int64 // unix seconds; 0 is not converted
	gone      bool  // deleted
	values    Record
	lazy      func(int) Record // makes values where they are nil
	number    int              // lazy's argument
}

func (v *version) get(name string) any { return v.record()[name] }

func (v *version) record() Record {
	if v.values == nil && v.lazy != nil {
		return v.lazy(v.number)
	}
	return v.values
}

// displayName is what the deleted list calls a record.
func (v *version) displayName() string {
	for _, field := range []string{"Last_Name", "Deal_Name", "Account_Name"} {
		if name, ok := v.get(field).(string); ok {
			return name
		}
	}
	return ""
}

// An entry is a record: its truth, and what reads show of it.
type entry struct {
	id             uint64
	created        int64
	broken         bool      // its id is left out of answers
	shown          time.Time // when its latest change is, or was, shown
	listed         time.Time // when the deleted list shows, or showed, its latest change
	truth, visible *version
}

// change is a version that will be shown later.
type change struct {
	entry *entry
	to    *version
	at    time.Time
}

type module struct {
	name     string
	fields   []*Field
	entries  map[uint64]*entry
	pending  []change
	deleted  map[uint64][]tombstone // by record: the lines it has had, the present one last
	lines    int                    // of the deleted list so far
	live     *btree.BTreeG[*entry]  // by (modified, id)
	hidden   *btree.BTreeG[*entry]  // converted, by (modified, id)
	byMoment *btree.BTreeG[*entry]  // converted, by (converted, id)
	byID     *btree.BTreeG[*entry]  // all that is visible
	moved    *btree.BTreeG[*entry]  // converted, by id
}

func newModule(name string, fields []*Field) *module {
	by := func(key func(*version) int64) *btree.BTreeG[*entry] {
		return btree.NewBTreeGOptions(func(a, b *entry) bool {
			x, y := key(a.visible), key(b.visible)
			return x < y || x == y && a.id < b.id
		}, btree.Options{NoLocks: true})
	}
	modified := func(v *version) int64 { return v.modified }
	none := func(*version) int64 { return 0 }
	return &module{
		name: name, fields: fields, entries: map[uint64]*entry{}, deleted: map[uint64][]tombstone{},
		live: by(modified), hidden: by(modified),
		byMoment: by(func(v *version) int64 { return v.converted }),
		byID:     by(none), moved: by(none),
	}
}

// settle shows every change whose time has come.
func (m *module) settle(now time.Time) {
	for len(m.pending) > 0 && !m.pending[0].at.After(now) {
		c := m.pending[0]
		m.pending = m.pending[1:]
		m.show(c.entry, c.to)
	}
}

func (m *module) show(e *entry, to *version) {
	if e.visible != nil {
		m.live.Delete(e)
		m.hidden.Delete(e)
		m.byMoment.Delete(e)
		m.byID.Delete(e)
		m.moved.Delete(e)
	}
	if to == nil || to.gone {
		e.visible = nil
		return
	}
	e.visible = to
	m.byID.Set(e)
	if to.converted == 0 {
		m.live.Set(e)
		return
	}
	m.hidden.Set(e)
	m.byMoment.Set(e)
	m.moved.Set(e)
}

// put makes a version the truth, and shows it when the lag has passed.
func (z *Zoho) put(m *module, e *entry, to *version) {
	e.truth = to
	now := z.now()
	if at := now.Add(z.lag(e.id, uint64(to.modified)+uint64(len(z.calls)))); at.After(e.shown) { // a record's changes are shown in their order
		e.shown = at
	}
	next := change{e, to, e.shown}
	i := sort.Search(len(m.pending), func(i int) bool { return m.pending[i].at.After(next.at) })
	m.pending = slices.Insert(m.pending, i, next)
	m.settle(now)
}

// lag is how long a change stays hidden: another time for each, so that a later change may
// be shown first.
func (z *Zoho) lag(record, change uint64) time.Duration {
	most := uint64(z.config.VisibilityLag)
	if most == 0 {
		return 0
	}
	own := rand.New(rand.NewPCG(record, change))
	return time.Duration(own.Uint64N(most + 1))
}

func (z *Zoho) module(name string) *module {
	m, ok := z.modules[name]
	if !ok {
		panic(fmt.Sprintf("zohosim: there is no module %q", name)) // a mistake in the test's code
	}
	return m
}

func (m *module) entry(id string) *entry {
	n, err := strconv.ParseUint(id, 10, 64)
	if e := m.entries[n]; err == nil && e != nil && e.truth != nil {
		return e
	}
	panic(fmt.Sprintf("zohosim: %s has no record %s", m.name, id)) // a mistake in the test's code
}

// Insert makes a record, created and modified now, and returns its id.
func (z *Zoho) Insert(module string, values Record) string {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	return z.insert(m, z.claimID(values), values, nil, 0)
}

// InsertMany makes n records whose values are made anew whenever they are read, so that
// a million of them take little memory. fill gets the record's number, from 0, and must
// always give the same.
func (z *Zoho) InsertMany(module string, n int, fill func(i int) Record) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	for i := range n {
		values := fill(i)
		z.insert(m, z.claimID(values), values, fill, i)
	}
}

// InsertBroken makes a record whose answers have no id.
func (z *Zoho) InsertBroken(module string, values Record) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	id := z.claimID(values)
	z.insert(m, id, values, nil, 0)
	m.entries[id].broken = true
}

func (z *Zoho) claimID(values Record) uint64 {
	if text, ok := values["id"].(string); ok {
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			panic(err) // a mistake in the test's code
		}
		return id
	}
	z.nextID += 7
	return z.nextID
}

func (z *Zoho) insert(m *module, id uint64, values Record, lazy func(int) Record, number int) string {
	now := z.now().Unix()
	moment := func(name string, otherwise int64) int64 {
		if t, ok := values[name].(time.Time); ok {
			return t.Unix()
		}
		return otherwise
	}
	v := &version{modified: moment("Modified_Time", now), converted: moment("Converted_Date_Time", 0), lazy: lazy, number: number}
	if lazy == nil {
		v.values = maps.Clone(values)
	}
	e := &entry{id: id, created: moment("Created_Time", v.modified)}
	m.entries[id] = e
	z.put(m, e, v)
	return strconv.FormatUint(id, 10)
}

// amend makes a new version of a record.
func (z *Zoho) amend(m *module, e *entry, modified int64, changes Record) {
	v := *e.truth
	v.values = maps.Clone(e.truth.record())
	v.lazy = nil
	maps.Copy(v.values, changes)
	v.modified = modified
	z.put(m, e, &v)
}

// Update changes a record, as a user would.
func (z *Zoho) Update(module, id string, changes Record) {
	z.MassUpdate(module, []string{id}, changes)
}

// MassUpdate changes records and stamps them all with one second. No ids are all records.
func (z *Zoho) MassUpdate(module string, ids []string, changes Record) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m, now := z.module(module), z.now().Unix()
	if ids == nil {
		ids = m.ids()
	}
	for _, id := range ids {
		z.amend(m, m.entry(id), now, changes)
	}
}

// UpdateQuietly changes values that do not move Modified_Time: formulas, roll-ups,
// Last_Activity_Time, names of looked-up records.
func (z *Zoho) UpdateQuietly(module, id string, changes Record) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	e := m.entry(id)
	z.amend(m, e, e.truth.modified, changes)
}

// Convert converts a lead; whether that moves Modified_Time is not documented, so the
// caller says.
func (z *Zoho) Convert(id string, moves bool) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m, now := z.module("Leads"), z.now().Unix()
	e := m.entry(id)
	if e.truth.gone {
		return
	}
	v := *e.truth
	v.converted = now
	if moves {
		v.modified = now
	}
	z.put(m, e, &v)
}

func (m *module) ids() []string {
	var ids []string
	for id, e := range m.entries {
		if e.truth != nil && !e.truth.gone {
			ids = append(ids, strconv.FormatUint(id, 10))
		}
	}
	slices.Sort(ids)
	return ids
}

// Truth returns all records of a module that are not deleted, converted leads included,
// by id: what a mirror must end equal to. Times are in UTC.
func (z *Zoho) Truth(module string) map[string]Record {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	all := make(map[string]Record, len(m.entries))
	for id, e := range m.entries {
		if e.truth == nil || e.truth.gone || e.broken {
			continue
		}
		record := maps.Clone(e.truth.record())
		record["id"] = strconv.FormatUint(id, 10)
		record["Created_Time"] = time.Unix(e.created, 0).UTC()
		record["Modified_Time"] = time.Unix(e.truth.modified, 0).UTC()
		if module == "Leads" {
			record["Converted__s"] = e.truth.converted != 0
			if e.truth.converted != 0 {
				record["Converted_Date_Time"] = time.Unix(e.truth.converted, 0).UTC()
			}
		}
		all[record["id"].(string)] = record
	}
	return all
}

// SetNow replaces the org's clock.
func (z *Zoho) SetNow(now func() time.Time) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.config.Now = now
}
