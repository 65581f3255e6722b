package mirror_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zohosim"
)

// member is the org's database for a login role in zohomirror_service, which owns nothing at all.
func (o *org) member(t testing.TB) string {
	t.Helper()
	u, err := url.Parse(o.database)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/") + "_member"
	u.User = url.UserPassword(name, "password")
	execute(t, o, fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'password' IN ROLE zohomirror_service", name))
	address := o.database
	t.Cleanup(func() { // the test's own context and pool have ended
		ctx := context.Background()
		conn, err := pgx.Connect(ctx, address)
		if err == nil {
			_, err = conn.Exec(ctx, "DROP ROLE "+name)
			_ = conn.Close(ctx)
		}
		if err != nil {
			t.Error(err)
		}
	})
	return u.String()
}

// A member of zohomirror_service, who owns nothing, can do all that runs do: loads, deletions
// and restores, drift and fills, the quarantine, verification and repair, and that without
// next month's partition, which such a role cannot make.
func TestServiceRoleCanDoAllThatARunDoes(t *testing.T) {
	t.Parallel()
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	for _, name := range value[[]string](t, o, "SELECT array_agg(relname::text) FROM pg_class WHERE relname ~ '^sync_runs_2' AND relkind = 'r'") {
		execute(t, o, "DROP TABLE "+name)
	}
	address := o.member(t)
	o.mirror = o.process(t, address)
	ids := seed(o, 20)
	o.Convert(ids[19], false)
	bad := o.Insert("Leads", zohosim.Record{"Last_Name": "L", "Lead_Status": "Podcast"})
	leads, _ := crm.Find("leads")
	o.run(t, "leads")
	o.InsertMany("Deals", 30, deal)
	o.run(t, "deals")
	if n := value[int](t, o, "SELECT count(*) FROM sync_runs_default"); n != 2 {
		t.Errorf("%d runs in the default partition", n)
	}

	o.Advance(5 * time.Minute)
	o.Delete("Leads", ids[0], ids[1])
	o.Purge("Leads", ids[2])
	if got := o.run(t, "leads"); got.Counts.Deleted != 3 {
		t.Errorf("deletions: %+v", got.Counts)
	}
	o.Restore("Leads", ids[0], false)
	o.nextRound(t)
	if got := o.run(t, "leads"); got.Counts.Restored != 1 {
		t.Errorf("restore: %+v", got.Counts)
	}

	o.AddField("Leads", zohosim.Field{API: "Shoe_Size", Type: "integer", Custom: true})
	o.UpdateQuietly("Leads", ids[5], zohosim.Record{"Shoe_Size": json.Number("43")})
	o.renew(t)
	for range 3 {
		o.run(t, "leads")
	}
	o.same(t, "drift", []string{"Lead_Status picklist_value Podcast", "Shoe_Size field_added integer"}, o.drift(t))
	o.equal(t, "leads", bad)

	if did := o.replay(t, "leads").Replay; len(did.StillBad) != 1 {
		t.Errorf("%+v", did)
	}
	execute(t, o, allowPodcast)
	if did := o.replay(t, "leads").Replay; len(did.Settled) != 1 {
		t.Errorf("%+v", did)
	}

	execute(t, o, "DELETE FROM leads WHERE id = ANY ($1)", []string{ids[6], ids[19]})
	execute(t, o, "UPDATE leads SET company = 'Other' WHERE id = $1", ids[7])
	execute(t, o, "UPDATE leads SET deleted_at = NULL WHERE id = $1", ids[1])
	execute(t, o, "INSERT INTO leads (id, created_time, modified_time) VALUES ('17', $1, $1)", noon)
	o.Advance(time.Hour)
	want := map[string]any{"verdict": "different", "checked": int64(19), "missing": int64(2), "different": int64(1), "wrongly_live": int64(1), "unlisted": int64(1)}
	if diff := cmp.Diff(want, told(o.verify(t, mirror.Request{Module: leads, Mode: mirror.ModeVerify, Deep: true}))); diff != "" {
		t.Errorf("verify (-want +got):\n%s", diff)
	}
	want = map[string]any{"verdict": "equal", "checked": int64(19), "repaired": int64(5)}
	if diff := cmp.Diff(want, told(o.verify(t, mirror.Request{Module: leads, Mode: mirror.ModeRepair, Deep: true, AcceptUnlisted: true}))); diff != "" {
		t.Errorf("repair (-want +got):\n%s", diff)
	}
	if result, err := o.mirror.Run(t.Context(), mirror.Request{Module: leads, Since: noon}); err != nil || result.Status != mirror.StatusOK {
		t.Errorf("since: %v, %+v", err, result)
	}
	o.equal(t, "leads")
	o.equal(t, "deals")
	if owned := value[int](t, o, "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE r.rolname LIKE current_database() || '%'"); owned != 0 {
		t.Errorf("the service owns %d tables", owned)
	}
}
