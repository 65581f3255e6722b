package dashboard

import "zohomirror/internal/mirror"

// A meaning says of a class of failures what it is, in one clause and in full.
type meaning struct{ Clause, Text string }

var meanings = map[string]meaning{
	mirror.CauseCredentials: {"Zoho does not accept the credentials",
		"Zoho's accounts host knows the client or the refresh token no longer, or never did. Most often the data centre is wrong, or somebody has revoked the consent."},
	mirror.CauseScope: {"the consent lacks a scope",
		"The refresh token was given without a right that this module needs, or the right was taken away."},
	mirror.CauseLimit: {"Zoho's limits are used up",
		"The org has spent its API credits, calls or tokens for now. Zoho lets the next run in again when its window has passed."},
	mirror.CauseZoho: {"Zoho is in trouble or cannot be reached",
		"Zoho answered with a fault of its own, or not at all, although it was asked again several times."},
	mirror.CauseQuery: {"Zoho refuses the query",
		"Zoho does not take what was asked of it. That is rare, and most often a field or module has changed while the run was at work."},
	mirror.CauseUnavailable: {"the module cannot be read",
		"The org does not have this module, or the user who gave the consent may not read it. Other modules go on."},
	mirror.CauseMassDelete: {"many records are listed as deleted at once",
		"Zoho lists so large a share of the module as deleted that a person should look first. No row was marked; edits go on."},
	mirror.CauseSchema: {"the tables are not of this version",
		"The database's schema is older or newer than this program."},
	mirror.CauseDatabase: {"the database is in trouble",
		"The database refused a statement or could not be reached. What was committed before stays."},
	mirror.CauseLockLost: {"another run took over",
		"This run stood still for so long that another one took its place. It has written nothing since."},
	mirror.CauseKilled: {"the process was killed",
		"The process ended before it could close this run: a time-out of the platform, a crash, or a restart."},
	mirror.CausePanic: {"the program has a fault",
		"The program met a state that it does not know. That is our mistake; the log has the details."},
	mirror.CauseInternal: {"something unexpected happened",
		"The run failed in a way that has no class of its own. The error says more."},
}

func meaningOf(cause string) meaning {
	if m, ok := meanings[cause]; ok {
		return m
	}
	return meanings[mirror.CauseInternal]
}
