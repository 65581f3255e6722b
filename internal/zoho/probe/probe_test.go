package probe

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"zohomirror/internal/zoho"
	"zohomirror/internal/zohosim"
)

// marker stands in every value of every record: no finding may show it.
const marker = "Confidential"

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// probed asks an org of these options, filled by fill, all questions: the findings by question.
func probed(t *testing.T, config zohosim.Config, fill func(*zohosim.Zoho)) map[string]Finding {
	t.Helper()
	now := noon
	config.Now = func() time.Time { return now }
	sim := zohosim.New(config)
	fill(sim)
	for range 5 {
		sim.Delete("Leads", sim.Insert("Leads", lead(0)))
		now = now.Add(time.Minute)
	}
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	source := zoho.Config{AccountsURL: server.URL, APIURL: server.URL, ClientID: zohosim.DefaultClientID,
		ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken}
	log := &strings.Builder{}
	findings, err := Run(t.Context(), source, "Leads", slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	discreet(t, sim, findings, log.String())
	byQuestion := map[string]Finding{}
	for _, f := range findings {
		if f.Question == "" || f.Answer == "" || f.Means == "" || len(f.Sent) == 0 || byQuestion[f.Question].Answer != "" {
			t.Errorf("an incomplete or double finding: %+v", f)
		}
		byQuestion[f.Question] = f
	}
	return byQuestion
}

// discreet: a probe only reads, by documented endpoints, and shows neither secrets nor values.
func discreet(t *testing.T, sim *zohosim.Zoho, findings []Finding, log string) {
	t.Helper()
	for _, call := range sim.Calls() {
		if call.Method != "GET" && call.Path != "/crm/v8/coql" && call.Path != "/oauth/v2/token" {
			t.Errorf("a call that may write: %+v", call)
		}
	}
	if refused := sim.Refused(); refused != nil {
		t.Errorf("not documented: %v", refused)
	}
	body, err := json.Marshal(findings)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{marker, zohosim.DefaultClientSecret, zohosim.DefaultRefreshToken, zohosim.DefaultClientID, "1000."} {
		if strings.Contains(string(body)+log, secret) {
			t.Errorf("the findings or the log show %q: %s %s", secret, body, log)
		}
	}
}

func lead(i int) zohosim.Record {
	return zohosim.Record{"Last_Name": fmt.Sprint(marker, i), "Description": marker, "Record_Status__s": "Available"}
}

// Each question is asked of two orgs that differ in what it is about: the answers differ,
// and say which org it was.
func TestFindingsFollowTheOrg(t *testing.T) {
	leads := func(z *zohosim.Zoho) {
		for i := range 6 {
			id := z.Insert("Leads", lead(i))
			if i < 2 {
				z.Convert(id, false)
			}
		}
	}
	wide := func(z *zohosim.Zoho) {
		leads(z)
		for i := range 620 {
			z.AddField("Leads", zohosim.Field{API: fmt.Sprint("Field_", i), Type: "text", Custom: true})
		}
	}
	unknown := func(u zohosim.Unknowns) zohosim.Config { return zohosim.Config{Unknowns: u} }
	halfUsed := func(u zohosim.Unknowns) zohosim.Config { return zohosim.Config{Credits: 30, Unknowns: u} }
	many := func(z *zohosim.Zoho) {
		leads(z)
		for range 2001 {
			z.Purge("Leads", z.Insert("Leads", lead(0)))
		}
	}
	with := func(changes zohosim.Record) func(*zohosim.Zoho) {
		return func(z *zohosim.Zoho) {
			leads(z)
			r := lead(9)
			for name, value := range changes {
				r[name] = value
			}
			z.Insert("Leads", r)
		}
	}
	for _, c := range []struct {
		question string
		config   zohosim.Config
		fill     func(*zohosim.Zoho)
		answer   string
		settled  bool
		means    string // how it begins
	}{
		{"Which API host", zohosim.Config{}, leads, "api_domain is http://127.0.0.1:*", true, "it is the configured one"},

		{"Does COQL hide converted leads", zohosim.Config{}, leads, "4 leads without a mention, 4 with Converted__s = false, 2 with true", true, "yes: converted leads need"},
		{"Does COQL hide converted leads", zohosim.Config{}, with(nil), "5 leads without a mention, 5 with Converted__s = false, 2 with true", true, "yes: "},
		{"Does COQL hide converted leads", zohosim.Config{}, func(*zohosim.Zoho) {}, "0 leads without a mention, 0 with Converted__s = false, 0 with true", false, "the org has no converted lead"},
		{"Does one COQL query", zohosim.Config{}, leads, "6 leads in one query, 4 and 2 in two", true, "yes: one stream would do"},
		{"Does one COQL query", unknown(zohosim.Unknowns{ConvertedApart: true}), leads, "4 leads in one query, 4 and 2 in two", true, "no: without a stream for each"},

		{"Do records with the status", zohosim.Config{}, with(zohosim.Record{"Record_Status__s": "Draft"}), "1 of them are shown", true, "yes: they are mirrored"},
		{"Do records with the status", unknown(zohosim.Unknowns{Drafts: zohosim.DraftsNotInCOQL}), with(zohosim.Record{"Record_Status__s": "Draft"}), "0 of them are shown", false, "no, or there are none"},

		{"Does COQL take Z ", zohosim.Config{}, leads, "yes", true, "the mirror writes +00:00"},
		{"Does COQL take Z ", unknown(zohosim.Unknowns{LiteralNoZ: true}), leads, "no: refused with INVALID_QUERY (HTTP 400)", true, "the mirror writes +00:00"},
		{"Does COQL take milliseconds", zohosim.Config{}, leads, "no: refused with INVALID_QUERY (HTTP 400)", true, "the mirror sends whole seconds"},
		{"Does COQL take milliseconds", unknown(zohosim.Unknowns{LiteralMillis: true}), leads, "yes", true, "the mirror sends whole seconds"},

		{"How many columns", zohosim.Config{}, leads, "the module has 54 such fields", false, "the module is too narrow"},
		{"How many columns", zohosim.Config{}, wide, "60: yes; 201: yes; 300: yes; 501: no: refused with LIMIT_EXCEEDED (HTTP 400); the module has 674 such fields", true, "the mirror reads"},
		{"How many columns", zohosim.Config{MaxColumns: 200}, wide, "60: yes; 201: no: refused with LIMIT_EXCEEDED (HTTP 400); 300: no: *; 501: no: *; the module has 674 such fields", true, "the mirror reads"},

		{"Does a COQL query cost", zohosim.Config{}, leads, "Zoho does not show the credits that are left", false, "it does so once half"},
		{"Does a COQL query cost", halfUsed(zohosim.Unknowns{}), leads, "3 credits for LIMIT 2000 without rows, 1 for LIMIT 200", true, "by the LIMIT"},
		{"Does a COQL query cost", halfUsed(zohosim.Unknowns{PriceByRows: true}), leads, "1 credit for LIMIT 2000 without rows", true, "by the rows"},

		{"Do multi-line texts", zohosim.Config{}, leads, "the longest Description of 4 records has 12 characters", false, "none is long enough"},
		{"Do multi-line texts", zohosim.Config{}, with(zohosim.Record{"Description": strings.Repeat("ü", 10_000)}), "the longest Description of 5 records has 10000 characters", true, "they are not cut"},
		{"Do multi-line texts", zohosim.Config{}, with(zohosim.Record{"Description": strings.Repeat("ü", 500)}), "the longest Description of 5 records has 500 characters", false, "they may be cut"},

		{"Is Change_Log_Time__s", zohosim.Config{}, leads, "of 0 records it is earlier in 0, equal in 0, later in 0", false, "no record has it"},
		{"Is Change_Log_Time__s", zohosim.Config{}, with(zohosim.Record{"Change_Log_Time__s": noon.Add(time.Hour)}), "of 1 records it is earlier in 0, equal in 0, later in 1", false, "where it is later"},

		{"In which order", zohosim.Config{}, leads, "5 entries on the first page, 5 of them in the bin; the bin first, *", true, "as in Zoho's sample"},
		{"In which order", unknown(zohosim.Unknowns{DeletedOrder: zohosim.OrderAny}), leads, "5 entries on the first page, 5 of them in the bin; in another order *", true, "the mirror reads all pages"},
		{"In which order", unknown(zohosim.Unknowns{DeletedOrder: zohosim.OrderShifting}), leads, "5 entries *; asked twice, the page differed", true, "pages shift"},

		{"Is If-Modified-Since", zohosim.Config{}, leads, "yes: an entry of that very second (2026-11-23T12:04:00+00:00) is listed", true, "the window's overlap is not needed"},
		{"Is If-Modified-Since", unknown(zohosim.Unknowns{SinceExclusive: true}), leads, "no: an entry of that very second (2026-11-23T12:04:00+00:00) is left out", true, "the window must overlap"},

		{"What does the deleted list answer", zohosim.Config{}, leads, "HTTP 304", true, "200, 204 and 304 are one"},
		{"What does the deleted list answer", unknown(zohosim.Unknowns{DeletedEmpty: 200}), leads, "HTTP 200", true, "200, 204 and 304 are one"},
		{"What does the deleted list answer", unknown(zohosim.Unknowns{DeletedEmpty: 204}), leads, "HTTP 204", true, "200, 204 and 304 are one"},

		{"Does the deleted list end", zohosim.Config{}, leads, "page 11 is empty (HTTP 204) and not refused", false, "probably not"},
		{"Does the deleted list end", zohosim.Config{}, many, "no: page 11 has entries", true, "lists of any length"},
		{"Does the deleted list end", unknown(zohosim.Unknowns{DeletedWall: 2000}), leads, "yes: page 11 is refused with DISCRETE_PAGINATION_LIMIT_EXCEEDED (HTTP 400)", true, "after a deletion of more than 2000"},
	} {
		t.Run(c.question+" "+c.answer, func(t *testing.T) {
			t.Parallel()
			findings := probed(t, c.config, c.fill)
			for question, f := range findings {
				if !strings.HasPrefix(question, c.question) {
					continue
				}
				if !like(f.Answer, c.answer) || f.Settled != c.settled || !strings.HasPrefix(f.Means, c.means) {
					t.Errorf("got  %q, %v, %q\nwant %q, %v, %q", f.Answer, f.Settled, f.Means, c.answer, c.settled, c.means)
				}
				return
			}
			t.Errorf("not asked: %v", findings)
		})
	}
}

// like reports whether text is as pattern says; * stands for anything.
func like(text, pattern string) bool {
	for i, part := range strings.Split(pattern, "*") {
		at := strings.Index(text, part)
		if at < 0 || i == 0 && at > 0 {
			return false
		}
		text = text[at+len(part):]
	}
	return text == "" || strings.HasSuffix(pattern, "*")
}

// What the user may not ask is a finding too; what ends all asking is an error, with what
// was found before it.
func TestRefusals(t *testing.T) {
	t.Parallel()
	found := probed(t, zohosim.Config{Scopes: []string{"ZohoCRM.coql.READ", "ZohoCRM.modules.deals.READ"}}, func(*zohosim.Zoho) {})
	for question, f := range found {
		if f.Settled && !strings.HasPrefix(question, "Which API host") && !strings.HasPrefix(question, "Does COQL take milliseconds") {
			t.Errorf("%+v", f)
		}
	}
	if f := found["What does the deleted list say?"]; f.Answer != "refused with OAUTH_SCOPE_MISMATCH (HTTP 401)" {
		t.Errorf("%+v", f)
	}

	sim := zohosim.New(zohosim.Config{})
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	sim.Plan(9, func(c zohosim.Call) bool { return strings.Contains(c.Query, "Draft") },
		zohosim.Fault{Status: 401, Body: `{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`})
	source := zoho.Config{AccountsURL: server.URL, APIURL: server.URL, ClientID: zohosim.DefaultClientID,
		ClientSecret: zohosim.DefaultClientSecret, RefreshToken: zohosim.DefaultRefreshToken}
	findings, err := Run(t.Context(), source, "Leads", slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "INVALID_TOKEN") || len(findings) != 3 {
		t.Errorf("%v, %+v", err, findings)
	}
}

// Each manual question says what to do and where to look, and is not asked twice.
func TestByHand(t *testing.T) {
	t.Parallel()
	var questions []string
	for _, m := range ByHand() {
		if m.Question == "" || m.Do == "" || m.Look == "" {
			t.Errorf("%+v", m)
		}
		questions = append(questions, m.Question)
	}
	if diff := cmp.Diff(len(questions), len(slices.Compact(slices.Sorted(slices.Values(questions))))); diff != "" || len(questions) < 10 {
		t.Errorf("%v", questions)
	}
}
