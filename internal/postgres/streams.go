package postgres

import (
	"context"
	"fmt"

	"zohomirror/internal/crm"
)

const streamsRemove = `DELETE FROM sync_watermarks WHERE module = $1 AND stream = ANY ($2)`

// RemoveStreams forgets streams that were read once and to their end.
func (w *Writer) RemoveStreams(ctx context.Context, names []string) error {
	err := w.run.fenced(ctx, []statement{{
		sql: streamsRemove, values: [][]byte{[]byte(w.run.Module.Name), textArray(names)},
		oids: []uint32{0, arrayOID(crm.Text)}, formats: []int16{0, 1},
	}})
	if err != nil {
		return fmt.Errorf("remove the streams %v of %s: %w", names, w.run.Module.Name, err)
	}
	return nil
}
