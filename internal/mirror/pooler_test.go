//go:build pooler

package mirror_test

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"zohomirror/internal/crm"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zohosim"
)

// Everything works through a pooler that gives each transaction another connection:
// migrations side by side, runs, tokens, quarantine.
func TestPooler(t *testing.T) {
	o := newOrg(t, zohosim.Config{}, defaultConfig)
	pooled := startPooler(t, pgtest.Empty(t))
	var migrations sync.WaitGroup
	for range 3 {
		migrations.Go(func() {
			store, err := postgres.Open(t.Context(), pooled, quiet)
			if err != nil {
				t.Error(err)
				return
			}
			defer store.Close()
			if err := store.Migrate(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	migrations.Wait()

	o.database = pooled
	o.mirror = o.process(t, pooled)
	o.connect(t)
	o.InsertMany("Leads", 3000, lead)
	bad := o.Insert("Leads", zohosim.Record{"Last_Name": "no such status", "Lead_Status": "Podcast"})
	o.runAll(t, "leads")
	o.equal(t, "leads", bad)

	module, _ := crm.Find("leads")
	change, needed, err := o.mirror.SchemaChange(t.Context(), module)
	if err != nil || !needed {
		t.Fatalf("%v, needed %v", err, needed)
	}
	change.Widths["annual_revenue"] = crm.Width{Precision: 15, Scale: 3}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "20261124153000_org.sql"), []byte(postgres.Migration("", []postgres.Change{change})), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := o.mirror.MigrateOrg(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	o.Advance(time.Minute)
	o.Update("Leads", bad, zohosim.Record{"Company": "Zylker"})
	o.runAll(t, "leads")
	o.equal(t, "leads")
	o.Advance(time.Hour)
	o.MassUpdate("Leads", nil, zohosim.Record{"Company": "Zylker", "Lead_Status": "Contacted"})
	for range 3 {
		o.mirror = o.process(t, pooled)
		o.runAll(t, "leads")
	}
	o.equal(t, "leads")

	// Runs by their id, from an earlier point, and of the quarantine.
	o.Insert("Leads", zohosim.Record{"Last_Name": "no such status either", "Lead_Status": "Fax"})
	id := uuid.New()
	for range 2 {
		if result, err := o.process(t, pooled).Run(t.Context(), request("leads", id)); err != nil || result.RunID != id || result.Counts.Quarantined != 1 {
			t.Errorf("%v, %+v", err, result)
		}
	}
	execute(t, o, strings.ReplaceAll(allowPodcast, "Podcast", "Fax"))
	if did := o.replay(t, "leads").Replay; len(did.Settled) != 1 {
		t.Errorf("%+v", did)
	}
	since := request("leads", uuid.Nil)
	since.Since = noon.Add(-time.Hour)
	if result, err := o.mirror.Run(t.Context(), since); err != nil || result.Counts.Unchanged != 3002 {
		t.Errorf("%v, %+v", err, result)
	}
	o.equal(t, "leads")
}

// startPooler puts pgbouncer, in transaction mode and with two connections, before a database.
func startPooler(t *testing.T, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	folder, err := os.MkdirTemp("/tmp", "zohomirror-pooler-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	if err := os.Chmod(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	file := filepath.Join(folder, "pgbouncer.ini")
	text := fmt.Sprintf(`[databases]
pooled = host=%s port=%s dbname=%s user=postgres password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
`, u.Hostname(), u.Port(), u.Path[1:], password, port)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	pooler := exec.Command("pgbouncer", "-q", file)
	pooler.Dir, pooler.Stderr = "/", os.Stderr
	if os.Geteuid() == 0 {
		pooler.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := pooler.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = pooler.Process.Kill()
		_ = pooler.Wait()
	})
	for range 100 {
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			_ = conn.Close()
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Sprintf("postgres://any@127.0.0.1:%d/pooled?sslmode=disable", port)
}
