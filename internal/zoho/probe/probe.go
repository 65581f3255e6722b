// Package probe asks a real Zoho what its documentation leaves open and a mirror's promises
// lean on. It only reads, by documented endpoints, and reports counts, times and yes or no:
// never a record's values.
package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"zohomirror/internal/zoho"
)

// A Finding is one question with the org's answer.
type Finding struct {
	Question string   `json:"question"`
	Sent     []string `json:"sent"`
	Answer   string   `json:"answer"`
	Means    string   `json:"means"`
	Settled  bool     `json:"settled"` // the answer is certain, for this org on this day
}

// Run asks all questions about a module, by its API name. What was found before an error
// is returned with it.
func Run(ctx context.Context, config zoho.Config, module string, log *slog.Logger) ([]Finding, error) {
	p := &prober{client: zoho.New(config, &zoho.OwnToken{}, log), module: module, config: config, findings: []Finding{}}
	defer p.client.Close()
	for _, probe := range []func(context.Context) error{
		p.host, p.conversions, p.drafts, p.literals, p.columns, p.longText, p.changeLog, p.deletedList, p.price,
	} {
		if err := probe(ctx); err != nil {
			return p.findings, err
		}
	}
	return p.findings, nil
}

// A prober asks one question after another.
type prober struct {
	client   *zoho.Client
	config   zoho.Config
	module   string
	findings []Finding
	sent     []string // for the next finding
}

// ask sends a question and notes it for the next finding.
func (p *prober) ask(ctx context.Context, q zoho.Question) (*zoho.Reply, error) {
	p.sent = append(p.sent, q.String())
	return p.client.Ask(ctx, q)
}

func (p *prober) coql(ctx context.Context, format string, args ...any) (*zoho.Reply, error) {
	return p.ask(ctx, zoho.Question{COQL: fmt.Sprintf(format, args...)})
}

// found reports what has come out of the questions that were sent since the last finding.
func (p *prober) found(f Finding) {
	f.Sent, p.sent = p.sent, nil
	p.findings = append(p.findings, f)
}

// said is a reply in a word or two.
func said(r *zoho.Reply) string {
	if r.Code != "" {
		return fmt.Sprintf("refused with %s (HTTP %d)", r.Code, r.Status)
	}
	return fmt.Sprintf("HTTP %d", r.Status)
}

// count asks how many records meet a criterion.
func (p *prober) count(ctx context.Context, module, where string) (n int64, refused *zoho.Reply, _ error) {
	reply, err := p.coql(ctx, "select COUNT(id) as n from %s where %s", module, where)
	if err != nil {
		return 0, nil, err
	}
	var answer struct {
		Data []struct {
			N *int64 `json:"n"`
		} `json:"data"`
	}
	if reply.Status == http.StatusNoContent {
		return 0, nil, nil
	}
	if reply.Code != "" || json.Unmarshal(reply.Body, &answer) != nil || len(answer.Data) != 1 || answer.Data[0].N == nil {
		return 0, reply, nil
	}
	return *answer.Data[0].N, nil, nil
}

// host: where does the org say that its API lives? The hosts of some data centres are
// known from third parties only.
func (p *prober) host(ctx context.Context) error {
	p.sent = append(p.sent, "POST /oauth/v2/token")
	if _, err := p.ask(ctx, zoho.Question{Path: "/crm/v8/org"}); err != nil {
		return err
	}
	domain := p.client.APIDomain()
	f := Finding{Question: "Which API host does the token's answer name?", Answer: "api_domain is " + domain, Settled: domain != ""}
	switch domain {
	case "":
		f.Answer, f.Means = "none is named", "nothing: the configured host answers"
	case p.config.APIURL:
		f.Means = "it is the configured one: nothing is to be done"
	default:
		f.Means = "it is not the configured " + p.config.APIURL + ", to which tokens are sent: check ZOHO_DC and ZOHO_API_URL"
	}
	p.found(f)
	return nil
}

// seconds is a time as Zoho takes it, and as a person reads it.
func seconds(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05-07:00") }
