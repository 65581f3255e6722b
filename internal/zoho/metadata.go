package zoho

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Field is one field of a module, as far as a mirror needs to know it.
type Field struct {
	APIName  string `json:"api_name"`
	DataType string `json:"data_type"`
}

// User is one user of the org, whatever the status.
type User struct {
	ID       string `json:"id"`
	FullName string `json:"full_name"`
}

type fieldsAnswer struct {
	Fields []Field `json:"fields"`
}

// Fields lists all fields of a module, used or not. It is empty for a module without
// readable fields.
func (c *Client) Fields(ctx context.Context, module string) ([]Field, error) {
	got, err := c.do(ctx, call{
		name: "fields metadata of " + module, scope: "ZohoCRM.settings.fields.READ",
		method: http.MethodGet, path: "/crm/v8/settings/fields",
		params: url.Values{"module": {module}, "type": {"all"}}, // by default unused fields are left out
		decode: decodeInto[fieldsAnswer],
	})
	if err != nil {
		return nil, err
	}
	answer, _ := got.value.(fieldsAnswer) // none with a 204
	return answer.Fields, nil
}

// usersPage is the most that a page of users may hold.
const usersPage = 200

type usersAnswer struct {
	Users []User `json:"users"`
	Info  struct {
		More bool `json:"more_records"`
	} `json:"info"`
}

// Users lists all users of the org, disabled ones included: COQL does not name those.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	var all []User
	for page := 1; ; page++ {
		got, err := c.do(ctx, call{
			name: "users", scope: "ZohoCRM.users.READ",
			method: http.MethodGet, path: "/crm/v8/users",
			params: url.Values{"type": {"AllUsers"}, "page": {strconv.Itoa(page)}, "per_page": {strconv.Itoa(usersPage)}},
			decode: decodeInto[usersAnswer],
		})
		if err != nil {
			return nil, err
		}
		answer, ok := got.value.(usersAnswer)
		if !ok { // 204
			return all, nil
		}
		all = append(all, answer.Users...)
		if !answer.Info.More {
			return all, nil
		}
	}
}

// decodeInto reads a small answer whole, unless it is an error in spite of its status.
func decodeInto[T any](from io.Reader, got *answer) error {
	text, err := io.ReadAll(from)
	if err != nil {
		return err
	}
	var body errorBody
	if json.Unmarshal(text, &body) == nil && body.Code != "" && body.Status == "error" {
		failure := body.asError()
		failure.transient = failure.isTransient()
		return failure
	}
	var value T
	if err := json.Unmarshal(text, &value); err != nil {
		return fmt.Errorf("an answer of an unexpected form: %w", err)
	}
	got.value = value
	return nil
}
