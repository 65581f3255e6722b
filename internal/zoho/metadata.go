package zoho

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// Field is one field of a module, as far as a mirror needs to know it. It is kept in the
// database in this form, which is a tenth of Zoho's.
type Field struct {
	APIName      string   `json:"api_name"`
	DataType     string   `json:"data_type"`
	JSONType     string   `json:"json_type,omitempty"`
	Length       int      `json:"length,omitempty"`
	DecimalPlace int      `json:"decimal_place,omitempty"`
	Returns      string   `json:"returns,omitempty"` // of a formula or roll-up: the real type
	Lookup       string   `json:"lookup,omitempty"`  // the module looked up
	Values       []string `json:"values,omitempty"`  // of a picklist, used or not
	Custom       bool     `json:"custom,omitempty"`
	Virtual      bool     `json:"virtual,omitempty"` // has no value of its own
	Unused       bool     `json:"unused,omitempty"`
}

// User is one user of the org, whatever the status.
type User struct {
	ID       string `json:"id"`
	FullName string `json:"full_name"`
}

type fieldsAnswer struct {
	Fields []fieldAnswer `json:"fields"`
}

// fieldAnswer is a field as Zoho describes it.
type fieldAnswer struct {
	APIName      string     `json:"api_name"`
	DataType     string     `json:"data_type"`
	JSONType     string     `json:"json_type"`
	Length       int        `json:"length"`
	DecimalPlace int        `json:"decimal_place"`
	Formula      returnType `json:"formula"`
	Rollup       returnType `json:"rollup_summary"`
	Custom       bool       `json:"custom_field"`
	Virtual      bool       `json:"virtual_field"`
	Type         string     `json:"type"`
	Lookup       struct {
		Module struct {
			APIName string `json:"api_name"`
		} `json:"module"`
	} `json:"lookup"`
	Values []struct {
		Actual string `json:"actual_value"`
	} `json:"pick_list_values"`
}

type returnType struct {
	Type string `json:"return_type"`
}

// UnmarshalJSON implements [json.Unmarshaler]. A detail of another form than documented
// counts as absent: for its sake no run should fail.
func (f *fieldAnswer) UnmarshalJSON(text []byte) error {
	type plain fieldAnswer
	err := json.Unmarshal(text, (*plain)(f))
	var odd *json.UnmarshalTypeError
	if errors.As(err, &odd) && f.APIName != "" {
		return nil
	}
	return err
}

func (f *fieldAnswer) field() Field {
	field := Field{
		APIName: f.APIName, DataType: f.DataType, JSONType: f.JSONType, Length: f.Length, DecimalPlace: f.DecimalPlace,
		Returns: cmp.Or(f.Formula.Type, f.Rollup.Type), Lookup: f.Lookup.Module.APIName,
		Custom: f.Custom, Virtual: f.Virtual, Unused: f.Type == "unused",
	}
	for _, v := range f.Values {
		if v.Actual != "" {
			field.Values = append(field.Values, v.Actual)
		}
	}
	return field
}

// Fields lists all fields of a module, used or not. It is empty for a module without
// readable fields.
func (c *Client) Fields(ctx context.Context, module string) ([]Field, error) {
	got, err := c.do(ctx, call{
		name: "fields metadata of " + module, scope: ScopeFields,
		method: http.MethodGet, path: "/crm/v8/settings/fields",
		params: url.Values{"module": {module}, "type": {"all"}}, // by default unused fields are left out
		decode: decodeInto[fieldsAnswer],
	})
	if err != nil {
		return nil, err
	}
	answer, _ := got.value.(fieldsAnswer) // none with a 204
	fields := make([]Field, len(answer.Fields))
	for i := range answer.Fields {
		fields[i] = answer.Fields[i].field()
	}
	return fields, nil
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
			name: "users", scope: ScopeUsers,
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
