package mirror

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

func TestCause(t *testing.T) {
	for want, errs := range map[string][]error{
		"":               {nil},
		CauseCredentials: {&zoho.Error{Status: 200, Code: "invalid_code"}, &zoho.Error{Status: 401, Code: "INVALID_TOKEN"}, &zoho.Error{Status: 400, Code: "invalid_client"}},
		CauseScope:       {&zoho.Error{Status: 401, Code: "OAUTH_SCOPE_MISMATCH"}},
		CauseLimit:       {&zoho.Error{Status: 429}, &zoho.Error{Status: 400, Code: "Access Denied"}, &zoho.Error{Status: 429, Code: "TOO_MANY_REQUESTS"}},
		CauseZoho:        {&zoho.Error{Status: 503}, &zoho.Error{Message: "no answer"}, &zoho.Error{Status: 500, Code: "INTERNAL_ERROR"}},
		CauseQuery:       {&zoho.Error{Status: 400, Code: "INVALID_QUERY"}, &zoho.Error{Status: 400, Code: "SYNTAX_ERROR"}},
		CauseUnavailable: {&unavailableError{cause: &zoho.Error{Code: "NO_PERMISSION"}}},
		CauseMassDelete:  {&massDeletion{}},
		CauseSchema:      {&postgres.SchemaError{}},
		CauseDatabase:    {&pgconn.PgError{Code: "25006"}, &pgconn.PgError{Code: "53300"}},
		CauseLockLost:    {postgres.ErrLockLost},
		CauseInternal:    {errors.New("odd"), context.Canceled},
	} {
		for _, err := range errs {
			if err != nil {
				err = fmt.Errorf("in a run: %w", err)
			}
			if got := cause(err); got != want {
				t.Errorf("%v: %q, want %q", err, got, want)
			}
		}
	}
}

// A failure is told by what its cause means, and its own hint is the better one.
func TestAlertOf(t *testing.T) {
	killed := MeaningOf(CauseKilled)
	for _, c := range []struct {
		alert       postgres.Alert
		cause, hint string
	}{
		{postgres.Alert{Kind: postgres.AlertFailing, Cause: CauseKilled}, killed.Title, killed.ToDo},
		{postgres.Alert{Kind: postgres.AlertFailing, Cause: CauseKilled, Hint: "wait"}, killed.Title, "wait"},
		{postgres.Alert{Kind: postgres.AlertRecovered}, "", ""},
	} {
		if got := alertOf(c.alert); got.Cause != c.cause || got.Hint != c.hint {
			t.Errorf("%+v: %+v", c.alert, got)
		}
	}
}
