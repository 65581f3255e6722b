package postgres

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"zohomirror/internal/crm"
)

// lost reports whether the way to the database broke, or is not there for the moment. What
// was under way may have been committed or not.
func lost(err error) bool {
	if code := sqlState(err); code != "" {
		return strings.HasPrefix(code, "08") || strings.HasPrefix(code, "57P0") || code == "53300"
	}
	var network *net.OpError
	var connect *pgconn.ConnectError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) ||
		errors.As(err, &connect) || pgconn.SafeToRetry(err)
}

// persist repeats do, which must be safe to repeat, while the way to the database is lost.
func persist(ctx context.Context, do func() error) error {
	const longest = time.Second
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, longest) {
		err := do()
		if !lost(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

const lockGiveBack = `
UPDATE sync_locks SET claimed_by = NULL, claimed_at = clock_timestamp()
WHERE module = $1 AND claimed_by = $2::uuid`

const runGiveUp = `
UPDATE sync_runs SET status = 'failed', ended_at = clock_timestamp(), cause = 'database', error = $2, hint = $3
WHERE id = $1::uuid AND status = 'running'`

// giveBack frees the lock that a claim may have taken without learning of it: nobody else
// could before it is stale. A pause of the network of a second or two is waited out.
func (s *Store) giveBack(ctx context.Context, module *crm.Module, id uuid.UUID, cause error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*claimWait)
	defer cancel()
	batch := &pgx.Batch{}
	batch.Queue(setLimits, limit.String())
	batch.Queue(lockGiveBack, module.Name, id.String())
	batch.Queue(runGiveUp, id.String(), cause.Error(), Hint(cause))
	err := persist(ctx, func() error {
		return s.send(ctx, batch, func(pgx.BatchResults) error { return nil })
	})
	if err != nil {
		s.log.WarnContext(ctx, "the lock may be taken, and could not be given back", "error", err,
			"hint", "nothing is to be done: it is taken over when LOCK_STALE_AFTER has passed")
	}
}
