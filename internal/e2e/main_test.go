package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"zohomirror/internal/mirror/mirrortest"
	"zohomirror/internal/pgembed"
	"zohomirror/internal/pgembed/pgtest"
)

// slow has every failure strike at every boundary, and waits out what takes its time.
var slow = os.Getenv("ZOHOMIRROR_SLOW") != ""

func TestMain(m *testing.M) {
	pgembed.Main() // a database's keeper is this program too, and goes no further
	// Most of the time a test waits for the binary to have waited.
	if err := flag.Set("test.parallel", "6"); err != nil {
		panic(err) // go test has the flag
	}
	folder, err := os.MkdirTemp("", "zohomirror-e2e-")
	if err != nil {
		panic(err)
	}
	build = sync.OnceValues(func() (string, error) { return buildBinary(folder) })
	bootstrap = sync.OnceValues(func() (string, error) { return buildFunction(folder) })
	status := pgtest.Main(m, func(ctx context.Context, databaseURL string) error {
		if pgtest.Pooled() {
			pooled, stop, err := pgtest.StartPooler(databaseURL)
			if err != nil {
				return err
			}
			defer stop()
			databaseURL = pooled
		}
		return mirrortest.Migrate(ctx, databaseURL)
	})
	if missing := deaf(); status == 0 && wholeSuite() && len(missing) > 0 {
		fmt.Fprintf(os.Stderr, "the suite has heard no %s\n", strings.Join(missing, ", no "))
		status = 1
	}
	if err := os.RemoveAll(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(status)
}

func wholeSuite() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list"} {
		if flag.Lookup(name).Value.String() != "" {
			return false
		}
	}
	return true
}

// build returns the path of the real binary, built once, and bootstrap that of the function.
var build, bootstrap func() (string, error)

func buildBinary(folder string) (string, error) {
	path := filepath.Join(folder, "zohomirror")
	output, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "zohomirror/cmd/zohomirror").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, output)
	}
	return path, nil
}

func onlySlow(t *testing.T) {
	t.Helper()
	if !slow {
		t.Skip("with ZOHOMIRROR_SLOW=1")
	}
}
