package mirror_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// Pain 21: everything works through a pooler that gives each transaction another connection:
// migrations side by side, runs, tokens, quarantine.
func TestPain21Pooler(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	pooled := pgtest.Pooler(t, pgtest.Empty(t))
	var migrations sync.WaitGroup
	for range 3 {
		migrations.Go(func() {
			store, err := postgres.Open(t.Context(), pooled, quiet)
			if err != nil {
				t.Error(err)
				return
			}
			defer store.Close()
			if err := store.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	migrations.Wait()

	o.database, o.service = pooled, ""
	o.mirror = o.process(t, pooled)
	o.connect(t)
	o.InsertMany("Leads", 3000, lead)
	bad := o.Insert("Leads", zohosim.Record{"Last_Name": "no such status", "Lead_Status": "Podcast"})
	o.runAll(t, "leads")
	o.equal(t, "leads", bad)

	module, _ := crm.Find("leads")
	change, needed, err := o.mirror.SchemaChange(t.Context(), module)
	if err != nil || !needed {
		t.Fatalf("%v, needed %v", err, needed)
	}
	change.Widths["annual_revenue"] = crm.Width{Precision: 15, Scale: 3}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "20261124153000_org.sql"), []byte(postgres.Migration("", []postgres.Change{change})), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := o.mirror.MigrateOrg(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	o.Advance(time.Minute)
	o.Update("Leads", bad, zohosim.Record{"Company": "Zylker"})
	o.runAll(t, "leads")
	o.equal(t, "leads")
	o.Advance(time.Hour)
	o.MassUpdate("Leads", nil, zohosim.Record{"Company": "Zylker", "Lead_Status": "Contacted"})
	for range 3 {
		o.mirror = o.process(t, pooled)
		o.runAll(t, "leads")
	}
	o.equal(t, "leads")

	// Runs by their id, from an earlier point, and of the quarantine.
	o.Insert("Leads", zohosim.Record{"Last_Name": "no such status either", "Lead_Status": "Fax"})
	id := uuid.New()
	for range 2 {
		if result, err := o.process(t, pooled).Run(t.Context(), request("leads", id)); err != nil || result.RunID != id || result.Counts.Quarantined != 1 {
			t.Errorf("%v, %+v", err, result)
		}
	}
	execute(t, o, strings.ReplaceAll(allowPodcast, "Podcast", "Fax"))
	if did := o.replay(t, "leads").Replay; len(did.Settled) != 1 {
		t.Errorf("%+v", did)
	}
	since := request("leads", uuid.Nil)
	since.Since = noon.Add(-time.Hour)
	if result, err := o.mirror.Run(t.Context(), since); err != nil || result.Counts.Unchanged != 3002 {
		t.Errorf("%v, %+v", err, result)
	}
	o.equal(t, "leads")
}
