// Package postgres holds every line of SQL: the lock and its fence, the run history,
// checkpoints, the page upsert, the quarantine, tokens and the cache of metadata.
//
// It works through a transaction pooler: no statement is prepared under a name, no
// lock outlives its transaction, and what belongs together travels in one pipeline,
// which PostgreSQL treats as one transaction and one round trip.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// limit bounds each statement, each wait for a lock and each pause inside a
// transaction, so that a frozen process cannot keep a lock row from the next run.
const limit = 10 * time.Second

// setLimits begins every transaction that writes. The wait for a lock is its argument.
const setLimits = `SELECT set_config('statement_timeout', '10s', true),
	set_config('lock_timeout', $1, true),
	set_config('idle_in_transaction_session_timeout', '10s', true)`

// Store is the mirror's database.
type Store struct {
	pool *pgxpool.Pool
	log  *slog.Logger
}

// Open prepares a store without connecting. It fails only for a URL that cannot be used.
func Open(ctx context.Context, databaseURL string, log *slog.Logger) (*Store, error) {
	config, err := poolConfig(databaseURL)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	return &Store{pool: pool, log: log}, nil
}

var errNoAddress = errors.New("DATABASE_URL is not a PostgreSQL connection string")

func poolConfig(databaseURL string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(databaseURL)
	if err != nil {
		return nil, errNoAddress // err may quote it
	}
	if err := settle(config); err != nil {
		return nil, err
	}
	// A function has many instances and a database few connections.
	config.MaxConns = 4
	config.MaxConnIdleTime = 30 * time.Second
	config.ConnConfig.ConnectTimeout = 5 * time.Second
	config.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.ConnConfig.RuntimeParams["application_name"] = "zohomirror"
	return config, nil
}

// WithLog returns a store that shares everything with s but writes its log to log.
func (s *Store) WithLog(log *slog.Logger) *Store { return &Store{pool: s.pool, log: log} }

// Close ends all connections.
func (s *Store) Close() { s.pool.Close() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return conceal(err)
	}
	return nil
}

// send sends small statements as one transaction in one round trip. read gets the
// results in the order of the statements; it must read each.
func (s *Store) send(ctx context.Context, batch *pgx.Batch, read func(pgx.BatchResults) error) error {
	results := s.pool.SendBatch(ctx, batch)
	err := read(results)
	if closed := results.Close(); err == nil {
		err = closed
	}
	return conceal(err)
}

// execute runs the steps of a page; see pipeline.
func (s *Store) execute(ctx context.Context, buffer *[]byte, steps []statement) (done int, err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return 0, conceal(err)
	}
	defer conn.Release()
	return pipeline{conn.Conn().PgConn(), buffer}.run(ctx, steps)
}

// inTx runs fn in a transaction that has its limits set.
func (s *Store) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	return conceal(pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, setLimits, limit.String()); err != nil {
			return err
		}
		return fn(tx)
	}))
}
