package e2e

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zohomirror/internal/pgembed"
	"zohomirror/internal/pgembed/pgtest"
	"zohomirror/internal/zohosim"
)

// Pain 24: DATABASE_CA_CERT is honoured by every command. Who shows a certificate of that
// authority, for the name that was called, is trusted; nobody else is, and it is said why.
func TestPain24DatabaseCA(t *testing.T) {
	t.Parallel()
	ca, other := pgtest.NewAuthority(t), pgtest.NewAuthority(t)
	certificate, key := ca.Server(t, "127.0.0.1")
	server, err := pgembed.Start(t.Context(), pgembed.Options{Fast: true, Certificate: certificate, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	w := newWorldIn(t, server.URL("postgres"), zohosim.Config{})
	u, err := url.Parse(server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	u.RawQuery = ""
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte(ca.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	w.settings["DATABASE_URL"] = u.String() // past the link, which understands no TLS
	w.settings["DATABASE_CA_CERT"] = ca.PEM
	w.tell(t, "migrate")
	w.recover(t, lockFree)
	w.equal(t)
	w.settings["DATABASE_CA_CERT"] = file
	w.settings["DATABASE_URL"] = u.String() + "?sslmode=verify-full"
	w.recover(t, lockFree)

	byName := *u
	byName.Host = "localhost:" + u.Port()
	for _, c := range []struct{ name, address, ca, says string }{
		{"another authority", u.String(), other.PEM, "not signed by an authority that is trusted"},
		{"another name", byName.String(), ca.PEM, "for another host name"},
		{"no authority", u.String() + "?sslmode=verify-full", "", "not signed by an authority that is trusted"},
	} {
		settings := []string{"DATABASE_URL=" + c.address, "DATABASE_CA_CERT=" + c.ca}
		out := w.sync(t, settings...)
		if w.failed(t, out); !strings.Contains(out.Error, c.says) || !strings.Contains(out.Hint, "DATABASE_CA_CERT") {
			t.Errorf("%s: %s", c.name, out)
		}
		output, err := w.command(t.Context(), t, "migrate", settings).CombinedOutput()
		if err == nil || !strings.Contains(string(output), c.says) || !strings.Contains(string(output), "DATABASE_CA_CERT") {
			t.Errorf("%s: %v: %s", c.name, err, output)
		}
		w.heard(string(output))
	}
	if n := value[int](t, w, "SELECT count(*)::int FROM sync_runs WHERE status = 'failed'"); n != 0 {
		t.Errorf("%d runs reached the database", n)
	}

	plain := newWorld(t) // a server that has no certificate at all
	out := plain.sync(t, "DATABASE_URL="+strings.TrimSuffix(plain.way, "?sslmode=disable"), "DATABASE_CA_CERT="+ca.PEM)
	if plain.failed(t, out); !strings.Contains(out.Error, "does not speak TLS") {
		t.Errorf("%s", out)
	}
	output, err := plain.command(t.Context(), t, "migrate", []string{"DATABASE_CA_CERT=" + file}).CombinedOutput()
	if err == nil || !strings.Contains(string(output), "sslmode=disable, which checks no certificate") {
		t.Errorf("%v: %s", err, output)
	}
}
