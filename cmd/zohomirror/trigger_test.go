package main

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// A run that a person began at the command line says so in the history.
func TestCommandsAreTriggeredByHand(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	zoho.Insert("Deals", zohosim.Record{"Deal_Name": "D", "Stage": "Nowhere"}) // for a replay to have work
	settings := settingsFor(t, zoho, pgtest.Database(t))
	for _, arguments := range []string{"sync deals", "verify deals", "repair deals", "quarantine replay --module deals"} {
		output(t, settings, strings.Fields(arguments)...)
	}
	conn, err := pgx.Connect(t.Context(), settings["DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var modes, triggers string
	const asked = "SELECT string_agg(DISTINCT mode, ' ' ORDER BY mode), string_agg(DISTINCT trigger, ' ') FROM sync_runs"
	if err := conn.QueryRow(t.Context(), asked).Scan(&modes, &triggers); err != nil || modes != "repair replay sync verify" || triggers != "cli" {
		t.Errorf("modes %q, triggers %q, %v", modes, triggers, err)
	}
}
