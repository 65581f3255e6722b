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

var causeTexts = map[string]string{
	CauseCredentials: "Zoho refuses the client or its refresh token",
	CauseScope:       "the token lacks a scope",
	CauseLimit:       "Zoho's limits are used up: credits, calls or tokens",
	CauseZoho:        "Zoho is in trouble, or cannot be reached",
	CauseQuery:       "Zoho refuses what was asked for",
	CauseUnavailable: "Zoho does not offer this module",
	CauseMassDelete:  "unusually many records are listed as deleted, and a person must decide",
	CauseSchema:      "the database's schema is of another version",
	CauseDatabase:    "the database is in trouble, or cannot be reached",
	CauseLockLost:    "another run took the lock over",
	CauseKilled:      "the process was killed",
	CausePanic:       "a fault of the program",
	CauseInternal:    "an error of no known class",
}

// CauseText says a cause in words; empty where there is none.
func CauseText(cause string) string { return causeTexts[cause] }
