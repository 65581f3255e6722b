package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"zohomirror/internal/zoho"
)

var _ zoho.TokenStore = (*Store)(nil)

const tokenGet = `SELECT sealed, expires_at, not_before FROM sync_tokens WHERE fingerprint = $1`

// tokenLock makes the row where it is missing and locks it in any case.
const tokenLock = `
INSERT INTO sync_tokens (fingerprint) VALUES ($1)
ON CONFLICT (fingerprint) DO UPDATE SET fingerprint = excluded.fingerprint
RETURNING sealed, expires_at, not_before`

const tokenPut = `
UPDATE sync_tokens
SET sealed = $2, expires_at = $3, not_before = $4, updated_at = clock_timestamp()
WHERE fingerprint = $1`

// Token implements [zoho.TokenStore].
func (s *Store) Token(ctx context.Context, fingerprint string) (zoho.StoredToken, error) {
	token, err := scanToken(s.pool.QueryRow(ctx, tokenGet, fingerprint))
	if errors.Is(err, pgx.ErrNoRows) {
		return zoho.StoredToken{}, nil
	}
	if err != nil {
		return zoho.StoredToken{}, fmt.Errorf("read the stored access token: %w", conceal(err))
	}
	return token, nil
}

// UpdateToken implements [zoho.TokenStore]: the row's lock makes one refresh serve all processes.
func (s *Store) UpdateToken(ctx context.Context, fingerprint string, update func(context.Context, zoho.StoredToken) (zoho.StoredToken, error)) error {
	var failed error
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		stored, err := scanToken(tx.QueryRow(ctx, tokenLock, fingerprint))
		if err != nil {
			return err
		}
		var token zoho.StoredToken
		token, failed = update(ctx, stored)
		_, err = tx.Exec(ctx, tokenPut, fingerprint, token.Sealed, nullTime(token.ExpiresAt), nullTime(token.NotBefore))
		return err
	})
	if failed != nil {
		return failed
	}
	if err != nil {
		return fmt.Errorf("store the access token: %w", err)
	}
	return nil
}

func scanToken(row pgx.Row) (zoho.StoredToken, error) {
	var token zoho.StoredToken
	var expires, notBefore *time.Time
	if err := row.Scan(&token.Sealed, &expires, &notBefore); err != nil {
		return zoho.StoredToken{}, err
	}
	if expires != nil {
		token.ExpiresAt = *expires
	}
	if notBefore != nil {
		token.NotBefore = *notBefore
	}
	return token, nil
}
