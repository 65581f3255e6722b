package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"zohomirror/internal/crm"
)

// LeastVersion of PostgreSQL: the views check the rights of whoever asks (security_invoker).
const LeastVersion = 15

// Server is what the database says of itself.
type Server struct {
	Version  string // e.g. 17.4
	Major    int
	Schema   string // in which unqualified names are made; empty: in none
	ReadOnly bool
}

// Server asks the database for its version, and whether it can be written to.
func (s *Store) Server(ctx context.Context) (Server, error) {
	const query = `SELECT current_setting('server_version'), current_setting('server_version_num')::int / 10000,
	coalesce(current_schema(), ''), pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean`
	var server Server
	err := s.pool.QueryRow(ctx, query).Scan(&server.Version, &server.Major, &server.Schema, &server.ReadOnly)
	server.Version, _, _ = strings.Cut(server.Version, " ") // what the packager adds
	return server, conceal(err)
}

// CheckSchema returns a *SchemaError where the schema is not this version's.
func (s *Store) CheckSchema(ctx context.Context) error {
	schema := &SchemaError{Want: SchemaVersion}
	err := s.pool.QueryRow(ctx, schemaVersion).Scan(&schema.Found)
	switch {
	case sqlState(err) == codeUndefinedTable:
		return schema
	case err != nil:
		return fmt.Errorf("read the schema's version: %w", conceal(err))
	case schema.Found != SchemaVersion:
		return schema
	}
	return nil
}

// Denied reports whether the database refuses a user what it asks for.
func Denied(err error) bool { return sqlState(err) == "42501" }

// Exposed is what somebody may do with a relation of ours who should not, and the statement
// that ends it.
type Exposed struct {
	Name   string
	What   string
	Remedy string
}

// exposures are of all relations that are ours. Roles that are not there expose nothing.
const exposures = `
WITH ours AS (
	SELECT c.oid, c.relname, c.relkind, c.relrowsecurity, c.oid::regclass::text AS name
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
	  AND (c.relname = ANY ($1::text[]) OR c.relname LIKE 'sync\_%')
), outsiders AS (
	SELECT 'public' AS role UNION ALL SELECT rolname FROM pg_roles WHERE rolname IN ('anon', 'authenticated')
)
SELECT name, 'has no row level security' AS what, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', name) AS remedy
FROM ours WHERE relkind IN ('r', 'p') AND NOT relrowsecurity
UNION ALL
SELECT o.name, format('%s may %s', r.role, string_agg(p.privilege, ', ' ORDER BY p.privilege)),
       format('REVOKE ALL ON %s %s FROM %s;', CASE o.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, o.name, r.role)
FROM ours o CROSS JOIN outsiders r CROSS JOIN LATERAL (
	SELECT privilege FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS t (privilege)
	WHERE o.relkind <> 'S' AND (has_table_privilege(r.role, o.oid, privilege)
		OR privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES') AND has_any_column_privilege(r.role, o.oid, privilege))
	UNION ALL
	SELECT privilege FROM unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS s (privilege)
	WHERE o.relkind = 'S' AND has_sequence_privilege(r.role, o.oid, privilege)
) AS p
GROUP BY o.name, o.relkind, r.role
ORDER BY 1, 2`

// Exposed lists whatever of ours is open to everybody, or to the roles of Supabase's Data API.
func (s *Store) Exposed(ctx context.Context) ([]Exposed, error) {
	var names []string
	for _, module := range crm.Modules() {
		names = append(names, module, module+"_live")
	}
	rows, err := s.pool.Query(ctx, exposures, names)
	if err != nil {
		return nil, fmt.Errorf("read the rights on the tables: %w", conceal(err))
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Exposed])
	if err != nil {
		return nil, fmt.Errorf("read the rights on the tables: %w", conceal(err))
	}
	return all, nil
}

// lacking: a user that is not the owner is bound by row level security, whose policies let
// zohomirror_service in.
const lacking = `
SELECT c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relname = ANY ($1::text[])
  AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
	AND (NOT row_security_active(c.oid)
		OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'zohomirror_service' AND pg_has_role(oid, 'USAGE'))))
ORDER BY 1`

// Lacking lists tables that a run writes to and this user may not write to.
func (s *Store) Lacking(ctx context.Context) ([]string, error) {
	rows, err := s.pool.Query(ctx, lacking, append(crm.Modules(), "sync_runs", "sync_locks", "sync_watermarks", "sync_quarantine", "sync_tokens", "sync_metadata"))
	if err != nil {
		return nil, fmt.Errorf("read this user's rights: %w", conceal(err))
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("read this user's rights: %w", conceal(err))
	}
	return names, nil
}

// Kinds of a connection string.
const (
	KindPlain               = "not one of Supabase's"
	KindSupabaseDirect      = "Supabase, direct"
	KindSupabaseDedicated   = "Supabase, dedicated pooler (transaction mode)"
	KindSupabaseSession     = "Supabase, session pooler"
	KindSupabaseTransaction = "Supabase, transaction pooler"
)

// errPoolerUser: a shared pooler tells the projects apart by the user's name.
var errPoolerUser = errors.New("the pooler wants the project in the user's name: postgres.<project>, not postgres")

// Kind tells what a connection string leads to, by its host and port
// (https://supabase.com/docs/guides/database/connecting-to-postgres).
func Kind(databaseURL string) (kind string, err error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return "", errNoAddress
	}
	host, port, user := strings.ToLower(config.ConnConfig.Host), config.ConnConfig.Port, config.ConnConfig.User
	const transactionPort = 6543
	switch {
	case strings.HasSuffix(host, ".pooler.supabase.com"):
		kind = KindSupabaseSession
		if port == transactionPort {
			kind = KindSupabaseTransaction
		}
		if !strings.Contains(user, ".") {
			return kind, errPoolerUser
		}
	case strings.HasPrefix(host, "db.") && strings.HasSuffix(host, ".supabase.co"):
		kind = KindSupabaseDirect
		if port == transactionPort {
			kind = KindSupabaseDedicated
		}
	default:
		kind = KindPlain
	}
	return kind, nil
}
