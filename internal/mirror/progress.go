package mirror

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"zohomirror/internal/crm"
	"zohomirror/internal/zoho"
)

// Rows is how many rows the mirror holds of a module, deleted ones left out.
func (m *Mirror) Rows(ctx context.Context, module *crm.Module) (int64, error) {
	return m.db.Rows(ctx, module)
}

// Records is how many records Zoho shows of a module, which costs a credit a stream; known
// is false where Zoho does not take the question.
func (m *Mirror) Records(ctx context.Context, module *crm.Module) (n int64, known bool, err error) {
	var filters []string // of streams that show other records
	for _, stream := range module.Streams {
		if !slices.Contains(filters, stream.Filter) {
			filters = append(filters, stream.Filter)
		}
	}
	for _, filter := range filters {
		if filter == "" {
			filter = "id is not null"
		}
		reply, err := m.zoho.Ask(ctx, zoho.Question{COQL: fmt.Sprintf("select COUNT(id) as n from %s where %s", module.API, filter)})
		if err != nil {
			return 0, false, err
		}
		if reply.Status == http.StatusNoContent {
			continue
		}
		var answer struct {
			Data []struct {
				N int64 `json:"n"`
			} `json:"data"`
		}
		if reply.Code != "" || json.Unmarshal(reply.Body, &answer) != nil || len(answer.Data) != 1 {
			return 0, false, nil
		}
		n += answer.Data[0].N
	}
	return n, true, nil
}
