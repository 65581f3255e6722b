package postgres

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// caParameter carries the certificates of an authority inside a connection string. Only Open
// knows it; no server is ever sent it.
const caParameter = "zohomirror_ca"

// foreignParameters are marks that Supabase's integrations leave in connection strings for
// other clients. They ask nothing of ours, and a server refuses them.
var foreignParameters = []string{"supa", "pgbouncer"}

// ReadCA returns the certificates that text is, or that the file of that name holds.
func ReadCA(text string) (certificates string, err error) {
	if !strings.Contains(text, "-----BEGIN") {
		file, err := os.ReadFile(text)
		if err != nil {
			return "", errors.New("is neither the text of a certificate (-----BEGIN CERTIFICATE----- …) nor a file that can be read")
		}
		text = string(file)
	}
	// Some platforms' forms keep a line break as \n.
	text = strings.ReplaceAll(text, `\n`, "\n")
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", errors.New("holds a " + strings.ToLower(block.Type) + ", and must hold certificates only")
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return "", errors.New("holds a certificate that cannot be read")
		}
		certificates += string(pem.EncodeToMemory(block))
	}
	if certificates == "" {
		return "", errors.New("holds no certificate in PEM form, or a damaged one")
	}
	return certificates, nil
}

var keywordMode = regexp.MustCompile(`(?:^|\s)sslmode\s*=\s*'?([a-z-]*)`)

// WithCA returns a connection string whose server must prove itself by a certificate that one
// of these authorities has signed, for the name in the string; with sslmode=verify-ca, for
// whatever name. A string that says it wants less contradicts that.
func WithCA(databaseURL, certificates string) (string, error) {
	isURL := strings.HasPrefix(databaseURL, "postgres://") || strings.HasPrefix(databaseURL, "postgresql://")
	if !isURL {
		mode := ""
		if found := keywordMode.FindStringSubmatch(databaseURL); found != nil {
			mode = found[1]
		}
		mode, err := verifying(mode)
		if err != nil {
			return "", err
		}
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(certificates)
		return databaseURL + " sslmode=" + mode + " " + caParameter + "='" + quoted + "'", nil
	}
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", errors.New("is not a PostgreSQL connection string") // err may quote it
	}
	mode, err := verifying(u.Query().Get("sslmode"))
	if err != nil {
		return "", err
	}
	// The rest stands as it was written: what reads it does not take a + for a space.
	settings := slices.DeleteFunc(strings.Split(u.RawQuery, "&"), func(s string) bool { return s == "" || strings.HasPrefix(s, "sslmode=") })
	u.RawQuery = strings.Join(append(settings, "sslmode="+mode, caParameter+"="+strings.ReplaceAll(url.QueryEscape(certificates), "+", "%20")), "&")
	return u.String(), nil
}

// verifying is the mode that checks a certificate and is meant by mode.
func verifying(mode string) (string, error) {
	switch mode {
	case "", "require", "verify-full":
		return "verify-full", nil
	case "verify-ca":
		return mode, nil
	default:
		return "", errors.New("says sslmode=" + mode + ", which checks no certificate: say sslmode=verify-full, or remove DATABASE_CA_CERT")
	}
}

// settle takes out of the configuration what is not for the server, and puts the authority's
// certificates into every attempt to connect.
func settle(config *pgxpool.Config) error {
	parameters := config.ConnConfig.RuntimeParams
	for _, name := range foreignParameters {
		delete(parameters, name)
	}
	certificates, ok := parameters[caParameter]
	delete(parameters, caParameter)
	if !ok {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(certificates)) {
		return errors.New("the certificates of DATABASE_CA_CERT cannot be used")
	}
	if config.ConnConfig.TLSConfig != nil {
		config.ConnConfig.TLSConfig.RootCAs = pool
	}
	for _, fallback := range config.ConnConfig.Fallbacks {
		if fallback.TLSConfig != nil {
			fallback.TLSConfig.RootCAs = pool
		}
	}
	return nil
}

// Platform is where the program runs, as far as it matters for reaching a database.
type Platform struct {
	Name     string // for messages; empty: any machine
	IPv4Only bool   // cannot reach an address of IPv6
	Brief    bool   // processes that come and go, many side by side
}

// PlatformOf tells the platform from its environment.
func PlatformOf(lookup func(string) (string, bool)) Platform {
	has := func(name string) bool { value, ok := lookup(name); return ok && value != "" }
	switch {
	case has("VERCEL"):
		return Platform{Name: "Vercel", IPv4Only: true, Brief: true}
	case has("K_SERVICE"), has("CLOUD_RUN_JOB"):
		return Platform{Name: "Cloud Run", Brief: true}
	case has("GITHUB_ACTIONS"):
		return Platform{Name: "GitHub Actions", IPv4Only: true}
	case has("RENDER"):
		return Platform{Name: "Render", IPv4Only: true}
	default:
		return Platform{}
	}
}

// Advice is what a connection string means.
type Advice struct {
	Kind    string // one of the Kind… constants
	Works   bool   // false: it cannot
	Meaning string // in a sentence
	Hint    string // what would be better; empty where nothing would
}

const takeTransaction = "take the transaction pooler's connection string (Connect → Transaction pooler, port 6543)"

// Advise says what a connection string means on a platform. It reads the string alone,
// connects to nothing, and shows no part of it.
func Advise(databaseURL string, on Platform) (Advice, error) {
	kind, err := Kind(databaseURL)
	if err != nil && !errors.Is(err, errPoolerUser) {
		return Advice{}, err
	}
	a := Advice{Kind: kind, Works: true}
	switch kind {
	case KindSupabaseDirect, KindSupabaseDedicated:
		a.adviseDirect(on)
	case KindSupabaseSession:
		a.Meaning = "IPv4, and a server connection for each of ours for as long as it lasts"
		if on.Brief {
			a.Hint = "processes that come and go use up its few connections: " + takeTransaction
		}
	case KindSupabaseTransaction:
		a.Meaning = "IPv4, and a server connection for each transaction; everything works through it, migrations too"
	default:
		a.Meaning = "it is reached as it is named; a pooler before it, in session or transaction mode, will do"
	}
	if err != nil {
		a.Works, a.Hint = false, err.Error()
	}
	return a, nil
}

func (a *Advice) adviseDirect(on Platform) {
	a.Meaning = "IPv6 only, unless the project has the IPv4 add-on"
	switch {
	case on.IPv4Only:
		a.Works = false
		a.Meaning += "; " + on.Name + " reaches IPv4 only, so that it fails there without the add-on"
		a.Hint = takeTransaction + ", or add IPv4 to the project"
	case on.Brief && a.Kind == KindSupabaseDirect:
		a.Hint = "processes that come and go use up the database's connections: " + takeTransaction
	case a.Kind == KindSupabaseDirect:
		a.Hint = "on a machine without IPv6 it fails: " + takeTransaction
	}
}
