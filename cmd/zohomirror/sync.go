package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
)

type syncCmd struct {
	Module           string `arg:"" help:"The module, e.g. leads."`
	AcceptMassDelete bool   `help:"Mark as deleted what Zoho lists, however many rows that are."`
}

func (c syncCmd) Run(ctx context.Context) error {
	module, ok := crm.Find(c.Module)
	if !ok {
		return fmt.Errorf("there is no module %.40q; there are %s", c.Module, strings.Join(crm.Modules(), ", "))
	}
	settings, err := config.Load(ctx, envconfig.OsLookuper())
	if err != nil {
		return err
	}
	settings.Zoho.UserAgent = userAgent()
	m, err := mirror.Open(ctx, settings.Mirror, settings.Zoho, settings.DatabaseURL, settings.Logger(os.Stderr))
	if err != nil {
		return err
	}
	defer m.Close()
	defer context.AfterFunc(ctx, m.Stop)() // Ctrl-C ends the run at its next page

	result, err := m.Run(context.WithoutCancel(ctx), mirror.Request{Module: module, AcceptMassDelete: c.AcceptMassDelete})
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetIndent("", "  ")
	if printed := encoder.Encode(result); printed != nil && err == nil {
		err = printed
	}
	return err
}
