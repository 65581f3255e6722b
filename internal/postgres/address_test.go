package postgres

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"zohomirror/internal/pgembed/pgtest"
)

// What each kind of connection string means where it is used.
func TestPain21Advise(t *testing.T) {
	t.Parallel()
	const (
		direct      = "postgresql://postgres:pw@db.abcdefghijklmnopqrst.supabase.co:5432/postgres"
		session     = "postgres://postgres.abcdefghijklmnopqrst:pw@aws-0-eu-central-1.pooler.supabase.com:5432/postgres"
		transaction = "postgres://postgres.abcdefghijklmnopqrst:pw@aws-1-eu-central-1.pooler.supabase.com:6543/postgres?sslmode=require&supa=base-pooler.x"
	)
	for _, c := range []struct {
		name, address, on string
		kind              string
		works             bool
		meaning, hint     string
	}{
		{"direct, any box", direct, "", KindSupabaseDirect, true, "IPv6 only", "without IPv6"},
		{"direct, Vercel", direct, "VERCEL", KindSupabaseDirect, false, "Vercel reaches IPv4 only", "port 6543"},
		{"direct, Cloud Run", direct, "K_SERVICE", KindSupabaseDirect, true, "IPv6 only", "come and go"},
		{"direct, GitHub", direct, "GITHUB_ACTIONS", KindSupabaseDirect, false, "GitHub Actions reaches IPv4 only", "IPv4 to the project"},
		{"direct, Render", direct, "RENDER", KindSupabaseDirect, false, "Render reaches IPv4 only", "port 6543"},
		{"direct, as words", "host=DB.abcdefghijklmnopqrst.supabase.co user=postgres password=pw", "VERCEL", KindSupabaseDirect, false, "fails there", "port 6543"},
		{"session, any box", session, "", KindSupabaseSession, true, "IPv4, and a server", ""},
		{"session, Vercel", session, "VERCEL", KindSupabaseSession, true, "IPv4, and", "come and go"},
		{"transaction, Vercel", transaction, "VERCEL", KindSupabaseTransaction, true, "everything works through it", ""},
		{"transaction, any box", transaction, "", KindSupabaseTransaction, true, "everything works through it", ""},
		{"pooler without a project", strings.Replace(transaction, "postgres.abcdefghijklmnopqrst", "postgres", 1), "", KindSupabaseTransaction, false, "IPv4", "postgres.<project>"},
		{"dedicated, any box", strings.Replace(direct, "5432", "6543", 1), "", KindSupabaseDedicated, true, "IPv6 only", ""},
		{"dedicated, Vercel", strings.Replace(direct, "5432", "6543", 1), "VERCEL", KindSupabaseDedicated, false, "Vercel reaches IPv4 only", "port 6543"},
		{"plain", "postgres://u:pw@db.example.com/x", "VERCEL", KindPlain, true, "as it is named", ""},
		{"no Supabase", "postgres://u:pw@db.abcdefghijklmnopqrst.supabase.co.evil.example/x", "VERCEL", KindPlain, true, "as it is named", ""},
	} {
		platform := PlatformOf(func(name string) (string, bool) { return "1", name == c.on })
		got, err := Advise(c.address, platform)
		if err != nil || got.Kind != c.kind || got.Works != c.works || !strings.Contains(got.Meaning, c.meaning) || !strings.Contains(got.Hint, c.hint) || (c.hint == "") != (got.Hint == "") {
			t.Errorf("%s: %v, %+v", c.name, err, got)
		}
		if strings.Contains(got.Meaning+got.Hint, "pw") {
			t.Errorf("%s shows the password: %+v", c.name, got)
		}
	}
	if _, err := Advise("postgres://u:secret@h:port/x", Platform{}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
}

// FuzzAdvise: no connection string makes it panic or say more than it should.
func FuzzAdvise(f *testing.F) {
	f.Add("postgres://postgres.ref:pw@aws-0-x.pooler.supabase.com:6543/postgres")
	f.Add("host=db.ref.supabase.co port=6543")
	f.Fuzz(func(t *testing.T, address string) {
		for _, on := range []Platform{{}, {Name: "Vercel", IPv4Only: true, Brief: true}} {
			if a, err := Advise(address, on); err == nil && (a.Kind == "" || a.Meaning == "") {
				t.Errorf("%+v", a)
			}
		}
		if trusted, err := WithCA(address, "x"); err == nil {
			if config, err := poolConfig(trusted); err == nil && config.ConnConfig.RuntimeParams[caParameter] != "" {
				t.Error("the server is sent the authority")
			}
		}
	})
}

// Marks of other clients are not sent to the server, and every attempt to connect checks the
// server's certificate.
func TestPain24EveryAttemptChecks(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewAuthority(t)
	for _, address := range []string{
		"postgres://u:p@a.example:1,b.example:2/x?supa=base-pooler.x&pgbouncer=true&options=-c%20a%3Db", "postgres://u:p@a.example/x?sslmode=require", "postgres://u:p@a.example/x?sslmode=verify-full",
		"postgresql://u:p@a.example/x?sslmode=verify-ca", "host=a.example,b.example user=u password='p q' dbname=x", `host=a.example sslmode = 'require' password=a\\'b`,
	} {
		trusted, err := WithCA(address, ca.PEM)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		config, err := poolConfig(trusted)
		if err != nil {
			t.Errorf("%s: %v", address, err)
			continue
		}
		c := config.ConnConfig
		if len(c.RuntimeParams) > 2 || c.RuntimeParams["application_name"] != "zohomirror" {
			t.Errorf("%s: %v", address, c.RuntimeParams)
		}
		attempts := []bool{c.TLSConfig != nil && c.TLSConfig.RootCAs != nil && (c.TLSConfig.ServerName == "a.example" || c.TLSConfig.VerifyPeerCertificate != nil)}
		for _, f := range c.Fallbacks {
			attempts = append(attempts, f.TLSConfig != nil && f.TLSConfig.RootCAs != nil && f.TLSConfig.ServerName == f.Host)
		}
		for i, checks := range attempts {
			if !checks {
				t.Errorf("%s: attempt %d does not check", address, i+1)
			}
		}
		if want := strings.Count(address, ".example"); len(attempts) != want {
			t.Errorf("%s: %d attempts, want %d", address, len(attempts), want)
		}
	}
	for _, address := range []string{"postgres://u:p@h/x?sslmode=disable", "postgres://u:p@h/x?sslmode=prefer", "host=h sslmode=allow", "host=h sslmode = 'disable'"} {
		if _, err := WithCA(address, ca.PEM); err == nil || !strings.Contains(err.Error(), "checks no certificate") {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestReadCA(t *testing.T) {
	t.Parallel()
	ca := pgtest.NewAuthority(t)
	_, key := ca.Server(t, "127.0.0.1")
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte(ca.PEM), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, fault string }{
		"text": {ca.PEM, ""}, "two": {ca.PEM + ca.PEM, ""}, "file": {file, ""}, "one line": {strings.ReplaceAll(ca.PEM, "\n", `\n`), ""},
		"no file": {"/no/such/file", "nor a file"}, "words": {"hello", "nor a file"}, "cut": {ca.PEM[:len(ca.PEM)/2], "no certificate"},
		"damaged": {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"}, "key": {key, "private key"},
	} {
		got, err := ReadCA(c.text)
		if c.fault == "" && (err != nil || !strings.Contains(got, ca.PEM)) || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)) {
			t.Errorf("%s: %v, %.40s", name, err, got)
		}
		if err != nil && strings.Contains(err.Error(), "MII") {
			t.Errorf("%s shows what it holds: %v", name, err)
		}
	}
}
