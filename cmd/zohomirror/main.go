// Command zohomirror mirrors Zoho CRM into PostgreSQL.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"

	"zohomirror/internal/pgembed"
	"zohomirror/internal/postgres"
)

// version is set by the linker for a release.
var version = ""

type cli struct {
	Setup      setupCmd      `cmd:"" help:"Set up a mirror: check, migrate, read everything once, and say how to go on. Safe to repeat."`
	Serve      serveCmd      `cmd:"" help:"Answer a scheduler's calls over HTTP."`
	Migrate    migrateCmd    `cmd:"" help:"Bring the database's schema up to this version."`
	Sync       syncCmd       `cmd:"" help:"Run one module once and print the result."`
	Doctor     doctorCmd     `cmd:"" help:"Examine settings, database, Zoho, schema and notifications, and say what to do."`
	Status     statusCmd     `cmd:"" help:"Print how each module stands, a line each."`
	Check      checkCmd      `cmd:"" help:"Say whether the modules are healthy, by the exit status."`
	Quarantine quarantineCmd `cmd:"" help:"List, show and replay the records that do not fit."`
	Verify     verifyCmd     `cmd:"" help:"Prove that a module's mirror equals the CRM, or say in what it differs."`
	Repair     repairCmd     `cmd:"" help:"Compare a module with its mirror and mend what differs."`
	Schema     schemaCmd     `cmd:"" help:"Compare the org with the catalogue and the tables, and bring these in line."`
	Auth       authCmd       `cmd:"" help:"Get a refresh token from Zoho."`
	Probe      probeCmd      `cmd:"" help:"Ask your Zoho, by reading only, what its documentation leaves open."`
	Demo       demoCmd       `cmd:"" help:"Show it all at work: a throw-away PostgreSQL, a simulated Zoho, the server and its scheduler."`
	Health     healthCmd     `cmd:"" name:"healthcheck" help:"Ask the server on this machine whether it is well, for containers."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

func main() {
	pgembed.Main()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	command := kong.Parse(&cli{}, kong.Name("zohomirror"), kong.UsageOnError(),
		kong.Description("A queryable copy of Zoho CRM in your own PostgreSQL. Settings come from the environment: see .env.example. "+
			"Exit status: 0 done; 1 failed, or what was asked is not so (check, verify, quarantine replay); 80 a command line that is not understood; doctor has statuses of its own."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err := command.Run(); err != nil {
		os.Exit(complain(err))
	}
}

// complain says what failed and what to do, and returns the exit status.
func complain(err error) int {
	var told problem
	if errors.As(err, &told) {
		return told.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "zohomirror:", err)
	hint := postgres.Hint(err)
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		hint = hinted.Hint()
	}
	if hint != "" {
		fmt.Fprintln(os.Stderr, "what to do:", hint)
	}
	return 1
}

type versionCmd struct{}

func (versionCmd) Run() error {
	fmt.Println("zohomirror", versionText())
	return nil
}

// versionText is the release, or the commit it was built from.
func versionText() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
