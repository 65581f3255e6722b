package mirror_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"zohomirror/internal/zohosim"
)

// Opportunities that nobody here wrote go through the simulated CRM into PostgreSQL; counts
// and sums by stage, owner and account are held against the same taken from the files.
func TestRealData(t *testing.T) {
	folder := os.Getenv("REAL_DATA_DIR")
	if folder == "" {
		folder = "../../../shared/data/crm-sales-opportunities"
	}
	if _, err := os.Stat(folder); err != nil {
		t.Logf("no real data to mirror: %v", err)
		return
	}
	opportunities := readCSV(t, filepath.Join(folder, "sales_pipeline.csv"))
	accounts := readCSV(t, filepath.Join(folder, "accounts.csv"))
	o := newOrg(t, zohosim.Config{}, defaultConfig)

	companies := map[string]zohosim.Ref{}
	for i, row := range accounts {
		ref := zohosim.Ref{ID: fmt.Sprintf("57257670000009%05d", i), Name: row["account"]}
		companies[row["account"]] = ref
		o.Insert("Accounts", zohosim.Record{"id": ref.ID, "Account_Name": ref.Name, "Annual_Revenue": json.Number(row["revenue"] + "e6")})
	}
	agents := map[string]zohosim.Ref{}
	stages := map[string]string{"Won": "Closed Won", "Lost": "Closed Lost", "Engaging": "Needs Analysis", "Prospecting": "Qualification"}
	want := map[string]figure{}
	for _, row := range opportunities {
		agent, known := agents[row["sales_agent"]]
		if !known {
			agent = zohosim.Ref{ID: fmt.Sprintf("57257670000004%05d", len(agents))}
			agents[row["sales_agent"]] = agent
			o.AddUser(zohosim.User{ID: agent.ID, FirstName: row["sales_agent"], Status: "active"})
		}
		deal := zohosim.Record{"Deal_Name": row["opportunity_id"], "Stage": stages[row["deal_stage"]], "Owner": agent}
		if company, ok := companies[row["account"]]; ok {
			deal["Account_Name"] = company
		} else if row["account"] != "" {
			t.Fatalf("an account that is not listed: %s", row["account"])
		}
		if row["close_value"] != "" {
			deal["Amount"] = json.Number(row["close_value"])
		}
		if row["close_date"] != "" {
			closed, err := time.Parse("02-01-06", row["close_date"])
			if err != nil {
				t.Fatal(err)
			}
			deal["Closing_Date"] = closed.Format(time.DateOnly)
		}
		o.Insert("Deals", deal)
		for _, key := range []string{"stage " + stages[row["deal_stage"]], "owner " + row["sales_agent"], "account " + row["account"], "all"} {
			want[key] = want[key].plus(row)
		}
	}
	o.runAll(t, "deals")

	rows, err := o.db.Query(t.Context(), `
		SELECT CASE WHEN grouping(stage) = 0 THEN 'stage ' || stage WHEN grouping(owner_name) = 0 THEN 'owner ' || trim(owner_name)
			WHEN grouping(account_name) = 0 THEN 'account ' || coalesce(account_name, '') ELSE 'all' END,
			count(*), coalesce(sum(amount), 0)::bigint, count(amount), count(closing_date)
		FROM deals GROUP BY GROUPING SETS ((stage), (owner_name), (account_name), ())`)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]figure{}
	var key string
	var f figure
	if _, err := pgx.ForEachRow(rows, []any{&key, &f.Count, &f.Sum, &f.Valued, &f.Closed}, func() error { got[key] = f; return nil }); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-files +mirror):\n%s", diff)
	}
	o.equal(t, "deals")
	t.Logf("%d opportunities mirrored; %d figures by stage, owner and account are equal; %+v", len(opportunities), len(want), got["all"])
}

// figure is what is counted of a group of opportunities.
type figure struct{ Count, Sum, Valued, Closed int64 }

func (f figure) plus(row map[string]string) figure {
	var value int64
	if row["close_value"] != "" {
		fmt.Sscan(row["close_value"], &value) // whole numbers, as the sums' equality shows
		f.Valued++
	}
	if row["close_date"] != "" {
		f.Closed++
	}
	f.Count++
	f.Sum += value
	return f
}

func readCSV(t *testing.T, path string) []map[string]string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, line := range lines[1:] {
		row := map[string]string{}
		for i, name := range lines[0] {
			row[name] = line[i]
		}
		rows = append(rows, row)
	}
	return rows
}
