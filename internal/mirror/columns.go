package mirror

import (
	"context"
	"encoding/json"
	"fmt"
)

// columnsEntry is how many columns a SELECT of the module may name: half of what Zoho
// refused last. Zero is what Zoho documents.
type columnsEntry struct {
	Max int `json:"max"`

	untold bool // no other process knows yet
}

func (r *run) columnsKey() string { return "columns:" + r.claimed.Module.Name }

// readColumns takes the bound that another process has found, unless it is time to try
// more columns again.
func (r *run) readColumns() error {
	stored, ok := r.claimed.Metadata[r.columnsKey()]
	if !ok || stored.Age > refusedAge {
		return nil
	}
	if err := json.Unmarshal(stored.Body, &r.meta.columns); err != nil {
		return fmt.Errorf("read how many columns of %s a query may name: %w", r.claimed.Module.Name, err)
	}
	return nil
}

// narrow halves the number of columns that a SELECT names, for Zoho refused as many.
func (r *run) narrow(ctx context.Context) error {
	refused := r.plan.Width()
	r.meta.columns = columnsEntry{Max: refused / 2, untold: true}
	r.replan()
	if r.plan.Width() >= refused {
		return &narrowestError{module: r.claimed.Module.Name, columns: refused}
	}
	r.log.WarnContext(ctx, "Zoho refuses so many columns: the module is read in narrower slices", "columns", refused,
		"slices", len(r.plan.Slices), "hint", "nothing is to be done; more columns are tried again within a day")
	return nil
}

// keepColumns tells every process for a day what a page has proved to be narrow enough.
func (r *run) keepColumns(ctx context.Context) error {
	if !r.meta.columns.untold {
		return nil
	}
	r.meta.columns.untold = false
	return r.db.SaveMetadata(ctx, r.columnsKey(), r.meta.columns)
}

// narrowestError says that Zoho refuses queries as narrow as they can be.
type narrowestError struct {
	module  string
	columns int
}

func (e *narrowestError) Error() string {
	return fmt.Sprintf("%s cannot be read: Zoho finds a query of %d columns too large, and no narrower one would do", e.module, e.columns)
}

// Hint says what the operator should do.
func (e *narrowestError) Hint() string {
	return "it is not the number of columns that Zoho refuses: please report this with the details of the error"
}
