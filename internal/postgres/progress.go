package postgres

import (
	"context"
	"fmt"

	"zohomirror/internal/crm"
)

// Rows counts a module's rows that are not deleted.
func (s *Store) Rows(ctx context.Context, module *crm.Module) (n int64, err error) {
	err = s.pool.QueryRow(ctx, fmt.Sprintf("SELECT count(*) FROM %s WHERE deleted_at IS NULL", module.Name)).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", module.Name, conceal(err))
	}
	return n, nil
}
