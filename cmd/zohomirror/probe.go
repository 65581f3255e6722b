package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/zoho/probe"
)

type probeCmd struct {
	Module string `arg:"" default:"leads" help:"The module to ask about, e.g. deals. Conversions are asked of the leads."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// A probed is all that a probe prints as JSON.
type probed struct {
	Module   string          `json:"module"`
	Findings []probe.Finding `json:"findings"`
	ByHand   []probe.Manual  `json:"by_hand"`
	Error    string          `json:"error,omitempty"` // why findings are missing
}

func (c probeCmd) Run(ctx context.Context) error {
	module, ok := crm.Find(c.Module)
	if !ok {
		return fmt.Errorf("there is no module %.40q; there are %s", c.Module, strings.Join(crm.Modules(), ", "))
	}
	settings, err := config.LoadZoho(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	settings.Zoho.UserAgent = userAgent()
	var findings []probe.Finding
	failure := stderr.during("probing "+module.Name, func(func(string)) (err error) {
		findings, err = probe.Run(ctx, settings.Zoho, module.API, settings.LoggerTo(stderr, stderr.terminal))
		return err
	})
	if !c.JSON {
		printFindings(os.Stdout, findings, probe.ByHand())
		return failure
	}
	result := probed{Module: module.Name, Findings: findings, ByHand: probe.ByHand()}
	if failure != nil {
		result.Error = failure.Error()
	}
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false) // queries have < and >
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(result); err != nil && failure == nil {
		return err
	}
	return failure
}

func printFindings(w io.Writer, findings []probe.Finding, manual []probe.Manual) {
	for _, f := range findings {
		sure := "answered"
		if !f.Settled {
			sure = "open"
		}
		fmt.Fprintf(w, "%s [%s]\n", f.Question, sure)
		for _, sent := range f.Sent {
			fmt.Fprintln(w, "  sent:  ", sent)
		}
		fmt.Fprintf(w, "  answer: %s\n  means:  %s\n\n", f.Answer, f.Means)
	}
	fmt.Fprintln(w, "By hand, with test records, since these change something:")
	for _, m := range manual {
		fmt.Fprintf(w, "\n%s\n  do:     %s\n  look:   %s\n", m.Question, m.Do, m.Look)
	}
}
