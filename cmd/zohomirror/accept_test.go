package main

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

var advised = regexp.MustCompile(`run: zohomirror ((?:sync|repair) deals(?: --[a-z-]+)+)`)

// Where too much would be marked at once, the commands stop and print the very command by
// which a person says that it is meant.
func TestAcceptedByAPerson(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var ahead atomic.Int64 // Zoho's clock, of ours
	zoho := zohosim.New(zohosim.Config{Now: func() time.Time { return began.Add(time.Duration(ahead.Load())) }})
	var ids []string
	for i := range 1500 {
		ids = append(ids, zoho.Insert("Deals", zohosim.Record{"Deal_Name": fmt.Sprint("Deal ", i)}))
	}
	settings := settingsFor(t, zoho, pgtest.Database(t))
	conn, err := pgx.Connect(t.Context(), settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	expect := func(command string, status int, says string) string {
		t.Helper()
		printed, complaints, got := output(t, settings, strings.Fields(command)...)
		if got != status || !strings.Contains(printed+complaints, says) {
			t.Errorf("%s: exit %d, want %d and %q:\n%s%s", command, got, status, says, printed, complaints)
		}
		return printed + complaints
	}
	// advice is the command that a refusal names.
	advice := func(complaints string) string {
		t.Helper()
		found := advised.FindStringSubmatch(complaints)
		if found == nil {
			t.Fatalf("no command is named:\n%s", complaints)
		}
		return found[1]
	}
	marked := func(want int) {
		t.Helper()
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT count(*) FROM deals WHERE deleted_at IS NOT NULL").Scan(&n); err != nil || n != want {
			t.Errorf("%d rows are marked, want %d: %v", n, want, err)
		}
	}
	expect("sync deals", 0, `"inserted": 1500`)
	ahead.Add(int64(5 * time.Minute))
	zoho.Delete("Deals", ids[:101]...)
	command := advice(expect("sync deals", 1, "101 of 1500 live rows of deals are listed as deleted at once"))
	marked(0)
	expect(command, 0, `"deleted": 101`)
	marked(101)

	if _, err := conn.Exec(t.Context(), "INSERT INTO deals (id, created_time, modified_time) SELECT (100 + i)::text, now(), now() FROM generate_series(1, 101) i"); err != nil {
		t.Fatal(err)
	}
	zoho.OnCall(func(c zohosim.Call) { // whatever was deleted is listed by the next list
		if strings.HasSuffix(c.Path, "/deleted") {
			ahead.Add(int64(2 * time.Minute))
		}
	})
	command = advice(expect("repair deals --accept-unlisted", 1, "101 of 1500 live rows of deals are neither shown nor listed as deleted by Zoho"))
	marked(101)
	expect(command, 0, "deals: equal to the CRM up to")
	marked(202)
}
