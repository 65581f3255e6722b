package postgres

import (
	"context"
	"encoding/json"
	"fmt"
)

const metadataPut = `
INSERT INTO sync_metadata AS m (key, body, fetched_at) VALUES ($1, $2::jsonb, clock_timestamp())
ON CONFLICT (key) DO UPDATE SET body = excluded.body, fetched_at = excluded.fetched_at`

// SaveMetadata keeps what Zoho said about itself for every process. Keys are users, or
// a name and the module as in fields:leads.
func (s *Store) SaveMetadata(ctx context.Context, key string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode metadata %s: %w", key, err)
	}
	if _, err := s.pool.Exec(ctx, metadataPut, key, string(body)); err != nil {
		return fmt.Errorf("keep metadata %s: %w", key, conceal(err))
	}
	return nil
}
