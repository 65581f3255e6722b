package postgres

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
)

// told is how these runs tell people.
var told = Alerting{On: true, StaleAfter: 90 * time.Minute}

func claimTelling(t testing.TB, s *Store, name, mode string, staleAfter time.Duration) *Run {
	t.Helper()
	run, err := s.Claim(t.Context(), Intent{Module: module(t, name), ID: uuid.New(), Mode: mode, Alerting: told}, staleAfter)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

var (
	fine   = Outcome{Reason: "complete"}
	failed = Outcome{Err: "Zoho does not answer\nand more of it", Hint: "wait", Cause: "zoho"}
)

// tick is a run of a mode that ends with the outcome.
func tick(t testing.TB, s *Store, name, mode string, outcome Outcome) *Run {
	t.Helper()
	run := claimTelling(t, s, name, mode, time.Hour)
	if err := run.Close(t.Context(), Counts{}, outcome); err != nil {
		t.Fatal(err)
	}
	return run
}

// alerts are those of the table, in their order.
func alerts(t testing.TB, s *Store) []string {
	t.Helper()
	return value[[]string](t, s, `SELECT coalesce(array_agg(format('%s %s %s %s', module, kind, count, state) ORDER BY id), '{}') FROM sync_alerts`)
}

func wantAlerts(t testing.TB, s *Store, want ...string) {
	t.Helper()
	if got := alerts(t, s); !slices.Equal(got, want) {
		t.Errorf("alerts %q, want %q", got, want)
	}
}

// hoursLater lets time pass for all that has happened so far.
func hoursLater(t testing.TB, s *Store, hours int) {
	t.Helper()
	for column, table := range map[string]string{"started_at": "sync_runs", "raised_at": "sync_alerts", "since": "sync_alerts", "not_before": "sync_alerts", "claimed_at": "sync_alerts"} {
		mustExec(t, s, fmt.Sprintf("UPDATE %s SET %s = %[2]s - interval '%d hours'", table, column, hours))
	}
}

// A module whose last two finished runs failed is told of once, again after an hour, and so
// is its recovery. Skipped runs say nothing.
func TestAlertOfAFailingModule(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	if run := tick(t, s, "leads", ModeSync, failed); run.Pending {
		t.Error("one failure is told")
	}
	wantAlerts(t, s)
	mustExec(t, s, "INSERT INTO sync_runs (id, module, status, ended_at) VALUES (gen_random_uuid(), 'leads', 'skipped', now())")
	last := tick(t, s, "leads", ModeSync, failed)
	if !last.Pending {
		t.Error("two failures in a row are not told")
	}
	tick(t, s, "leads", ModeSync, failed)
	wantAlerts(t, s, "leads failing 2 pending")
	got := value[map[string]any](t, s, "SELECT to_jsonb(a) - '{id,raised_at,since}'::text[] FROM sync_alerts a")
	want := map[string]any{"module": "leads", "kind": "failing", "run_id": last.ID.String(), "count": 2.0, "cause": "zoho", "detail": "Zoho does not answer",
		"hint": "wait", "state": "pending", "attempts": 0.0, "claimed_at": nil, "sent_at": nil, "not_before": nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	hoursLater(t, s, 1)
	tick(t, s, "leads", ModeSync, failed)
	tick(t, s, "leads", ModeSync, failed)
	if run := tick(t, s, "leads", ModeSync, fine); !run.Pending {
		t.Error("the recovery is not told")
	}
	tick(t, s, "leads", ModeSync, fine)
	tick(t, s, "leads", ModeSync, failed)
	wantAlerts(t, s, "leads failing 2 pending", "leads failing 4 pending", "leads recovered 4 pending")
	tick(t, s, "leads", ModeSync, failed)
	wantAlerts(t, s, "leads failing 2 pending", "leads failing 4 pending", "leads recovered 4 pending", "leads failing 2 pending")
}

// What an operator replays or reads again says nothing of the module's own runs.
func TestAlertsCountRunsThatReadTheStreams(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	for _, mode := range []string{ModeReplay, ModeReplay, ModeSince} {
		tick(t, s, "leads", mode, failed)
	}
	wantAlerts(t, s)
	tick(t, s, "leads", ModeSync, failed)
	tick(t, s, "leads", ModeReplay, fine)
	tick(t, s, "leads", ModeVerify, failed)
	wantAlerts(t, s, "leads failing 2 pending")
	tick(t, s, "leads", ModeReplay, fine)
	tick(t, s, "leads", ModeSince, fine)
	tick(t, s, "leads", ModeReplay, failed)
	wantAlerts(t, s, "leads failing 2 pending")
	tick(t, s, "leads", ModeRepair, fine)
	wantAlerts(t, s, "leads failing 2 pending", "leads recovered 2 pending")
}

// What nobody could be told is not told later; nor is the end of what nobody was told.
func TestAlertsWithoutAWebhook(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	quiet := func(outcome Outcome) {
		run, err := s.Claim(t.Context(), Intent{Module: module(t, "leads"), ID: uuid.New(), Mode: ModeSync}, time.Hour)
		if err == nil {
			err = run.Close(t.Context(), Counts{}, outcome)
		}
		if err != nil || run.Pending {
			t.Errorf("%v, pending %v", err, run.Pending)
		}
	}
	for _, outcome := range []Outcome{failed, failed, failed, fine, failed, failed} {
		quiet(outcome)
	}
	wantAlerts(t, s, "leads failing 2 off", "leads recovered 2 off", "leads failing 2 off")
	if claimed, err := s.ClaimAlerts(t.Context(), 10); err != nil || len(claimed) != 0 {
		t.Errorf("%v, %v", claimed, err)
	}
	tick(t, s, "leads", ModeSync, fine)
	wantAlerts(t, s, "leads failing 2 off", "leads recovered 2 off", "leads failing 2 off")
}

// claims takes what is due.
func claims(t testing.TB, s *Store, n int) (ids []int64) {
	t.Helper()
	claimed, err := s.ClaimAlerts(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range claimed {
		ids = append(ids, a.ID)
	}
	return ids
}

func settleAs(t testing.TB, s *Store, states map[int64]string, wait time.Duration) {
	t.Helper()
	if err := s.SettleAlerts(t.Context(), states, wait); err != nil {
		t.Fatal(err)
	}
}

func wantClaimed(t testing.TB, got []int64, want ...int64) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("claimed %v, want %v", got, want)
	}
}

// What Slack refuses is due again after an hour, for a week: the webhook may be replaced.
func TestRefusedAlertIsDueAgain(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	mustExec(t, s, "INSERT INTO sync_alerts (module, kind) VALUES ('leads', 'drift'), ('leads', 'quarantine')")
	wantClaimed(t, claims(t, s, 9), 1, 2)
	settleAs(t, s, map[int64]string{1: AlertRefused, 2: AlertRefused}, 0)
	mustExec(t, s, "UPDATE sync_alerts SET claimed_at = claimed_at - interval '59 minutes', not_before = not_before - interval '59 minutes'")
	if run := tick(t, s, "leads", ModeSync, fine); run.Pending {
		t.Error("a refused alert is due at each tick")
	}
	wantClaimed(t, claims(t, s, 9))
	mustExec(t, s, "INSERT INTO sync_alerts (module, kind) VALUES ('leads', 'drift')")
	wantClaimed(t, claims(t, s, 9), 3) // others do not wait
	settleAs(t, s, map[int64]string{3: AlertSent}, 0)
	hoursLater(t, s, 1)
	if run := tick(t, s, "leads", ModeSync, fine); !run.Pending {
		t.Error("a refused alert is never due again")
	}
	wantClaimed(t, claims(t, s, 9), 1, 2)
	settleAs(t, s, map[int64]string{1: AlertSent, 2: AlertRefused}, 0)
	hoursLater(t, s, 7*24+1)
	wantClaimed(t, claims(t, s, 9))
	wantAlerts(t, s, "leads drift 0 sent", "leads quarantine 0 expired", "leads drift 0 sent")
}

// A failing that Slack refused silences no other one, and its recovery is told. Of what was
// tried in vain only the last tells how the module stands: the rest is not told late.
func TestRefusedFailingIsNotTold(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	tick(t, s, "leads", ModeSync, failed)
	tick(t, s, "leads", ModeSync, failed)
	wantClaimed(t, claims(t, s, 9), 1)
	settleAs(t, s, map[int64]string{1: AlertRefused}, 0)
	if run := tick(t, s, "leads", ModeSync, failed); !run.Pending {
		t.Error("a failing that was only refused counts as told")
	}
	tick(t, s, "leads", ModeSync, failed)
	wantAlerts(t, s, "leads failing 2 refused", "leads failing 3 pending")
	wantClaimed(t, claims(t, s, 9), 2)
	settleAs(t, s, map[int64]string{2: AlertRefused}, 0)
	if run := tick(t, s, "leads", ModeSync, fine); !run.Pending {
		t.Error("the end of what Slack refused is not told")
	}
	hoursLater(t, s, 2)
	wantClaimed(t, claims(t, s, 9), 3)
	wantAlerts(t, s, "leads failing 2 expired", "leads failing 3 expired", "leads recovered 3 pending")
}

// What was tried less often goes first, so that what Slack never takes holds nothing up.
// What was claimed and not tried has not been tried.
func TestPoisonousAlertIsOvertaken(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	mustExec(t, s, "INSERT INTO sync_alerts (module, kind, count) SELECT 'leads', 'drift', i FROM generate_series(1, 3) AS i")
	wantClaimed(t, claims(t, s, 9), 1, 2, 3)
	settleAs(t, s, map[int64]string{1: AlertPending, 2: AlertUntried, 3: AlertUntried}, 0)
	wantClaimed(t, claims(t, s, 2), 2, 3)
	settleAs(t, s, map[int64]string{2: AlertRefused, 3: AlertSent}, 0)
	hoursLater(t, s, 1)
	mustExec(t, s, "INSERT INTO sync_alerts (module, kind) VALUES ('leads', 'drift')")
	wantClaimed(t, claims(t, s, 9), 4, 1, 2)
	settleAs(t, s, map[int64]string{4: AlertSent, 1: AlertPending, 2: AlertUntried}, 0)
	wantClaimed(t, claims(t, s, 9), 2, 1)
	wantAlerts(t, s, "leads drift 1 pending", "leads drift 2 refused", "leads drift 3 sent", "leads drift 0 sent")
}

// Two processes in a row that ended without a word page, at the claim that finds out.
func TestAlertOfOrphans(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	for i, pending := range []bool{false, false, true} {
		if run := claimTelling(t, s, "leads", ModeSync, time.Nanosecond); run.Pending != pending {
			t.Errorf("claim %d: pending %v", i, run.Pending)
		}
	}
	wantAlerts(t, s, "leads failing 2 pending")
	if cause := value[string](t, s, "SELECT cause FROM sync_alerts"); cause != "killed" {
		t.Errorf("cause %q", cause)
	}

	// A call that is repeated finds out too.
	id := uuid.New()
	for range 2 {
		if _, err := s.ClaimOnce(t.Context(), Intent{Module: module(t, "deals"), ID: id, Mode: ModeSync, Alerting: told}, time.Nanosecond); err != nil {
			t.Error(err)
		}
		_, _ = s.ClaimOnce(t.Context(), Intent{Module: module(t, "deals"), ID: id, Mode: ModeSync, Alerting: told}, time.Nanosecond) // it is recorded
		id = uuid.New()
	}
	wantAlerts(t, s, "leads failing 2 pending", "deals failing 2 pending")
}

// Newly quarantined rows and new drift are told once, counted, by names alone.
func TestAlertsOfQuarantineAndDrift(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	bad := func(id, amount string) string {
		return fmt.Sprintf(`{"id":"%s","Deal_Name":"payload","Created_Time":"2026-01-01T00:00:00Z","Modified_Time":"2026-01-01T00:00:00Z","Amount":%s}`, id, amount)
	}
	both := func(outcome Outcome, records ...string) {
		run := claimTelling(t, s, "deals", ModeSync, time.Hour)
		mustPage(t, run, crm.Metadata{}, records...)
		if _, err := run.Notice(t.Context(), Notice{Changes: []crm.Drift{
			{Field: "Stage", Kind: crm.PicklistValue, IsNow: "payload"}, {Field: "Stage", Kind: crm.PicklistValue, IsNow: "payload 2"}, {Field: "Shoe_Size", Kind: crm.FieldAdded, IsNow: "integer"},
		}}); err != nil {
			t.Fatal(err)
		}
		if err := run.Close(t.Context(), Counts{}, outcome); err != nil {
			t.Fatal(err)
		}
	}
	both(failed, bad("1", "0.001"), bad("2", "0.002"), `{"id":"3","Deal_Name":"fits","Created_Time":"2026-01-01T00:00:00Z","Modified_Time":"2026-01-01T00:00:00Z"}`)
	wantAlerts(t, s, "deals quarantine 2 pending", "deals drift 3 pending")
	want := []string{"Amount numeric(14,2) (2)", "Shoe_Size field added (1), Stage picklist value (2)"}
	if got := value[[]string](t, s, "SELECT array_agg(detail ORDER BY id) FROM sync_alerts"); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	both(fine, bad("1", "0.003"), bad("2", "0.002")) // known already
	wantAlerts(t, s, "deals quarantine 2 pending", "deals drift 3 pending")
	both(fine, bad("4", "0.001"))
	wantAlerts(t, s, "deals quarantine 2 pending", "deals drift 3 pending", "deals quarantine 1 pending")
}

// A module that has been silent for too long is noticed by whichever run closes, and told
// once a day; runs that read only a part do not end a silence.
func TestAlertOfSilence(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	tick(t, s, "leads", ModeSync, fine)
	tick(t, s, "deals", ModeSync, fine)
	hoursLater(t, s, 2)
	tick(t, s, "deals", ModeReplay, fine)
	if got := alerts(t, s); len(got) != 2 || !slices.Contains(got, "deals stale 0 pending") {
		t.Errorf("alerts %q", got)
	}
	mustExec(t, s, "DELETE FROM sync_alerts WHERE module = 'deals'")
	tick(t, s, "deals", ModeSync, fine)
	tick(t, s, "leads", ModeSince, fine)
	wantAlerts(t, s, "leads stale 0 pending")
	hoursLater(t, s, 23)
	tick(t, s, "deals", ModeSync, fine)
	tick(t, s, "deals", ModeSync, fine)
	wantAlerts(t, s, "leads stale 0 pending", "leads stale 1 pending")

	tick(t, s, "leads", ModeVerify, fine) // which reads the streams too
	hoursLater(t, s, 2)
	tick(t, s, "deals", ModeSync, fine)
	wantAlerts(t, s, "leads stale 0 pending", "leads stale 1 pending", "leads stale 0 pending")
}

// A failing module is told as failing, not as silent too.
func TestFailingIsNotToldAsSilence(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	tick(t, s, "leads", ModeSync, fine)
	tick(t, s, "leads", ModeSync, failed)
	tick(t, s, "leads", ModeSync, failed)
	for range 3 {
		hoursLater(t, s, 1)
		tick(t, s, "leads", ModeSync, failed)
		tick(t, s, "deals", ModeSync, fine)
	}
	wantAlerts(t, s, "leads failing 2 pending", "leads failing 3 pending", "leads failing 4 pending", "leads failing 5 pending")
	hoursLater(t, s, 3) // its scheduler has gone
	tick(t, s, "deals", ModeSync, fine)
	if got := alerts(t, s); got[len(got)-1] != "leads stale 0 pending" {
		t.Errorf("alerts %q", got)
	}
}

// Runs that end at the same moment notice one silence once.
func TestSilenceIsNoticedOnce(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	tick(t, s, "leads", ModeSync, fine)
	hoursLater(t, s, 2)
	var all sync.WaitGroup
	for i := range 4 {
		mustExec(t, s, fmt.Sprintf("INSERT INTO sync_locks (module) VALUES ('module_%d')", i))
		all.Go(func() {
			m := *module(t, "deals")
			m.Name = fmt.Sprint("module_", i)
			run, err := s.Claim(t.Context(), Intent{Module: &m, ID: uuid.New(), Mode: ModeSync, Alerting: told}, time.Hour)
			if err == nil {
				err = run.Close(t.Context(), Counts{}, fine)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	wantAlerts(t, s, "leads stale 0 pending")
}

// Claimed alerts are nobody else's for a minute; unsettled ones then come again, and what
// was settled does not.
func TestClaimedAlerts(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	claim := func(n int) []int64 { return claims(t, s, n) }
	settle := func(states map[int64]string, wait time.Duration) { t.Helper(); settleAs(t, s, states, wait) }
	want := func(got []int64, want ...int64) { t.Helper(); wantClaimed(t, got, want...) }
	mustExec(t, s, "INSERT INTO sync_alerts (module, kind, count) SELECT 'leads', 'drift', i FROM generate_series(1, 5) AS i")
	want(claim(2), 1, 2)
	want(claim(2), 3, 4)
	want(claim(2), 5)
	want(claim(2))
	settle(map[int64]string{1: AlertSent, 2: AlertRefused, 3: AlertPending}, 0)
	want(claim(9), 3)
	mustExec(t, s, "UPDATE sync_alerts SET claimed_at = claimed_at - interval '2 minutes'")
	want(claim(9), 4, 5, 3)
	settle(map[int64]string{3: AlertPending, 4: AlertSent}, time.Minute)
	mustExec(t, s, "INSERT INTO sync_alerts (module, kind) VALUES ('leads', 'drift')")
	want(claim(9)) // Slack asked for patience
	if run := tick(t, s, "leads", ModeSync, fine); run.Pending {
		t.Error("a run would ask again before it may")
	}
	mustExec(t, s, "UPDATE sync_alerts SET not_before = not_before - interval '2 minutes', claimed_at = claimed_at - interval '2 minutes'")
	if run := tick(t, s, "leads", ModeSync, fine); !run.Pending {
		t.Error("a run does not see what is due")
	}
	want(claim(9), 6, 5, 3)
	mustExec(t, s, "UPDATE sync_alerts SET raised_at = raised_at - interval '8 days', claimed_at = NULL WHERE id = 5")
	want(claim(9))
	states := value[[]string](t, s, "SELECT array_agg(state ORDER BY id) FROM sync_alerts")
	if diff := cmp.Diff([]string{"sent", "refused", "pending", "sent", "expired", "pending"}, states); diff != "" {
		t.Error(diff)
	}
	if n := value[int](t, s, "SELECT attempts FROM sync_alerts WHERE id = 3"); n != 4 {
		t.Errorf("%d attempts", n)
	}
}

// Two senders never get the same alert.
func TestAlertsAreClaimedOnce(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	mustExec(t, s, "INSERT INTO sync_alerts (module, kind) SELECT 'leads', 'drift' FROM generate_series(1, 40)")
	var mu sync.Mutex
	times := map[int64]int{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for {
				claimed, err := s.ClaimAlerts(t.Context(), 3)
				if err != nil {
					t.Error(err)
				}
				if len(claimed) == 0 {
					return
				}
				mu.Lock()
				for _, a := range claimed {
					times[a.ID]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, n := range times {
		if n != 1 {
			t.Errorf("alert %d was claimed %d times", id, n)
		}
	}
	if len(times) != 40 {
		t.Errorf("%d claimed", len(times))
	}
}

// value reads one value of the database.
func value[T any](t testing.TB, s *Store, sql string) (v T) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}
