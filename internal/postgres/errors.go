package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// ErrLockLost says that another run has taken the module's lock over. The run that
// gets it has written nothing since and must write nothing more.
var ErrLockLost = errors.New("this run no longer holds its module's lock: another run took it over, and nothing more was written")

// A SchemaError says that the schema is not the one this binary was built for.
type SchemaError struct {
	Found, Want int64
}

func (e *SchemaError) Error() string {
	if e.Found > e.Want {
		return "the database was migrated by a newer zohomirror"
	}
	return "the database is not migrated to this version's schema"
}

// Hint says what to do.
func (e *SchemaError) Hint() string {
	if e.Found > e.Want {
		return "deploy the newer version everywhere; this one would not know what it writes to"
	}
	return "run: zohomirror migrate"
}

// PostgreSQL's codes for what this package tells apart
// (https://www.postgresql.org/docs/current/errcodes-appendix.html).
const (
	codeDivisionByZero   = "22012"
	codeLockNotAvailable = "55P03"
	codeUndefinedTable   = "42P01"
)

func sqlState(err error) string {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		return pgErr.Code
	}
	return ""
}

// An unreachable database's error says why without its address and user: answers and logs
// show no part of DATABASE_URL.
type unreachable struct{ cause error }

func (e unreachable) Unwrap() error { return e.cause }

func (e unreachable) Error() string {
	var refused *pgconn.PgError
	var dns *net.DNSError
	var network *net.OpError
	switch {
	case errors.As(e.cause, &refused):
		return "the database refuses the connection: " + refused.Message + " (SQLSTATE " + refused.Code + ")"
	case untrusted(e.cause) != "":
		return "the database is not trusted: " + untrusted(e.cause)
	case errors.As(e.cause, &dns):
		return "the database cannot be reached: its host name cannot be resolved"
	case errors.As(e.cause, &network):
		return "the database cannot be reached: " + network.Err.Error()
	case errors.Is(e.cause, context.DeadlineExceeded):
		return "the database cannot be reached in time"
	default:
		return "the database cannot be reached"
	}
}

// untrusted says why a server's certificate was refused, without its address.
func untrusted(err error) string {
	var invalid *tls.CertificateVerificationError
	var name x509.HostnameError
	switch {
	case errors.As(err, &name):
		return "its certificate is for another host name"
	case errors.As(err, &invalid), errors.As(err, new(x509.UnknownAuthorityError)):
		return "its certificate is not signed by an authority that is trusted, or no longer valid"
	case strings.Contains(err.Error(), "server refused TLS connection"): // pgconn gives it no type
		return "it does not speak TLS"
	}
	return ""
}

// conceal hides what an error of connecting shows of the address.
func conceal(err error) error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		return unreachable{err}
	}
	return err
}

// rowFault reports whether the database refused a row, not the call or the run:
// data exceptions, violated constraints and exceeded limits only.
func rowFault(err error) bool {
	code := sqlState(err)
	return strings.HasPrefix(code, "22") || strings.HasPrefix(code, "23") || strings.HasPrefix(code, "54")
}

var hints = map[string]string{
	"08P01": "the pooler answers, but not the database behind it: is it running, and has it a connection left? The next run goes on by itself",
	"25006": "the database is read-only: point DATABASE_URL at the primary, and see whether the provider froze it for its disk or its bill",
	"25P03": "this process stood still for more than 10 s in the middle of a page: something freezes it; the next run goes on by itself",
	"28000": "the database refuses this user: check DATABASE_URL's user, and the server's pg_hba.conf",
	"28P01": "the database refuses this password: check DATABASE_URL",
	"3D000": "there is no such database: check the name in DATABASE_URL",
	"3F000": "the user's search path names no schema that is there: create it, and make the user its owner, or ALTER ROLE … SET search_path",
	"42501": "the database user lacks a right: run zohomirror migrate as the owner, and grant zohomirror_service to this user",
	"42P01": "the database is not migrated: run zohomirror migrate",
	"42703": "the tables do not have the columns of this version: run zohomirror migrate",
	"53100": "the database's disk is full: make room; the next run goes on by itself",
	"53300": "the database has no connection left: use a pooler's URL or raise max_connections",
	"55P03": "another transaction holds a lock for more than 10 s: look for it in pg_stat_activity",
	"57014": "a statement took more than 10 s: look at the database's load",
	"57P01": "the database ended the connection, as it does when it restarts or an administrator says so: the next run goes on by itself",
	"57P02": "the database crashed and is starting again: the next run goes on by itself; its own log says why",
	"57P03": "the database is starting or shutting down: the next run goes on by itself",
}

// Hint says what the operator should do about an error of the database; it is empty
// where there is nothing better to say than the error itself.
func Hint(err error) string {
	if hint, ok := hints[sqlState(err)]; ok {
		return hint
	}
	var dns *net.DNSError
	var network *net.OpError
	var connect *pgconn.ConnectError
	switch {
	case untrusted(err) != "":
		return "set DATABASE_CA_CERT to the certificate of the authority that signed the server's (Supabase: Database → SSL configuration → download), and take the host name from the provider's connection string"
	case errors.Is(err, ErrLockLost):
		return "nothing is lost: the run that took the lock over goes on. If it happens often, LOCK_STALE_AFTER is too short, or something freezes the process"
	case errors.As(err, &connect) && sqlState(err) == "XX000": // Supabase's pooler has no other code
		return "the pooler does not know this user or project: on Supabase the user is postgres.<project ref>, and the host is the one that the project's dashboard shows"
	case errors.As(err, &dns):
		return "the host name in DATABASE_URL is not known: check its spelling; Supabase pauses free projects, whose names then vanish"
	case errors.As(err, &network), errors.As(err, &connect):
		return "the database does not answer at the address in DATABASE_URL: is it running, and reachable from here?"
	case errors.Is(err, context.DeadlineExceeded):
		return "the database did not answer in time: look at its load and its locks, and whether it, or the pooler before it, has a connection left"
	case lost(err):
		return "the connection to the database broke: the next run goes on by itself. If it happens often, look at the database's or the pooler's own log"
	default:
		return ""
	}
}

// IsFault reports whether an error is the database's, or of the way to it.
func IsFault(err error) bool {
	var connect unreachable
	return sqlState(err) != "" || errors.As(err, &connect) || lost(err)
}
