package web

import (
	"net/http"
	"strings"

	"zohomirror/internal/mirror"
)

// schedulers are told by how their user agents begin. An agent is only the caller's word:
// it names a run in the history and decides nothing.
var schedulers = []struct{ prefix, trigger string }{
	{"vercel-cron/", mirror.TriggerVercel},
	{"Google-Cloud-Scheduler", mirror.TriggerGoogle},
	{"pg_net/", mirror.TriggerPgNet},
	{"curl/", mirror.TriggerCurl},
}

func triggerOf(r *http.Request) string {
	agent := r.UserAgent()
	for _, s := range schedulers {
		if strings.HasPrefix(agent, s.prefix) {
			return s.trigger
		}
	}
	return mirror.TriggerOther
}
