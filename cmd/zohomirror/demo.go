package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sethvargo/go-envconfig"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed"
	"zohomirror/internal/postgres"
	"zohomirror/internal/web"
	"zohomirror/internal/zohosim"
)

type demoCmd struct {
	ZohoOnly bool          `help:"Run the simulated Zoho alone, for other programs' tests."`
	Leads    int           `default:"5000" help:"Leads of the simulated org."`
	Deals    int           `default:"3000" help:"Deals of the simulated org."`
	Tick     time.Duration `default:"15s" help:"Pause between the scheduler's calls."`
	Edits    time.Duration `default:"700ms" help:"Pause between the simulated team's edits."`
}

// Validate implements kong's check of the flags.
func (c demoCmd) Validate() error {
	if c.Leads < 100 || c.Deals < 100 || c.Tick <= 0 || c.Edits <= 0 {
		return errors.New("a demo takes at least 100 leads and 100 deals, and pauses above zero")
	}
	return nil
}

const demoSeed = 7

// demo is what runs while a demo runs.
type demo struct {
	demoCmd
	settings *config.Config
	listener net.Listener // of the server
	zoho     *zohosim.Zoho
	work     sync.WaitGroup
}

func (c demoCmd) Run(ctx context.Context) error {
	d := &demo{demoCmd: c, zoho: zohosim.New(zohosim.Config{Latency: 40 * time.Millisecond})}
	if c.ZohoOnly {
		return d.zohoAlone(ctx)
	}
	return d.run(ctx)
}

// zohoAlone answers as Zoho on PORT until ctx ends.
func (d *demo) zohoAlone(ctx context.Context) error {
	settings, err := d.load(ctx, "postgres://none", "http://127.0.0.1")
	if err != nil {
		return err
	}
	listener, err := web.Listen(settings.Port)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	live := d.zoho.Populate(demoSeed, d.Leads, d.Deals)
	d.work.Go(func() { live(ctx, d.Edits) })
	fmt.Printf("A simulated Zoho CRM with %d leads and %d deals. Settings for a mirror of it:\n\n", d.Leads, d.Deals)
	base := fmt.Sprintf("http://127.0.0.1:%d", settings.Port)
	for _, line := range []string{
		"ZOHO_ACCOUNTS_URL=" + base, "ZOHO_API_URL=" + base, "ZOHO_CLIENT_ID=" + zohosim.DefaultClientID,
		"ZOHO_CLIENT_SECRET=" + zohosim.DefaultClientSecret, "ZOHO_REFRESH_TOKEN=" + zohosim.DefaultRefreshToken,
	} {
		fmt.Println("  export " + line)
	}
	fmt.Printf("\nA grant code, good once within ten minutes: %s\n\nCtrl-C ends it.\n", d.zoho.GrantCode(10*time.Minute))
	log := settings.Logger(os.Stderr)
	err = web.Serve(ctx, listener, d.zoho, settings.Mirror.Deadline, func() {}, log)
	cancel()
	d.work.Wait()
	return err
}

func (d *demo) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer d.work.Wait()
	defer cancel()

	zohoListener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	zohoURL := "http://" + zohoListener.Addr().String()
	settings, err := d.load(ctx, "postgres://none", zohoURL) // the settings are judged before anything heavy is started
	if err != nil {
		return err
	}
	if d.listener, err = web.Listen(settings.Port); err != nil {
		return err
	}
	defer d.serveZoho(ctx, zohoListener)() // it outlives the server, whose runs end at their next page
	say("simulated Zoho CRM at %s: %d leads, %d deals, and a team that goes on working", zohoURL, d.Leads, d.Deals)

	database, err := pgembed.Start(ctx, pgembed.Options{Progress: func(m string) { say("%s", m) }})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, database.Stop()) }()
	if d.settings, err = d.load(ctx, database.URL("postgres"), zohoURL); err != nil {
		return err
	}
	if err := d.migrate(ctx); err != nil {
		return err
	}
	say("throw-away PostgreSQL is up and migrated")
	d.work.Go(func() { d.schedule(ctx) })
	fmt.Printf(`
  Sync at once:     curl -H 'Authorization: Bearer %s' 'http://localhost:%d/api/sync?module=leads'
  Dashboard:        http://localhost:%d/dashboard  password: %s
  Look inside:      psql '%s'
                    then: select lead_status, count(*) from leads group by 1 order by 2 desc;
                          select module, status, inserted, updated, started_at from sync_runs order by started_at desc limit 10;
  Ctrl-C ends it and leaves nothing behind.

`, d.settings.CronSecret, d.settings.Port, d.settings.Port, d.settings.Dashboard, database.URL("postgres"))
	return serve(ctx, d.settings, d.listener, d.settings.Logger(os.Stderr), 0)
}

// load makes the demo's settings. What the environment says of the server, the sync and
// the log holds here too.
func (d *demo) load(ctx context.Context, databaseURL, zohoURL string) (*config.Config, error) {
	own := map[string]string{
		"DATABASE_URL": databaseURL, "ZOHO_ACCOUNTS_URL": zohoURL, "ZOHO_API_URL": zohoURL, "ZOHO_CLIENT_ID": zohosim.DefaultClientID,
		"ZOHO_CLIENT_SECRET": zohosim.DefaultClientSecret, "ZOHO_REFRESH_TOKEN": zohosim.DefaultRefreshToken,
	}
	fallback := map[string]string{"CRON_SECRET": rand.Text(), "DASHBOARD_PASSWORD": rand.Text(), "LOG_LEVEL": "warn"}
	return config.Load(ctx, envconfig.MultiLookuper(envconfig.MapLookuper(own), envconfig.OsLookuper(), envconfig.MapLookuper(fallback)))
}

// serveZoho answers as Zoho until the returned function is called; its team works until ctx ends.
func (d *demo) serveZoho(ctx context.Context, listener net.Listener) (stop func()) {
	live := d.zoho.Populate(demoSeed, d.Leads, d.Deals)
	server := &http.Server{Handler: d.zoho, ReadHeaderTimeout: time.Second}
	d.work.Go(func() { live(ctx, d.Edits) })
	d.work.Go(func() { _ = server.Serve(listener) }) // ends when it is closed
	return func() { _ = server.Close() }
}

func (d *demo) migrate(ctx context.Context) error {
	store, err := postgres.Open(ctx, d.settings.DatabaseURL, d.settings.Logger(os.Stderr))
	if err != nil {
		return err
	}
	defer store.Close()
	return store.Migrate(ctx)
}

// schedule calls the server as a scheduler would, for every module, until ctx ends.
func (d *demo) schedule(ctx context.Context) {
	ticker := time.NewTicker(d.Tick)
	defer ticker.Stop()
	for {
		var calls sync.WaitGroup
		for _, module := range crm.Modules() {
			calls.Go(func() { d.tick(ctx, module) })
		}
		calls.Wait()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tick calls until nothing is left to read.
func (d *demo) tick(ctx context.Context, module string) {
	for {
		var result struct {
			Status      string    `json:"status"`
			Inserted    int64     `json:"inserted"`
			Updated     int64     `json:"updated"`
			Unchanged   int64     `json:"unchanged"`
			Quarantined int64     `json:"quarantined"`
			Pages       int       `json:"pages"`
			Watermark   time.Time `json:"watermark"`
			More        bool      `json:"more"`
			Duration    int64     `json:"duration_ms"`
			Error       string    `json:"error"`
			Hint        string    `json:"hint"`
		}
		err := d.call(ctx, module, &result)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			say("%-6s the call failed: %v", module, err)
			return
		case result.Status == "ok":
			say("%-6s %d inserted, %d updated, %d unchanged, %d quarantined; %d pages in %d ms; watermark %s", module, result.Inserted, result.Updated,
				result.Unchanged, result.Quarantined, result.Pages, result.Duration, result.Watermark.Format("15:04:05Z"))
		default:
			say("%-6s %s %s %s", module, result.Status, result.Error, result.Hint)
		}
		if !result.More {
			return
		}
	}
}

func (d *demo) call(ctx context.Context, module string, result any) error {
	address := fmt.Sprintf("http://127.0.0.1:%d/api/sync?module=%s", d.settings.Port, module)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+d.settings.CronSecret)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(result)
}

func say(format string, args ...any) {
	fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}
