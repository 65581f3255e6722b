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
	"zohomirror/internal/zoho"
)

type authCmd struct {
	Exchange authExchangeCmd `cmd:"" help:"Exchange a self client's grant code for a refresh token, and print the settings to keep."`
}

type authExchangeCmd struct {
	Code         string `required:"" help:"The code that the API console has made. It is good once, and for minutes."`
	DC           string `name:"dc" help:"The data centre: the ending of your CRM's address, com is us. Else ZOHO_DC."`
	ClientID     string `help:"The client's id. Else ZOHO_CLIENT_ID."`
	ClientSecret string `help:"The client's secret. Better in ZOHO_CLIENT_SECRET, where no list of processes shows it."`
	JSON         bool   `name:"json" help:"Print JSON."`
}

func (c authExchangeCmd) Run(ctx context.Context) error {
	flags := map[string]string{}
	for name, value := range map[string]string{"ZOHO_DC": c.DC, "ZOHO_CLIENT_ID": c.ClientID, "ZOHO_CLIENT_SECRET": c.ClientSecret} {
		if value != "" {
			flags[name] = value
		}
	}
	given, err := exchange(ctx, envconfig.MultiLookuper(envconfig.MapLookuper(flags), envconfig.OsLookuper()), c.Code)
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		return encoder.Encode(given)
	}
	given.warn(os.Stderr)
	return given.print(os.Stdout, "")
}

// A consent is what an exchange has brought.
type consent struct {
	Settings map[string]string `json:"settings"`
	Scopes   []string          `json:"scopes"`
	Lacking  []string          `json:"scopes_lacking"`
	Warnings []string          `json:"warnings"`
}

// settingsOrder is the order in which a consent's settings are printed.
var settingsOrder = []string{"ZOHO_DC", "ZOHO_ACCOUNTS_URL", "ZOHO_API_URL", "ZOHO_CLIENT_ID", "ZOHO_REFRESH_TOKEN"}

// print writes the settings as lines of an .env file.
func (c *consent) print(to io.Writer, indent string) error {
	for _, name := range settingsOrder {
		if value := c.Settings[name]; value != "" {
			if _, err := fmt.Fprintf(to, "%s%s=%s\n", indent, name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *consent) warn(to io.Writer) {
	for _, w := range c.Warnings {
		fmt.Fprintln(to, "warning:", w)
	}
}

// exchange gives a grant code away for a refresh token at the data centre of the settings.
func exchange(ctx context.Context, from envconfig.Lookuper, code string) (*consent, error) {
	settings, dc, err := config.LoadClient(ctx, from)
	if err != nil {
		return nil, err
	}
	settings.Zoho.UserAgent = userAgent()
	grant, err := zoho.Exchange(ctx, settings.Zoho, strings.TrimSpace(code))
	if err != nil {
		return nil, fmt.Errorf("at %s: %w", settings.Zoho.AccountsURL, err)
	}
	return consented(settings.Zoho, dc, grant), nil
}

// consented turns a grant into settings. The refresh token belongs to the accounts host that
// gave it; the API is where the answer says, if that is one of Zoho's own addresses: a
// token is sent nowhere else.
func consented(asked zoho.Config, dc string, grant *zoho.Grant) *consent {
	c := &consent{Settings: map[string]string{"ZOHO_CLIENT_ID": asked.ClientID, "ZOHO_REFRESH_TOKEN": grant.RefreshToken},
		Scopes: grant.Scopes, Lacking: grant.Lacks(), Warnings: []string{}}
	api := asked.APIURL
	if domain := grant.APIDomain; domain != "" && domain != asked.APIURL {
		lives, known := config.CentreOf(domain)
		switch {
		case !known:
			c.Warnings = append(c.Warnings, fmt.Sprintf("the answer says that the org's API is at %.80q, which is none of Zoho's known addresses; the settings keep %s", domain, asked.APIURL))
		case lives != dc:
			c.Warnings = append(c.Warnings, fmt.Sprintf("the org lives in the data centre %s, not in %s: the answer names %s, and the settings say so", lives, named(dc, asked.APIURL), domain))
			dc, api = lives, domain
		default:
			c.Warnings = append(c.Warnings, fmt.Sprintf("the code is of %s, not of %s: the settings say so", domain, asked.APIURL))
			api = domain
		}
	}
	c.Settings["ZOHO_DC"] = dc
	if !config.StandardHosts(dc, asked.AccountsURL, api) {
		c.Settings["ZOHO_ACCOUNTS_URL"], c.Settings["ZOHO_API_URL"] = asked.AccountsURL, api
	} else {
		c.Settings["ZOHO_ACCOUNTS_URL"], c.Settings["ZOHO_API_URL"] = "", ""
	}
	if len(c.Lacking) > 0 {
		c.Warnings = append(c.Warnings, "the code was created without "+strings.Join(c.Lacking, ", ")+": without modules or coql nothing can be read, without fields and users no custom fields and no full names; create a code with all of "+strings.Join(zoho.LeastScopes, ","))
	}
	return c
}

// named is a data centre's name, or the address that stands for one.
func named(dc, api string) string {
	if dc == "" {
		return api
	}
	return dc
}
