package zoho

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// decodesAlike holds a small answer that decodes against itself, encoded and decoded again.
// It reports false where the body is no such answer.
func decodesAlike[T any](t *testing.T, body []byte) (T, bool) {
	t.Helper()
	var got answer
	if err := decodeInto[T](bytes.NewReader(body), &got); err != nil {
		var none T
		if got.value != nil {
			t.Errorf("an error and a value: %v, %+v", err, got.value)
		}
		return none, false
	}
	first := got.value.(T)
	again, err := json.Marshal(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := decodeInto[T](bytes.NewReader(again), &got); err != nil {
		t.Fatalf("%s: %v", again, err)
	}
	if diff := cmp.Diff(first, got.value, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("(-first +second):\n%s", diff)
	}
	return first, true
}

// An entry of the deleted list that is taken has an id, a kind and a time, whatever else it
// has or lacks.
func FuzzDeleted(f *testing.F) {
	for _, seed := range []string{
		`{"data":[{"deleted_by":{"name":"Patricia Boyle","id":"410888000000086001"},"id":"410888000000099071","display_name":"Patricia","type":"recycle","created_by":null,"deleted_time":"2026-11-19T11:19:38+05:30"},{"deleted_by":null,"id":"410888000000680013","display_name":null,"type":"permanent","created_by":null,"deleted_time":"2026-10-26T11:44:15+05:30"}],"info":{"per_page":200,"count":2,"page":1,"more_records":true}}`,
		`{"data":[],"info":{"more_records":false}}`, `{"data":null}`, `{}`, `null`, `[]`, ``,
		`{"data":[{"id":410888000000099071,"type":"recycle","deleted_time":"2026-11-19T11:19:38+05:30"}]}`,
		`{"data":[{"id":"x","type":"recycle","deleted_time":"2026-11-19T11:19:38+05:30"}]}`,
		`{"data":[{"id":"1","type":"lost","deleted_time":"2026-11-19T11:19:38+05:30"}]}`,
		`{"data":[{"id":"1","type":"recycle","deleted_time":null},null]}`,
		`{"data":[{"id":"1","type":"recycle","deleted_time":"2026-11-19"}],"info":{"more_records":"yes"}}`,
		`{"code":"NO_PERMISSION","details":{"permissions":["Crm_Implied_View_Leads"]},"message":"permission denied","status":"error"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		list, ok := decodesAlike[deletedAnswer](t, body)
		if !ok || list.check() != nil {
			return
		}
		for _, d := range list.Data {
			if d.ID == "" || strings.Trim(d.ID, "0123456789") != "" || len(d.ID) > 19 || d.At.IsZero() || d.Kind != "recycle" && d.Kind != "permanent" {
				t.Errorf("taken: %+v", d)
			}
		}
	})
}

func FuzzFields(f *testing.F) {
	for _, seed := range []string{
		`{"fields":[{"id":"5725767000000002611","api_name":"Lead_Source","data_type":"picklist","json_type":"string","length":120,"decimal_place":null,"pick_list_values":[{"display_value":"-None-","actual_value":"-None-","type":"used"}]}]}`,
		`{"fields":[{"api_name":null,"data_type":7}]}`, `{"fields":[{},null]}`, `{"fields":{}}`, `{"fields":null}`,
		`{"Fields":[{"API_NAME":"x"}],"fields":[]}`, `{"fields":[{"api_name":"a","data_type":"text","decimal_place":"2"}]}`,
		`{"status":"error","code":"INVALID_MODULE"}`, `"fields"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { decodesAlike[fieldsAnswer](t, body) })
}

func FuzzUsers(f *testing.F) {
	for _, seed := range []string{
		`{"users":[{"id":"5725767000000411001","full_name":"Patricia Boyle","status":"active","Modified_Time":"2026-11-19T11:19:38+05:30","role":{"name":"CEO","id":"1"}}],"info":{"per_page":200,"count":1,"page":1,"more_records":false}}`,
		`{"users":[{"id":5,"full_name":null}],"info":null}`, `{"users":[null],"info":{"more_records":1}}`, `{"info":{"more_records":true}}`,
		`{"users":[{"id":"1","full_name":"` + "\xff" + `"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) { decodesAlike[usersAnswer](t, body) })
}

// Whatever a server says instead of an answer, and however it writes it, the token that it
// was sent is not in the error.
func FuzzReadError(f *testing.F) {
	const token = "1000.2deaf8d0c268e3c85daa2a013a843b10.703adef2bb337b8ca36cfc5d7b83cf24"
	escaped := `1\u0030` + token[2:]
	for _, seed := range []string{
		`{"code":"INVALID_TOKEN","details":{},"message":"invalid oauth token","status":"error"}`,
		`{"code":"X","message":"` + token + `","details":{"token":"` + token + `"}}`,
		`{"code":"X","message":"` + escaped + `","details":{"token":"` + escaped + `"}}`,
		`{"code":"` + escaped + `"}`, `<html>` + token + `</html>`, strings.Repeat(" ", 300) + token, token, `{"code":5}`, ``, "\xff\xfe",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		failure := readError(bytes.NewReader(body), token)
		if failure == nil || strings.Contains(failure.Error(), token) || strings.Contains(failure.Error(), escaped) || strings.Contains(failure.Hint(), token) {
			t.Errorf("%v", failure)
		}
	})
}

// A Retry-After is a pause, never a longer one than a day without a date, and never one
// into the past.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"30", "-1", "0", "99999999999999999999", "1e9", "Mon, 02 Jan 2040 15:04:05 GMT", "Mon, 02 Jan 2006 15:04:05 GMT", "soon", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		wait := retryAfter(header)
		if wait < 0 || wait > 24*time.Hour && !strings.Contains(header, ":") {
			t.Errorf("%q is a pause of %s", header, wait)
		}
	})
}
