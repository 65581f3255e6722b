package mirror_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// Promises 1 and 2, over HTTP and a real database: whatever is edited, in whatever second,
// however late Zoho shows it, between runs and between two pages of one, the mirror ends
// equal to the CRM.
func TestPromise01NothingIsMissed(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	rapid.Check(t, func(rt *rapid.T) {
		execute(t, o, "TRUNCATE leads, sync_watermarks, sync_quarantine, sync_locks")
		lag := time.Duration(rapid.IntRange(0, 59).Draw(rt, "lag")) * time.Second
		config := mirror.Config{Deadline: 20 * time.Second, Overlap: time.Minute, StaleAfter: time.Hour,
			PageSize: rapid.IntRange(1, 7).Draw(rt, "page")}
		m := newModel(t, o, zohosim.Config{VisibilityLag: lag}, config)
		defer m.org.mirror.Close()
		rt.Repeat(map[string]func(*rapid.T){
			"insert": func(rt *rapid.T) { m.insert(rapid.IntRange(1, 4).Draw(rt, "n")) },
			"edit":   func(rt *rapid.T) { m.edit(rapid.IntRange(0, 1000).Draw(rt, "which")) },
			"convert": func(rt *rapid.T) {
				m.convert(rapid.IntRange(0, 1000).Draw(rt, "which"), rapid.Bool().Draw(rt, "moves"))
			},
			"all":  func(*rapid.T) { m.editAll() },
			"wait": func(rt *rapid.T) { m.org.Advance(time.Duration(rapid.IntRange(0, 100).Draw(rt, "s")) * time.Second) },
			"tick": func(rt *rapid.T) { m.tick(rapid.Uint64().Draw(rt, "between pages")) },
		})
		m.between = nil
		m.org.Advance(2 * time.Minute)
		m.org.runAll(t, "leads")
		m.org.equal(t, "leads")
		if t.Failed() {
			rt.Fatal("the mirror differs")
		}
	})
}

// model is a simulated org that is worked on while it is mirrored.
type model struct {
	org     *org
	t       *testing.T
	ids     []string
	between *rand.Rand // makes edits between two pages
	changed func()     // called after each of them; nil: nobody
}

// newModel is an empty org with the database of another.
func newModel(t *testing.T, with *org, sim zohosim.Config, config mirror.Config) *model {
	t.Helper()
	m := &model{t: t, org: &org{clock: &clock{now: noon}, config: config, database: with.database, db: with.db, log: &lockedBuffer{}}}
	sim.Now = m.org.Now
	m.org.serve(t, sim)
	m.org.mirror = m.org.process(t, with.database)
	m.org.OnCall(func(c zohosim.Call) {
		if m.between == nil || c.Path != "/crm/v8/coql" {
			return
		}
		switch m.between.IntN(6) {
		case 0:
			m.insert(1)
		case 1:
			m.edit(m.between.IntN(1000))
		case 2:
			m.convert(m.between.IntN(1000), m.between.IntN(2) == 0)
		case 3:
			m.org.Advance(time.Second)
		}
		if m.changed != nil {
			m.changed()
		}
	})
	return m
}

func (m *model) insert(n int) {
	for range n {
		m.ids = append(m.ids, m.org.Insert("Leads", zohosim.Record{"Last_Name": fmt.Sprint("Lead ", len(m.ids))}))
	}
}

func (m *model) edit(which int) {
	if len(m.ids) > 0 {
		m.org.Update("Leads", m.ids[which%len(m.ids)], zohosim.Record{"Company": fmt.Sprint("Company ", which)})
	}
}

func (m *model) editAll() {
	m.org.MassUpdate("Leads", nil, zohosim.Record{"City": m.org.Now().Format(time.TimeOnly)})
}

func (m *model) convert(which int, moves bool) {
	if len(m.ids) == 0 {
		return
	}
	i := which % len(m.ids)
	m.org.Convert(m.ids[i], moves)
	m.ids = slices.Delete(m.ids, i, i+1) // nobody converts a lead twice
}

func (m *model) tick(seed uint64) {
	m.between = rand.New(rand.NewPCG(seed, seed))
	defer func() { m.between = nil }()
	module, _ := crm.Find("leads")
	if result, err := m.org.mirror.Run(m.t.Context(), mirror.Request{Module: module}); err != nil {
		m.t.Fatalf("tick: %v, %+v", err, result)
	}
}
