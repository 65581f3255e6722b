package mirror

import (
	"context"

	"zohomirror/internal/postgres"
)

// Health returns how modules stand: those named, or all that ever ran. State judges each by
// how old its last good run may be.
func (m *Mirror) Health(ctx context.Context, names ...string) ([]postgres.Health, error) {
	all, err := m.db.Health(ctx)
	if err == nil && len(names) > 0 {
		all = postgres.Named(all, names)
	}
	return all, err
}

// State judges a module: see [postgres.Health.State].
func (m *Mirror) State(h postgres.Health) string {
	return h.State(m.staleAfter())
}
