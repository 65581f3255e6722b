package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/postgres"
)

type schemaCmd struct {
	Diff      schemaDiffCmd      `cmd:"" help:"Print how the org differs from the catalogue and the tables, and what runs have noticed."`
	Migration schemaMigrationCmd `cmd:"" help:"Write a migration that brings picklists' CHECKs and money columns in line with the org."`
	Promote   schemaPromoteCmd   `cmd:"" help:"Write the migration and the catalogue entry that turn a custom field into a column."`
}

// orgFolder is where the org's own migrations stand.
const orgFolder = "migrations/org"

// promotedFile is the part of the catalogue that a promotion writes.
const promotedFile = "internal/crm/promoted.go"

// selected is the named module, or all where there is no name.
func selected(name string) ([]*crm.Module, error) {
	names := crm.Modules()
	if name != "" {
		names = []string{name}
	}
	var modules []*crm.Module
	for _, n := range names {
		module, ok := crm.Find(n)
		if !ok {
			return nil, fmt.Errorf("there is no module %.40q; there are %s", n, strings.Join(crm.Modules(), ", "))
		}
		modules = append(modules, module)
	}
	return modules, nil
}

// compare asks Zoho about each module.
func compare(modules []*crm.Module, do func(*crm.Module) error) error {
	return stderr.during("comparing with the org", func(come func(string)) error {
		for _, module := range modules {
			come(module.Name)
			if err := do(module); err != nil {
				return err
			}
		}
		return nil
	})
}

type schemaDiffCmd struct {
	Module string `arg:"" optional:"" help:"The module, e.g. leads; all if left out."`
	JSON   bool   `name:"json" help:"Print JSON, a list with an object a module."`
}

func (c schemaDiffCmd) Run(ctx context.Context) error {
	modules, err := selected(c.Module)
	if err != nil {
		return err
	}
	m, err := openMirror(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	var diffs []*mirror.SchemaDiff
	err = compare(modules, func(module *crm.Module) error {
		d, err := m.SchemaDiff(ctx, module)
		diffs = append(diffs, d)
		return err
	})
	if err != nil {
		return err
	}
	if c.JSON {
		encoder := json.NewEncoder(os.Stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(diffs)
	}
	for _, d := range diffs {
		if err := printDiff(os.Stdout, d); err != nil {
			return err
		}
	}
	return nil
}

func printDiff(to io.Writer, d *mirror.SchemaDiff) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	section := func(title string, n int, line func(i int) string) {
		if n == 0 {
			return
		}
		fmt.Fprintf(w, "  %s:\n", title)
		for i := range n {
			fmt.Fprintf(w, "    %s\n", line(i))
		}
	}
	fields := func(list []mirror.SchemaField) func(int) string {
		return func(i int) string { return list[i].Name + "\t" + list[i].Type }
	}
	fmt.Fprintln(w, d.Module)
	section("Noticed by runs, with the times of first and last", len(d.Noticed), func(i int) string {
		n := d.Noticed[i]
		return fmt.Sprintf("%s\t%s\t%s\t%s\t%s", n.FirstSeen.UTC().Format("2006-01-02 15:04Z"), n.LastSeen.UTC().Format("2006-01-02 15:04Z"),
			strings.ReplaceAll(n.Kind, "_", " "), n.Field, strings.Trim(shown(n.Was)+" → "+shown(n.IsNow), " →"))
	})
	section("Values that the table does not allow, whose rows are quarantined (zohomirror schema migration --apply)", len(d.Picklists), func(i int) string {
		missing := make([]string, len(d.Picklists[i].Missing))
		for j, value := range d.Picklists[i].Missing {
			missing[j] = shown(value)
		}
		return d.Picklists[i].Field + "\t" + strings.Join(missing, " | ")
	})
	section("Money with more decimals than its column holds (zohomirror schema migration --apply)", len(d.Money), func(i int) string {
		return fmt.Sprintf("%s\tnumeric%s, required numeric%s", d.Money[i].Field, d.Money[i].Is, d.Money[i].Required)
	})
	section("Fields of another type than their column's, whose rows are quarantined where a value does not fit", len(d.Unsuited), func(i int) string {
		return fmt.Sprintf("%s\tcolumn %s, field %s", d.Unsuited[i].Field, d.Unsuited[i].Was, d.Unsuited[i].IsNow)
	})
	section("CHECKs in a form of their own, to be kept up by hand", len(d.Foreign), func(i int) string { return d.Foreign[i] })
	section("In the org and not in the catalogue: mirrored in custom_fields (zohomirror schema promote makes a column)", len(d.Custom), fields(d.Custom))
	section("In the org, but no query can read them", len(d.Unread), fields(d.Unread))
	section("In the catalogue and not in the org: their columns stay as they are", len(d.Absent), func(i int) string { return d.Absent[i] })
	return w.Flush()
}

// shown keeps a value of the org on one line.
func shown(value string) string {
	if strings.ContainsFunc(value, unicode.IsControl) {
		return strconv.Quote(value)
	}
	return value
}

type schemaMigrationCmd struct {
	Module string `arg:"" optional:"" help:"The module, e.g. leads; all if left out."`
	Folder string `default:"migrations/org" help:"Where the org's own migrations stand."`
	Apply  bool   `help:"Apply it at once."`
}

func (c schemaMigrationCmd) Run(ctx context.Context) error {
	modules, err := selected(c.Module)
	if err != nil {
		return err
	}
	m, err := openMirror(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := nonePending(ctx, m, c.Folder); err != nil {
		return err
	}
	var changes []postgres.Change
	err = compare(modules, func(module *crm.Module) error {
		change, needed, err := m.SchemaChange(ctx, module)
		if needed {
			changes = append(changes, change)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		fmt.Println("The tables are in line with the org: nothing to change, nothing written.")
		return nil
	}
	file, err := writeChanges(c.Folder, changes)
	if err != nil {
		return err
	}
	fmt.Println("Written:", file)
	if !c.Apply {
		fmt.Println("To apply it: zohomirror migrate")
		return nil
	}
	err = stderr.during("migrating the database", func(func(string)) error {
		_, err := m.MigrateOrg(ctx, c.Folder)
		return err
	})
	if err != nil {
		return err
	}
	fmt.Println("Applied.")
	return nil
}

// writeChanges writes a migration that brings the tables in line with the org.
func writeChanges(folder string, changes []postgres.Change) (file string, err error) {
	return writeMigration(folder, migrationName(changes), postgres.Migration(
		"Written by zohomirror schema migration: the tables in line with the org, as of "+time.Now().UTC().Format(time.DateOnly)+".", changes))
}

// nonePending refuses to go on beside migrations that the database does not have: what is
// written now would not know of them.
func nonePending(ctx context.Context, m *mirror.Mirror, folder string) error {
	pending, err := m.PendingOrg(ctx, folder)
	if err != nil || len(pending) == 0 {
		return err
	}
	return fmt.Errorf("%s holds migrations that are not applied yet (%s): run zohomirror migrate first", folder, strings.Join(pending, ", "))
}

func migrationName(changes []postgres.Change) string {
	var picklists, money bool
	for _, c := range changes {
		picklists = picklists || len(c.Checks) > 0
		money = money || len(c.Widths) > 0
	}
	switch {
	case picklists && money:
		return "org_picklists_and_money"
	case money:
		return "org_money"
	default:
		return "org_picklists"
	}
}

// writeMigration makes a file named by the time, and never replaces one.
func writeMigration(folder, name, text string) (file string, err error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	for at := time.Now().UTC(); ; at = at.Add(time.Second) {
		version := at.Format("20060102150405")
		if same, err := fs.Glob(os.DirFS(folder), version+"_*"); err != nil {
			return "", err
		} else if len(same) > 0 {
			continue // one of the same second: their versions must differ
		}
		file = filepath.Join(folder, version+"_"+name+".sql")
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return "", err
		}
		_, err = f.WriteString(text)
		return file, cmp.Or(err, f.Close())
	}
}

type schemaPromoteCmd struct {
	Module string `arg:"" help:"The module, e.g. leads."`
	Field  string `arg:"" help:"The custom field's API name."`
	Source string `default:"." help:"The source tree of zohomirror."`
}

func (c schemaPromoteCmd) Run(ctx context.Context) error {
	modules, err := selected(c.Module)
	if err != nil {
		return err
	}
	catalogue, promoted, err := c.read()
	if err != nil {
		return err
	}
	m, err := openMirror(ctx)
	if err != nil {
		return err
	}
	defer m.Close()
	folder := filepath.Join(c.Source, orgFolder)
	var change postgres.Change
	err = compare(modules, func(module *crm.Module) (err error) {
		change, err = m.Promote(ctx, module, c.Field, promoted)
		return err
	})
	if err != nil {
		return err
	}
	file, err := writeMigration(folder, "promote_"+c.Module+"_"+strings.ToLower(c.Field), postgres.Migration(
		"Written by zohomirror schema promote: "+c.Field+" of "+c.Module+" gets a column of its own.", []postgres.Change{change}))
	if err != nil {
		return err
	}
	if err := os.WriteFile(catalogue, []byte(promoted.Source()), 0o644); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	fmt.Printf("Written: %s\nChanged: %s\nNow: zohomirror migrate, then build and deploy this source tree. Its first runs fill the column in.\n", file, catalogue)
	return nil
}

// read finds the file of the source tree that holds the promoted fields.
func (c schemaPromoteCmd) read() (catalogue string, promoted crm.Promoted, err error) {
	catalogue = filepath.Join(c.Source, promotedFile)
	source, err := os.ReadFile(catalogue)
	if mod, absent := os.ReadFile(filepath.Join(c.Source, "go.mod")); absent != nil || err != nil || !strings.HasPrefix(string(mod), "module zohomirror\n") {
		return "", nil, fmt.Errorf("a promotion changes the source code, and %s is not the source tree of zohomirror: run this in a checkout, or name one with --source", c.Source)
	}
	if promoted, err = crm.ParsePromoted(string(source)); err != nil {
		return "", nil, fmt.Errorf("%s: %w", catalogue, err)
	}
	return catalogue, promoted, nil
}
