package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"zohomirror/internal/zohosim"
)

// The program asks a Zoho without a database, prints for people and for programs, and
// says so when it cannot.
func TestProbe(t *testing.T) {
	t.Parallel()
	zoho := zohosim.New(zohosim.Config{})
	zoho.Convert(zoho.Insert("Leads", zohosim.Record{"Last_Name": "Confidential"}), true)
	zoho.Insert("Leads", zohosim.Record{"Last_Name": "Confidential"})
	settings := settingsFor(t, zoho, "")
	delete(settings, "DATABASE_URL")

	printed, complaints, status := output(t, settings, "probe")
	for _, part := range []string{
		"Does one COQL query return converted and unconverted leads? [answered]\n  sent:   select COUNT(id) as n from Leads where id is not null\n",
		"  answer: 2 leads in one query, 1 and 1 in two\n  means:  yes: one stream would do; the mirror's two miss nothing either\n\n",
		"By hand, with test records, since these change something:\n\nDoes a conversion move the lead's Modified_Time?\n  do:     convert a test lead\n  look:   select",
	} {
		if !strings.Contains(printed, part) {
			t.Errorf("%q is missing in:\n%s", part, printed)
		}
	}
	if status != 0 || complaints != "" || strings.Contains(printed, "Confidential") {
		t.Errorf("%d %s\n%s", status, complaints, printed)
	}

	printed, complaints, status = output(t, settings, "probe", "deals", "--json")
	var result map[string]any
	if err := json.Unmarshal([]byte(printed), &result); err != nil || status != 0 || complaints != "" {
		t.Fatalf("%d %v %s", status, err, complaints)
	}
	finding := result["findings"].([]any)[0].(map[string]any)
	manual := result["by_hand"].([]any)[0].(map[string]any)
	if result["module"] != "deals" || !slices.Equal(slices.Sorted(maps.Keys(finding)), []string{"answer", "means", "question", "sent", "settled"}) ||
		!slices.Equal(slices.Sorted(maps.Keys(manual)), []string{"do", "look", "question"}) || strings.Contains(printed, `\u003`) {
		t.Errorf("%s", printed)
	}

	settings["ZOHO_REFRESH_TOKEN"] = "1000.other"
	printed, complaints, status = output(t, settings, "probe", "--json")
	if json.Unmarshal([]byte(printed), &result) != nil || status != 1 || !strings.Contains(result["error"].(string), "invalid_code") || len(result["findings"].([]any)) != 0 ||
		!strings.Contains(complaints, "what to do: the refresh token is not known here") {
		t.Errorf("%d %s %s", status, printed, complaints)
	}
	if _, complaints, status = output(t, nil, "probe"); status != 1 || !strings.Contains(complaints, "ZOHO_CLIENT_ID: is missing") || strings.Contains(complaints, "DATABASE_URL") {
		t.Errorf("%d %s", status, complaints)
	}
}
