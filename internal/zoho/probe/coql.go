package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"zohomirror/internal/zoho"
)

// conversions: does COQL hide converted leads, and can one query show both states?
func (p *prober) conversions(ctx context.Context) error {
	var counts [4]int64
	for i, where := range []string{"id is not null", "Converted__s = false", "Converted__s = true", "(Converted__s = true or Converted__s = false)"} {
		n, refused, err := p.count(ctx, "Leads", where)
		if err != nil {
			return err
		}
		if refused != nil {
			p.found(Finding{Question: "Does COQL hide converted leads?", Answer: "a count is " + said(refused), Means: "nothing could be found out"})
			return nil
		}
		counts[i] = n
	}
	plain, open, converted, both := counts[0], counts[1], counts[2], counts[3]
	sent := p.sent
	hides := Finding{Question: "Does COQL hide converted leads from a query that does not mention Converted__s?", Settled: converted > 0,
		Answer: fmt.Sprintf("%d leads without a mention, %d with Converted__s = false, %d with true", plain, open, converted)}
	switch {
	case converted == 0:
		hides.Means = "the org has no converted lead that this user may see: ask again when it has"
	case plain == open:
		hides.Means = "yes: converted leads need the streams of their own that the mirror has (promise 1)"
	case plain == open+converted:
		hides.Means = "no: the mirror reads converted leads twice, which costs calls and changes nothing"
	default:
		hides.Settled, hides.Means = false, "the leads changed while they were counted: ask again"
	}
	p.found(hides)

	p.sent = sent
	one := Finding{Question: "Does one COQL query return converted and unconverted leads?", Settled: converted > 0 && open > 0,
		Answer: fmt.Sprintf("%d leads in one query, %d and %d in two", both, open, converted)}
	switch {
	case !one.Settled:
		one.Means = "the org has not both kinds of leads: ask again when it has"
	case both == open+converted:
		one.Means = "yes: one stream would do; the mirror's two miss nothing either"
	case both == open, both == converted:
		one.Means = "no: without a stream for each state the mirror would miss leads (promise 1)"
	default:
		one.Settled, one.Means = false, "the leads changed while they were counted: ask again"
	}
	p.found(one)
	return nil
}

// drafts: does COQL show what is not published?
func (p *prober) drafts(ctx context.Context) error {
	n, refused, err := p.count(ctx, p.module, "Record_Status__s in ('Draft', 'Trash')")
	if err != nil {
		return err
	}
	f := Finding{Question: "Do records with the status Draft or Trash appear in COQL?", Answer: fmt.Sprintf("%d of them are shown", n), Settled: n > 0}
	switch {
	case refused != nil:
		f.Answer, f.Means = said(refused), "this org does not let one ask for Record_Status__s"
	case n > 0:
		f.Means = "yes: they are mirrored, and reports should leave them out by record_status"
	default:
		f.Means = "no, or there are none: if the module uses drafts, a published one may come with an old Modified_Time, which a sweep by id (verify) finds and a delta does not"
	}
	p.found(f)
	return nil
}

// literals: which forms of an instant does a query take?
func (p *prober) literals(ctx context.Context) error {
	for _, form := range []struct{ name, text, means string }{
		{"Z", "2000-01-01T00:00:00Z", "the mirror writes +00:00 and does not depend on it"},
		{"milliseconds", "2000-01-01T00:00:00.000+00:00", "the mirror sends whole seconds and does not depend on it"},
	} {
		reply, err := p.coql(ctx, "select id from %s where Modified_Time >= '%s' limit 1", p.module, form.text)
		if err != nil {
			return err
		}
		p.found(Finding{Question: "Does COQL take " + form.name + " in a datetime?", Answer: taken(reply), Means: form.means,
			Settled: slices.Contains([]string{"", "INVALID_QUERY", "SYNTAX_ERROR", "INVALID_DATA"}, reply.Code)}) // others are not about the form
	}
	return nil
}

func taken(reply *zoho.Reply) string {
	if reply.Code == "" {
		return "yes"
	}
	return "no: " + said(reply)
}

// selectable are the types of which any number may stand in a SELECT; formulas may not.
var selectable = []string{"text", "textarea", "email", "phone", "website", "picklist", "multiselectpicklist", "boolean", "integer", "double",
	"currency", "percent", "date", "datetime", "lookup", "ownerlookup"}

// columns: how many columns may a SELECT name? Sources say 50, 200 and 500.
func (p *prober) columns(ctx context.Context) error {
	p.sent = append(p.sent, "GET /crm/v8/settings/fields?module="+p.module+"&type=all")
	fields, err := p.client.Fields(ctx, p.module)
	if err != nil && !zoho.IsScope(err) && !zoho.NoPermission(err) {
		return err
	}
	var names []string
	for _, f := range fields {
		if slices.Contains(selectable, f.DataType) {
			names = append(names, f.APIName)
		}
	}
	f := Finding{Question: "How many columns may a SELECT name?", Settled: len(names) > 60}
	var answers []string
	for _, n := range []int{60, 201, 300, 501} {
		if n > len(names) {
			break
		}
		reply, err := p.client.Ask(ctx, zoho.Question{COQL: fmt.Sprintf("select %s from %s where id is not null limit 1", strings.Join(names[:n], ", "), p.module)})
		if err != nil {
			return err
		}
		p.sent = append(p.sent, fmt.Sprintf("select (%d columns) from %s where id is not null limit 1", n, p.module))
		answers = append(answers, fmt.Sprintf("%d: %s", n, taken(reply)))
		f.Settled = f.Settled && (reply.Code == "" || reply.Code == "LIMIT_EXCEEDED")
	}
	f.Answer = strings.Join(append(answers, fmt.Sprintf("the module has %d such fields", len(names))), "; ")
	f.Means = "the mirror reads a module in slices where a SELECT is refused as too wide"
	if len(answers) == 0 {
		f.Means = "the module is too narrow for the limit to matter"
	}
	p.found(f)
	return nil
}

// price: does a query cost by its LIMIT or by what it finds?
func (p *prober) price(ctx context.Context) error {
	nobody := fmt.Sprintf("select id from %s where Modified_Time < '1990-01-01T00:00:00+00:00' limit ", p.module)
	var left [3]int
	shown := true
	for i, limit := range []string{"200", "2000", "200"} {
		reply, err := p.coql(ctx, "%s", nobody+limit)
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(reply.Header.Get("X-API-CREDITS-REMAINING"))
		left[i], shown = n, shown && err == nil
	}
	big, small := left[0]-left[1], left[1]-left[2]
	f := Finding{Question: "Does a COQL query cost by its LIMIT or by the rows it finds?", Settled: shown && small == 1 && (big == 1 || big == 3)}
	switch {
	case !shown:
		f.Answer = "Zoho does not show the credits that are left"
		f.Means = "it does so once half of the day's credits are used; else compare the usage page before and after"
	case !f.Settled:
		f.Answer = fmt.Sprintf("%d credits for LIMIT 2000, %d for LIMIT 200, both without rows", big, small)
		f.Means = "another program used credits meanwhile: ask again"
	case big == 3:
		f.Answer = "3 credits for LIMIT 2000 without rows, 1 for LIMIT 200"
		f.Means = "by the LIMIT: the mirror asks for 200 first, so that an idle tick costs least"
	default:
		f.Answer = "1 credit for LIMIT 2000 without rows"
		f.Means = "by the rows: the mirror's small first page saves nothing, and costs nothing"
	}
	p.found(f)
	return nil
}

// longText: are long texts cut?
func (p *prober) longText(ctx context.Context) error {
	reply, err := p.coql(ctx, "select Description from %s where id is not null order by id desc limit 200", p.module)
	if err != nil {
		return err
	}
	var answer struct {
		Data []struct {
			Text string `json:"Description"`
		} `json:"data"`
	}
	longest := 0
	if reply.Code == "" && reply.Body != nil && json.Unmarshal(reply.Body, &answer) != nil {
		return fmt.Errorf("an answer of an unexpected form to: %s", p.sent[0])
	}
	for _, row := range answer.Data {
		longest = max(longest, utf8.RuneCountInString(row.Text))
	}
	const cut = 500 // of rich text in Get Records
	f := Finding{Question: "Do multi-line texts come whole from COQL?", Settled: longest > cut,
		Answer: fmt.Sprintf("the longest Description of %d records has %d characters", len(answer.Data), longest)}
	switch {
	case reply.Code != "":
		f.Answer, f.Means = said(reply), "nothing could be found out"
	case longest > cut:
		f.Means = "they are not cut at 500 characters, as rich text is in Get Records"
	case longest == cut:
		f.Means = "they may be cut: compare one such record with Zoho's own page"
	default:
		f.Means = "none is long enough to tell: give a record a text of 10,000 characters and ask again"
	}
	p.found(f)
	return nil
}

// changeLog: is Change_Log_Time__s another clock than Modified_Time?
func (p *prober) changeLog(ctx context.Context) error {
	reply, err := p.coql(ctx, "select Modified_Time, Change_Log_Time__s from %s where Change_Log_Time__s is not null order by id desc limit 200", p.module)
	if err != nil {
		return err
	}
	var answer struct {
		Data []struct {
			Modified time.Time `json:"Modified_Time"`
			Changed  time.Time `json:"Change_Log_Time__s"`
		} `json:"data"`
	}
	if reply.Code == "" && reply.Body != nil && json.Unmarshal(reply.Body, &answer) != nil {
		return fmt.Errorf("an answer of an unexpected form to: %s", p.sent[0])
	}
	var counts [3]int
	for _, row := range answer.Data {
		counts[row.Changed.Compare(row.Modified)+1]++
	}
	f := Finding{Question: "Is Change_Log_Time__s another clock than Modified_Time?",
		Answer: fmt.Sprintf("of %d records it is earlier in %d, equal in %d, later in %d", len(answer.Data), counts[0], counts[1], counts[2]),
		Means:  "where it is later, something changed that left Modified_Time alone; see by hand what that was"}
	switch {
	case reply.Code != "":
		f.Answer, f.Means = said(reply), "this org does not have the field"
	case len(answer.Data) == 0:
		f.Means = "no record has it"
	}
	p.found(f)
	return nil
}
