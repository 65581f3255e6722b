package zoho

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A detail of the fields metadata in another form than documented counts as absent.
func TestFieldsOfOddForm(t *testing.T) {
	t.Parallel()
	var answer fieldsAnswer
	err := json.Unmarshal([]byte(`{"fields":[
		{"api_name":"Odd","length":"120","data_type":"picklist","decimal_place":null,"lookup":[],"formula":"none","pick_list_values":[{"actual_value":null},{"actual_value":"a"},{}],"type":"unused"},
		{"api_name":"Sum","data_type":"rollup_summary","json_type":"double","rollup_summary":{"return_type":"currency"},"decimal_place":3,"custom_field":true},
		{"api_name":"Who","data_type":"lookup","lookup":{"module":{"api_name":"Accounts"}},"virtual_field":true}]}`), &answer)
	if err != nil {
		t.Fatal(err)
	}
	var got []Field
	for i := range answer.Fields {
		got = append(got, answer.Fields[i].field())
	}
	want := []Field{
		{APIName: "Odd", DataType: "picklist", Values: []string{"a"}, Unused: true},
		{APIName: "Sum", DataType: "rollup_summary", JSONType: "double", Returns: "currency", DecimalPlace: 3, Custom: true},
		{APIName: "Who", DataType: "lookup", Lookup: "Accounts", Virtual: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`{"fields":[{"api_name":7}]}`), new(fieldsAnswer)); err == nil {
		t.Error("a field without a name was read")
	}
}
