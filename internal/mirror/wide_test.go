package mirror_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// wide gives a module n custom fields, every one in step of them a formula; 0 is none. It
// returns their names.
func wide(o *org, module string, n, step int) []string {
	names := make([]string, n)
	for i := range names {
		f := zohosim.Field{API: fmt.Sprintf("Custom_%d", i), Type: "text", Custom: true}
		if step > 0 && i%step == 0 {
			f.Type, f.Returns = "formula", "text"
		}
		o.AddField(module, f)
		names[i] = f.API
	}
	return names
}

// filled is a record with a value in each of the fields, told apart by number and version.
func filled(record zohosim.Record, fields []string, number, version int) zohosim.Record {
	for i, f := range fields {
		record[f] = fmt.Sprintf("%d/%d/%d", number, i, version)
	}
	return record
}

// asked are the queries sent since the last ResetCalls, by their answers' codes.
func asked(o *org) map[string]int {
	codes := map[string]int{}
	for _, call := range o.Calls() {
		if call.Path == "/crm/v8/coql" {
			codes[call.Code]++
		}
	}
	return codes
}

// Pain 6: fields above some number are lost without a word. All of 620 arrive, for new
// records and for changed ones, and an idle tick costs no more than a narrow module's.
func TestPain06MoreFieldsThanASelectMayName(t *testing.T) {
	t.Parallel()
	for module, fill := range map[string]func(int) zohosim.Record{"leads": lead, "deals": deal} {
		t.Run(module, func(t *testing.T) {
			t.Parallel()
			o := newOrg(t, zohosim.Config{}, defaultConfig)
			found, _ := crm.Find(module)
			fields := wide(o, found.API, 620, 0)
			var ids []string
			for i := range 250 {
				ids = append(ids, o.Insert(found.API, filled(fill(i), fields, i, 0)))
			}
			if module == "leads" {
				o.Convert(ids[7], false)
			}
			if got := o.run(t, module); got.Counts.Inserted != 250 {
				t.Errorf("%+v", got.Counts)
			}
			o.equal(t, module)
			o.Advance(time.Hour)
			o.Update(found.API, ids[3], zohosim.Record{fields[0]: "changed", fields[619]: nil})
			if module == "leads" {
				o.Convert(ids[9], false)
			}
			o.runAll(t, module)
			o.equal(t, module)

			o.Advance(time.Hour)
			o.run(t, module)
			o.ResetCalls()
			o.run(t, module)
			if n := len(o.Calls()); n != len(found.Streams)+1 { // and the list of deletions
				t.Errorf("an idle tick: %d calls", n)
			}
		})
	}
}

// An org that takes fewer columns than documented is found out once, by few refused calls,
// and again a day later.
func TestColumnsAreHalved(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{MaxColumns: 50}, defaultConfig)
	fields := wide(o, "Leads", 200, 40)
	var ids []string
	for i := range 30 {
		ids = append(ids, o.Insert("Leads", filled(lead(i), fields, i, 0)))
	}
	o.Convert(ids[4], false)
	o.run(t, "leads")
	o.equal(t, "leads")
	if n := asked(o)["LIMIT_EXCEEDED"]; n != 3 { // some 260, 130, 65
		t.Errorf("%d refused calls", n)
	}
	o.Advance(time.Minute)
	o.MassUpdate("Leads", nil, zohosim.Record{fields[0]: "a", fields[199]: "b"})
	for age, refused := range map[string]int{"1 hour": 0, "25 hours": 3} {
		execute(t, o, "UPDATE sync_metadata SET fetched_at = clock_timestamp() - $1::interval WHERE key = 'columns:leads'", age)
		o.ResetCalls()
		o.mirror = o.process(t, o.database)
		o.run(t, "leads")
		o.equal(t, "leads")
		if n := asked(o)["LIMIT_EXCEEDED"]; n != refused {
			t.Errorf("after %s: %d refused calls, want %d", age, n, refused)
		}
	}
	if !strings.Contains(o.log.String(), "Zoho refuses so many columns") {
		t.Error("nobody was told")
	}
}

// Where it is not the columns that Zoho refuses, the run fails and says so, and the next one
// begins with as many as before.
func TestColumnsCannotBeHalved(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	o.InsertMany("Leads", 3, lead)
	refuse := zohosim.Fault{Status: 400, Body: `{"code":"LIMIT_EXCEEDED","details":{},"message":"the query exceeds a limit","status":"error"}`}
	o.Plan(100, func(c zohosim.Call) bool { return c.Path == "/crm/v8/coql" }, refuse)
	module, _ := crm.Find("leads")
	result, err := o.mirror.Run(t.Context(), mirror.Request{Module: module})
	if err == nil || !strings.Contains(result.Err, "leads cannot be read: Zoho finds a query of 3 columns too large") ||
		!strings.Contains(result.Err, "HTTP 400: LIMIT_EXCEEDED") || !strings.Contains(result.Hint, "not the number of columns") {
		t.Errorf("%v, %+v", err, result)
	}
	o.ClearPlans()
	o.ResetCalls()
	o.run(t, "leads")
	o.equal(t, "leads")
	if n := asked(o)[""]; n != 3 { // one a stream
		t.Errorf("%d calls", n)
	}
}

// At most five formula fields are in a query.
func TestFormulaFields(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	fields := wide(o, "Deals", 24, 2)
	for i := range 10 {
		o.Insert("Deals", filled(deal(i), fields, i, 0))
	}
	o.run(t, "deals")
	o.equal(t, "deals")
	if got := asked(o); got["LIMIT_EXCEEDED"] != 0 || got[""] != 3 { // twelve formulas
		t.Errorf("calls %v", got)
	}
}

// Records that change while their slices are read are never written torn, and none is lost.
func TestEditsBetweenSlices(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(o *org, ids []string, fields []string, version int){
		"one": func(o *org, ids, fields []string, version int) {
			o.Update("Leads", ids[5], filled(zohosim.Record{}, fields, 5, version))
		},
		"the last of the page": func(o *org, ids, fields []string, version int) {
			o.Update("Leads", ids[199], filled(zohosim.Record{}, fields, 199, version))
		},
		"all": func(o *org, ids, fields []string, version int) {
			o.MassUpdate("Leads", nil, filled(zohosim.Record{}, fields, 0, version))
		},
		"conversion": func(o *org, ids, _ []string, version int) {
			if version <= len(ids) {
				o.Convert(ids[version-1], version%2 == 0)
			}
		},
		"inserted": func(o *org, _, fields []string, version int) {
			o.Insert("Leads", filled(lead(version), fields, version, 0))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOrg(t, zohosim.Config{MaxColumns: 80}, defaultConfig)
			fields := wide(o, "Leads", 150, 0)
			var ids []string
			for i := range 230 {
				ids = append(ids, o.Insert("Leads", filled(lead(i), fields, i, 0)))
			}
			var edits atomic.Int32
			o.OnCall(func(c zohosim.Call) {
				if strings.Contains(c.Query, fields[149]) && edits.Load() < 12 { // the last slice
					o.Advance(time.Second)
					edit(o, ids, fields, int(edits.Add(1)))
				}
			})
			// Whatever is written while all this goes on is whole.
			execute(t, o, `CREATE FUNCTION whole() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF (SELECT count(DISTINCT split_part(value, '/', 3)) <> 1 OR count(*) <> 150 FROM jsonb_each_text(NEW.custom_fields)) THEN
					RAISE EXCEPTION 'a torn record: %', NEW.id; END IF; RETURN NEW; END $$`)
			execute(t, o, `CREATE TRIGGER whole BEFORE INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION whole()`)
			o.run(t, "leads")
			if edits.Load() == 0 {
				t.Fatal("nothing was edited")
			}
			o.Advance(2 * time.Minute)
			o.OnCall(nil)
			o.runAll(t, "leads")
			o.equal(t, "leads")
		})
	}
}

// Leads whose conversion moved no Modified_Time come by the time of their conversion, also
// when they are edited whenever their slices are read.
func TestConvertedLeadsInSlices(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{MaxColumns: 80}, defaultConfig)
	fields := wide(o, "Leads", 150, 0)
	var ids []string
	for i := range 20 {
		ids = append(ids, o.Insert("Leads", filled(lead(i), fields, i, 0)))
	}
	o.run(t, "leads")
	o.Advance(24 * time.Hour)
	for _, id := range ids[:10] {
		o.Convert(id, false)
	}
	o.Advance(time.Second)
	var edits atomic.Int32
	o.OnCall(func(c zohosim.Call) {
		if strings.Contains(c.Query, fields[149]) && strings.Contains(c.Query, "Converted__s = true") && edits.Load() < 30 {
			o.Advance(time.Second)
			o.Update("Leads", ids[3], filled(zohosim.Record{}, fields, 3, int(edits.Add(1))))
		}
	})
	o.run(t, "leads")
	if want := value[int](t, o, "SELECT count(*) FROM leads WHERE converted"); edits.Load() == 0 || want != 9 {
		t.Errorf("%d edits, %d converted leads", edits.Load(), want) // all but the one that never came to rest
	}
	o.OnCall(nil)
	o.Advance(2 * time.Minute)
	o.run(t, "leads")
	o.equal(t, "leads")
}

// A column that is deleted while slices are read is left out, whichever slice held it.
func TestColumnDeletedBetweenSlices(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{MaxColumns: 80}, defaultConfig)
	fields := wide(o, "Leads", 150, 0)
	for i := range 20 {
		o.Insert("Leads", filled(lead(i), fields, i, 0))
	}
	o.run(t, "leads")
	before := o.rows(t, "leads")
	o.Advance(time.Minute)
	o.MassUpdate("Leads", nil, zohosim.Record{"Company": "Zylker Ltd"})
	gone := fields[149]
	var once atomic.Bool
	o.OnCall(func(c zohosim.Call) {
		if strings.Contains(c.Query, gone) && !once.Swap(true) {
			o.RemoveField("Leads", gone)
		}
	})
	o.run(t, "leads")
	for _, row := range before {
		row["company"], row["modified_time"] = "Zylker Ltd", o.Now().Format("2006-01-02T15:04:05+00:00")
	}
	if diff := cmp.Diff(before, o.rows(t, "leads"), sameNumber); diff != "" {
		t.Errorf("(-want +got):\n%.2000s", diff)
	}
	if !once.Load() || asked(o)["INVALID_QUERY"] != 1 {
		t.Errorf("calls %v", asked(o))
	}
}

// Promise 1 holds for a module that is read in slices as well: whatever is edited between any
// two calls, with whatever lag, the mirror ends equal to the CRM.
func TestPromise01NothingIsMissedInSlices(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	rapid.Check(t, func(rt *rapid.T) {
		execute(t, o, "TRUNCATE leads, sync_watermarks, sync_quarantine, sync_locks, sync_metadata")
		lag := time.Duration(rapid.IntRange(0, 59).Draw(rt, "lag")) * time.Second
		config := mirror.Config{Deadline: 20 * time.Second, Overlap: time.Minute, StaleAfter: time.Hour,
			PageSize: rapid.IntRange(3, 9).Draw(rt, "page")}
		m := newModel(t, o, zohosim.Config{VisibilityLag: lag}, config)
		defer m.org.mirror.Close()
		for i := range 8 { // two slices
			m.org.AddField("Leads", zohosim.Field{API: fmt.Sprintf("Formula_%d", i), Type: "formula", Custom: true})
		}
		for range rapid.IntRange(1, 6).Draw(rt, "ticks") {
			m.insert(rapid.IntRange(0, 4).Draw(rt, "n"))
			m.edit(rapid.IntRange(0, 1000).Draw(rt, "which"))
			if rapid.Bool().Draw(rt, "all") {
				m.editAll()
			}
			m.org.Advance(time.Duration(rapid.IntRange(0, 100).Draw(rt, "s")) * time.Second)
			m.tick(rapid.Uint64().Draw(rt, "between calls"))
		}
		m.org.Advance(2 * time.Minute)
		m.org.runAll(t, "leads")
		m.org.equal(t, "leads")
		if t.Failed() {
			rt.Fatal("the mirror differs")
		}
	})
}
