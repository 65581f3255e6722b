package mirror

import (
	"errors"

	"zohomirror/internal/panics"
	"zohomirror/internal/postgres"
	"zohomirror/internal/zoho"
)

// Classes of a failed run's error, by which alerts and reports are grouped. A killed run's
// is set by whoever finds it.
const (
	CauseCredentials = "zoho-credentials" // client, refresh token or data centre
	CauseScope       = "zoho-scope"
	CauseLimit       = "zoho-limit" // credits, calls or tokens are used up
	CauseZoho        = "zoho"       // in trouble, or not to be reached
	CauseQuery       = "zoho-query" // refuses what was asked for
	CauseUnavailable = "module-unavailable"
	CauseMassDelete  = "mass-delete"
	CauseSchema      = "schema"
	CauseDatabase    = "database"
	CauseLockLost    = "lock-lost"
	CauseKilled      = "killed"
	CausePanic       = "panic"
	CauseInternal    = "internal"
)

// cause classes the error of a run.
func cause(err error) string {
	var unavailable *unavailableError
	var schema *postgres.SchemaError
	var answer *zoho.Error
	var mass *massDeletion
	var fault *panics.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &fault):
		return CausePanic
	case errors.Is(err, postgres.ErrLockLost):
		return CauseLockLost
	case errors.As(err, &unavailable):
		return CauseUnavailable
	case errors.As(err, &schema):
		return CauseSchema
	case errors.As(err, &mass):
		return CauseMassDelete
	case errors.As(err, &answer):
		return zohoCauses[zoho.Class(err)]
	case postgres.IsFault(err):
		return CauseDatabase
	}
	return CauseInternal
}

var zohoCauses = map[string]string{
	zoho.ClassCredentials: CauseCredentials, zoho.ClassScope: CauseScope, zoho.ClassLimit: CauseLimit,
	zoho.ClassTrouble: CauseZoho, zoho.ClassRequest: CauseQuery,
}
