package mirror

// A Meaning says what a class of failures is and what to do about it. Slack, the dashboard and
// docs/runbook.md say it in these words, each as much of it as it has room for.
type Meaning struct {
	Title string // in one clause
	Text  string
	ToDo  string // for where the error itself knows nothing better
}

// MeaningOf is what a cause means. What a run of another version calls by a name that is not
// known here, or by none, is unexpected.
func MeaningOf(cause string) Meaning {
	if m, ok := meanings[cause]; ok {
		return m
	}
	return meanings[CauseInternal]
}

var meanings = map[string]Meaning{
	CauseCredentials: {
		"Zoho refuses the client or its refresh token",
		"Zoho's accounts host knows the client or the refresh token no longer, or never did. Most often the data centre is wrong, or the token was revoked: by a person, or by the twenty-first consent of the same user and client.",
		"If it never worked, it is the data centre: compare ZOHO_DC with the ending of your CRM's address. If it worked yesterday, make a new code and run zohomirror auth exchange --code …",
	},
	CauseScope: {
		"the consent lacks a scope",
		"The refresh token was given without a right that this module needs, or the right was taken away.",
		"Consent anew with the scopes of the README.",
	},
	CauseLimit: {
		"Zoho's limits of credits, calls or tokens are used up",
		"The org's API credits of the last 24 hours are used up, too many calls ran at once, or more than ten access tokens were asked for in ten minutes. Zoho lets the next run in again when its window has passed.",
		"Wait: credits come back over the day, tokens after ten minutes. If it comes again, look for the other program: Setup → Developer Hub → APIs → Usage, and whatever shares the refresh token.",
	},
	CauseZoho: {
		"Zoho is in trouble or cannot be reached",
		"Zoho answered with a fault of its own, or not at all, although the run asked up to five times more.",
		"Nothing: the next run tries again. If it lasts for more than an hour, look at Zoho's status page, then at this machine's way out (proxy, DNS, firewall).",
	},
	CauseQuery: {
		"Zoho refuses what was asked for",
		"Zoho does not take a query. That is rare, and most often a field or module has changed while the run was at work. A column that Zoho refuses is left out by itself and tried again daily; what remains is a fault of ours.",
		"Look at the details for the column, and report it with the error.",
	},
	CauseUnavailable: {
		"Zoho does not offer this module to the user who consented",
		"The org does not have this module, or the user who gave the consent may not read it. Other modules go on.",
		"Let an administrator consent, or enable the module, or remove its call from the scheduler.",
	},
	CauseMassDelete: {
		"unusually many records would be marked as deleted, and a person must decide",
		"More than SYNC_MASS_DELETE_PERCENT of the module's rows would be marked as deleted at once: Zoho lists them so, or no longer shows them. None was marked; edits go on.",
		"Look into Zoho's recycle bin. If it was a mistake, restore the records there. If it was meant, give your word once with --accept-mass-delete.",
	},
	CauseSchema: {
		"the database's schema is of another version",
		"The database's schema is older or newer than this program.",
		"If the database is the older one, run zohomirror migrate. If it is the newer one, deploy the newer program everywhere.",
	},
	CauseDatabase: {
		"the database is in trouble or cannot be reached",
		"PostgreSQL refused a statement, stopped, or could not be reached. What was committed before stays.",
		"See whether it is running, can be reached from here, and has room on its disk and a connection left.",
	},
	CauseLockLost: {
		"another run took the lock over",
		"This run showed no progress for LOCK_STALE_AFTER, so another one took its place. It has written nothing since.",
		"Nothing, once. If it happens often, something freezes the process (a laptop's sleep, a platform that pauses what has answered), or LOCK_STALE_AFTER is too short.",
	},
	CauseKilled: {
		"the process was killed",
		"The process ended before it could close this run: a crash, an out-of-memory kill, a time-out of the platform, or a restart. Its successor noticed.",
		"Nothing, once. If it happens often: is SYNC_DEADLINE below the platform's limit? Has the process enough memory?",
	},
	CausePanic: {
		"the program has a fault",
		"The program met a state that it does not know. That is our mistake; the log has the stack, and so has Sentry.",
		"Report it with the stack.",
	},
	CauseInternal: {
		"something unexpected happened",
		"The run failed in a way that has no class of its own. The error says more.",
		"Run it again. If it fails in the same way, look into the log for the run's id, and report it.",
	},
}
