// Package notify tells people: Slack what they must know, Sentry what failed and that a
// tick came.
package notify

import "time"

// Config says whom to tell, and of what. Empty: nobody.
type Config struct {
	SlackWebhook string
	SentryDSN    string
	Environment  string        // production, preview, …
	Release      string        // of this program
	PublicURL    string        // where the dashboard is, without a slash at the end
	Schedule     string        // of the scheduler, in crontab's five fields
	StaleAfter   time.Duration // a module without a good run for so long is told of
}
