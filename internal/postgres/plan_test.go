package postgres

import (
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/pgembed/pgtest"
)

// many are rows of a table as an org might have them: a tenth is deleted, states and owners
// are spread evenly, edits over a year.
const many = `
INSERT INTO %[1]s (id, %[2]s, owner_id, created_time, modified_time, deleted_at, description)
SELECT (5725767000000500000 + i)::text,
       (ARRAY[%[3]s])[1 + i %% 9],
       (5725767000000411000 + i %% 40)::text,
       timestamptz '2026-01-01T00:00:00Z', timestamptz '2026-01-01T00:00:00Z' + i * interval '1 year' / 20000,
       CASE WHEN i %% 10 = 0 THEN timestamptz '2026-11-01T00:00:00Z' END,
       repeat('x', 500)
FROM generate_series(0, 19999) AS i`

// The usual questions of analysts, asked of the live views, are answered from indexes once a
// table is large: those that hold living rows alone for states and owners.
func TestLiveViewsUseTheIndexes(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.Database(t))
	mustExec(t, s, fmt.Sprintf(many, "leads", "lead_status", `'-None-', 'Attempted to Contact', 'Contact in Future', 'Contacted', 'Junk Lead', 'Lost Lead', 'Not Contacted', 'Pre-Qualified', 'Not Qualified'`))
	mustExec(t, s, fmt.Sprintf(many, "deals", "stage", `'Qualification', 'Needs Analysis', 'Value Proposition', 'Identify Decision Makers', 'Proposal/Price Quote', 'Negotiation/Review', 'Closed Won', 'Closed Lost', '-None-'`))
	mustExec(t, s, "ANALYZE leads, deals")
	// As if they had been vacuumed, which would have to wait for whoever may still see older rows.
	mustExec(t, s, "UPDATE pg_class SET relallvisible = relpages WHERE oid IN ('leads'::regclass, 'deals'::regclass)")
	for question, index := range map[string]string{
		"SELECT * FROM leads_live WHERE lead_status = 'Contacted'":                                       "leads_lead_status_idx",
		"SELECT * FROM leads_live WHERE lead_status IN ('Contacted', 'Junk Lead')":                       "leads_lead_status_idx",
		"SELECT lead_status, count(*) FROM leads_live GROUP BY 1":                                        "leads_lead_status_idx",
		"SELECT * FROM leads_live WHERE owner_id = '5725767000000411003'":                                "leads_owner_id_idx",
		"SELECT owner_id, count(*) FROM leads_live GROUP BY 1":                                           "leads_owner_id_idx",
		"SELECT * FROM leads_live WHERE modified_time >= '2026-12-01T00:00:00Z'":                         "leads_modified_time_idx",
		"SELECT * FROM leads_live ORDER BY modified_time DESC LIMIT 100":                                 "leads_modified_time_idx",
		"SELECT * FROM leads_live WHERE id = '5725767000000500001'":                                      "leads_pkey",
		"SELECT * FROM deals_live WHERE stage = 'Closed Won'":                                            "deals_stage_idx",
		"SELECT stage, count(*) FROM deals_live GROUP BY 1":                                              "deals_stage_idx",
		"SELECT * FROM deals_live WHERE owner_id = '5725767000000411003'":                                "deals_owner_id_idx",
		"SELECT owner_id, sum(amount) FROM deals_live WHERE owner_id > '5725767000000411035' GROUP BY 1": "deals_owner_id_idx",
		"SELECT * FROM deals_live WHERE modified_time >= '2026-12-01T00:00:00Z'":                         "deals_modified_time_idx",
		"SELECT * FROM deals_live ORDER BY modified_time DESC LIMIT 100":                                 "deals_modified_time_idx",
	} {
		if used := s.indexes(t, "zohomirror_reader", question); !slices.Equal(used, []string{index}) {
			t.Errorf("%s: by %v, want %s", question, used, index)
		}
	}
}

// indexes are those that the plan of a role's question uses.
func (s *Store) indexes(t testing.TB, role, question string) (names []string) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SET LOCAL ROLE "+role); err != nil {
			return err
		}
		var plan []object
		if err := tx.QueryRow(t.Context(), "EXPLAIN (FORMAT JSON) "+question).Scan(&plan); err != nil {
			return err
		}
		collectIndexes(plan[0]["Plan"].(object), &names)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func collectIndexes(node object, names *[]string) {
	if name, ok := node["Index Name"].(string); ok {
		*names = append(*names, name)
	}
	below, _ := node["Plans"].([]any)
	for _, n := range below {
		collectIndexes(n.(object), names)
	}
}
