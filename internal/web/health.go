package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"zohomirror/internal/crm"
	"zohomirror/internal/postgres"
)

// healthState is the answer of the health check. Anyone may ask, so it names states and
// times; why is in the log and in the run history alone.
type healthState struct {
	Status   string          `json:"status"`   // ok or failing
	Database string          `json:"database"` // ok, unreachable or unreadable
	Modules  *[]moduleHealth `json:"modules,omitempty"`
}

type moduleHealth struct {
	Module   string     `json:"module"`
	State    string     `json:"state"`
	LastOKAt *time.Time `json:"last_ok_at"`
	Lag      *int64     `json:"lag_seconds"`
	Failures int        `json:"failures_in_a_row"`
}

// health says whether the process and its database are at work; deep, whether the modules
// are too.
func (s *server) health(w http.ResponseWriter, r *http.Request) {
	deep, names, err := healthOf(r.URL.Query())
	if err != nil {
		answer(w, http.StatusBadRequest, failure{Error: err.Error(), Modules: crm.Modules()})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), healthLimit)
	defer cancel()
	state := healthState{Status: "ok", Database: "ok"}
	if err := s.mirror.Ping(ctx); err != nil {
		s.log.WarnContext(ctx, "the health check failed", "error", err)
		state.Status, state.Database = "failing", "unreachable"
	} else if deep {
		s.judge(ctx, &state, names)
	}
	status := http.StatusOK
	if state.Status != "ok" {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, state)
}

// judge adds the modules. A mirror in which nothing ever ran is not healthy: a scheduler
// that never called would go unnoticed.
func (s *server) judge(ctx context.Context, state *healthState, names []string) {
	select { // one at a time: whoever asks often must not take the connections of the runs
	case s.judging <- struct{}{}:
		defer func() { <-s.judging }()
	case <-ctx.Done():
		state.Status, state.Database = "failing", "unreadable"
		return
	}
	all, err := s.mirror.Health(ctx, names...)
	if err != nil {
		s.log.WarnContext(ctx, "the health check failed", "error", err)
		state.Status, state.Database = "failing", "unreadable"
		return
	}
	modules := make([]moduleHealth, len(all))
	healthy := len(all) > 0
	for i, h := range all {
		modules[i] = moduleHealth{Module: h.Module, State: s.mirror.State(h), Failures: h.Failures}
		if !h.LastOKAt.IsZero() {
			at := h.LastOKAt.UTC()
			modules[i].LastOKAt = &at
		}
		if h.Lag != nil {
			seconds := int64(*h.Lag / time.Second)
			modules[i].Lag = &seconds
		}
		healthy = healthy && modules[i].State == postgres.StateOK
	}
	state.Modules = &modules
	if !healthy {
		state.Status = "failing"
	}
}

// healthOf reads what the address asks for.
func healthOf(query url.Values) (deep bool, names []string, err error) {
	if text := query.Get("deep"); text != "" {
		if deep, err = strconv.ParseBool(text); err != nil {
			return false, nil, fmt.Errorf("deep is %.40q: write 1", text)
		}
	}
	for _, name := range query["module"] {
		if _, ok := crm.Find(name); !ok {
			return false, nil, fmt.Errorf("there is no module %.40q", name)
		}
		names = append(names, name)
	}
	return deep, names, nil
}
