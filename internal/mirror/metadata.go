package mirror

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/zoho"
)

const (
	metadataAge = time.Hour      // fields and users are asked for again after this
	refusedAge  = 24 * time.Hour // what Zoho refused is tried again after this
)

// metadata is what the run knows of the module beyond the catalogue. A part that the token
// may not read is kept as unavailable, so that Zoho is not asked for it at each run.
type metadata struct {
	fields  fieldsEntry
	users   usersEntry
	refused map[string]time.Time // column → when Zoho refused it
	columns columnsEntry
	retried []string // columns that were refused, and are tried again
}

type fieldsEntry struct {
	Unavailable bool         `json:"unavailable,omitempty"`
	Fields      []zoho.Field `json:"fields,omitempty"`
	Gone        []string     `json:"gone,omitempty"` // could be read once
}

type usersEntry struct {
	Unavailable bool              `json:"unavailable,omitempty"`
	Names       map[string]string `json:"names,omitempty"` // by user id
}

// readMetadata takes fields, users and refused columns from the database, and those that
// are missing or an hour old from Zoho.
func (r *run) readMetadata(ctx context.Context) error {
	module := r.claimed.Module
	err := cached(ctx, r, "fields:"+module.Name, &r.meta.fields, func() (fieldsEntry, error) {
		fields, err := r.zoho.Fields(ctx, module.API)
		if unavailable(err) || err == nil && len(fields) == 0 {
			if known := r.meta.fields; len(known.Fields) > 0 { // the scope was taken away: rows go on as they were
				r.log.WarnContext(ctx, "the fields metadata cannot be read any more: the last known serves", "error", err,
					"hint", "give the token the scope ZohoCRM.settings.fields.READ")
				return known, nil
			}
			r.log.WarnContext(ctx, "the fields metadata cannot be read: custom_fields are left as they are", "error", err,
				"hint", "give the token the scope ZohoCRM.settings.fields.READ")
			return fieldsEntry{Unavailable: true, Gone: r.meta.fields.Gone}, nil
		} else if err != nil {
			return fieldsEntry{}, err
		}
		if err := lacks(module, fields); err != nil {
			return fieldsEntry{}, err
		}
		return r.noticeFields(ctx, fields)
	})
	if err != nil {
		return err
	}
	err = cached(ctx, r, "users", &r.meta.users, func() (usersEntry, error) {
		users, err := r.zoho.Users(ctx)
		if unavailable(err) {
			if known := r.meta.users; len(known.Names) > 0 {
				r.log.WarnContext(ctx, "the users cannot be read any more: the last known names serve", "error", err,
					"hint", "give the token the scope ZohoCRM.users.READ")
				return known, nil
			}
			r.log.WarnContext(ctx, "the users cannot be read: their names are left as they are", "error", err,
				"hint", "give the token the scope ZohoCRM.users.READ")
			return usersEntry{Unavailable: true}, nil
		}
		names := make(map[string]string, len(users))
		for _, u := range users {
			names[u.ID] = u.FullName
		}
		return usersEntry{Names: names}, err
	})
	if err != nil {
		return err
	}
	return errors.Join(r.readRefused(), r.readColumns())
}

// unavailable reports whether the token may not read something, now or later.
func unavailable(err error) bool { return zoho.IsScope(err) || zoho.NoPermission(err) }

// cached fills entry from the database's cache, or asks and keeps the answer. Where the
// answer does not come, an old one serves; without any the run fails, for it would leave
// holes that nobody sees.
func cached[T any](ctx context.Context, r *run, key string, entry *T, ask func() (T, error)) error {
	stored, known := r.claimed.Metadata[key]
	if known {
		if err := json.Unmarshal(stored.Body, entry); err != nil {
			return fmt.Errorf("read the cached metadata %s: %w", key, err)
		}
		if stored.Age < metadataAge {
			return nil
		}
	}
	fresh, err := ask()
	switch {
	case err != nil && known && ctx.Err() == nil:
		r.log.WarnContext(ctx, "metadata could not be renewed: the last known one serves", "key", key, "error", err)
		return nil
	case err != nil:
		return fmt.Errorf("read %s of %s: %w", key, r.claimed.Module.Name, err)
	}
	*entry = fresh
	return r.db.SaveMetadata(ctx, key, fresh)
}

func (r *run) refusedKey() string { return "refused:" + r.claimed.Module.Name }

func (r *run) readRefused() error {
	r.meta.refused = map[string]time.Time{}
	if stored, ok := r.claimed.Metadata[r.refusedKey()]; ok {
		if err := json.Unmarshal(stored.Body, &r.meta.refused); err != nil {
			return fmt.Errorf("read the refused columns of %s: %w", r.claimed.Module.Name, err)
		}
	}
	maps.DeleteFunc(r.meta.refused, func(column string, at time.Time) bool {
		old := time.Since(at) > refusedAge
		if old {
			r.meta.retried = append(r.meta.retried, column)
		}
		return old
	})
	return nil
}

// refuse leaves a column out that Zoho does not know, for this run and, for a day, for all.
func (r *run) refuse(ctx context.Context, column string) error {
	module := r.claimed.Module
	if module.Essential(column) {
		return &lackError{module.Name, column}
	}
	if !slices.Contains(r.plan.Select, column) {
		return fmt.Errorf("%s cannot be read without the column %s", module.Name, column)
	}
	r.log.WarnContext(ctx, "Zoho does not know a column: it is left out, and its stored values stay", "column", column,
		"hint", "if an administrator deleted the field, nothing is to be done; it is tried again within a day")
	r.meta.refused[column] = time.Now()
	r.replan()
	return r.noticeRefusal(ctx, column)
}

// replan settles what the run reads and writes from what it knows now.
func (r *run) replan() {
	meta := crm.Metadata{
		Fields:  r.meta.fields.Fields,
		Users:   r.meta.users.Names,
		Refused: slices.Collect(maps.Keys(r.meta.refused)),
		Gone:    r.meta.fields.Gone,
		Money:   r.claimed.Money,

		MaxColumns: r.meta.columns.Max,
	}
	if !r.meta.users.Unavailable && meta.Users == nil {
		meta.Users = map[string]string{}
	}
	r.plan = r.claimed.Module.Plan(meta)
	r.writer = r.claimed.Writer(r.plan)
}
