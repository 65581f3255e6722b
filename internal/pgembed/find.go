package pgembed

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

// places are where packages put PostgreSQL's programs, beside PATH: Debian, Red Hat,
// Alpine, Homebrew (both processors) and Postgres.app.
var places = []string{
	"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/libexec/postgresql*", "/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin", "/usr/local/pgsql/bin", "/Applications/Postgres.app/Contents/Versions/*/bin",
}

// find returns the folder of initdb and postgres; if there is none on this machine they
// are downloaded.
func (k *keeper) find(ctx context.Context) (string, error) {
	search := k.options.Search
	if search == nil {
		search = append(filepath.SplitList(os.Getenv("PATH")), places...)
	}
	if folder := newest(search); folder != "" {
		return folder, nil
	}
	k.say(message{Progress: "PostgreSQL is not installed here: fetching it (about 10 MB, once)"})
	folder, err := k.download()
	if err != nil && ctx.Err() == nil {
		return "", fmt.Errorf("PostgreSQL is not installed here, and could not be fetched (%w). Install it, then try again: %s", err, install())
	}
	return folder, err
}

var lastNumber = regexp.MustCompile(`([0-9]+)[^0-9]*$`)

// newest returns the first folder that has the programs; of those that one pattern
// matches, the one of the highest version.
func newest(search []string) string {
	for _, pattern := range search {
		folders, err := filepath.Glob(pattern)
		if err != nil {
			continue // a PATH may hold anything
		}
		slices.SortFunc(folders, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
		for _, folder := range folders {
			if isProgram(folder, "initdb") && isProgram(folder, "postgres") {
				return folder
			}
		}
	}
	return ""
}

// version is the last number in a folder's name.
func version(folder string) int {
	found := lastNumber.FindStringSubmatch(folder)
	if found == nil {
		return 0
	}
	n, _ := strconv.Atoi(found[1]) // one that is out of range is no version
	return n
}

func isProgram(folder, name string) bool {
	info, err := os.Stat(filepath.Join(folder, name))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// download fetches PostgreSQL into the user's cache, or where there is none into the
// throw-away folder.
func (k *keeper) download() (string, error) {
	home, err := os.UserCacheDir()
	cache := filepath.Join(home, "zohomirror", "postgres")
	if err != nil || os.MkdirAll(cache, 0o700) != nil {
		cache = filepath.Join(k.folder, "postgres")
	}
	programs := filepath.Join(cache, string(embeddedpostgres.V17))
	bin := filepath.Join(programs, "bin")
	if newest([]string{bin}) != "" {
		return bin, nil
	}
	port, err := freePort()
	if err != nil {
		return "", err
	}
	// The library fetches when it starts a server: let it, and stop that one again.
	config := embeddedpostgres.DefaultConfig().Version(embeddedpostgres.V17).Port(uint32(port)).Logger(io.Discard).
		CachePath(cache).BinariesPath(programs).RuntimePath(filepath.Join(k.folder, "fetch"))
	if k.options.Repository != "" {
		config = config.BinaryRepositoryURL(k.options.Repository)
	}
	server := embeddedpostgres.NewDatabase(config)
	if err := server.Start(); err != nil {
		return "", err
	}
	return bin, server.Stop()
}

func install() string {
	if runtime.GOOS == "darwin" {
		return "brew install postgresql@17"
	}
	return "sudo apt-get install postgresql (Debian, Ubuntu), sudo dnf install postgresql-server (Fedora), apk add postgresql (Alpine)"
}
