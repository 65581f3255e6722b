package probe

// A Manual is a question that only a change in Zoho answers: a person makes it, on a test
// record, and looks.
type Manual struct {
	Question string `json:"question"`
	Do       string `json:"do"`
	Look     string `json:"look"`
}

// ByHand lists what a probe that only reads cannot find out.
func ByHand() []Manual {
	return []Manual{
		{"Does a conversion move the lead's Modified_Time?", "convert a test lead",
			"select Modified_Time, Converted_Date_Time from Leads where (id = <id> and Converted__s = true), before and after"},
		{"Does a conversion appear in the deleted list?", "convert a test lead", "GET /crm/v8/Leads/deleted?type=all must not name it"},
		{"Does a restore move Modified_Time?", "delete a test record, restore it from the bin", "its Modified_Time before and after, and whether the deleted list still names it"},
		{"Does a purge move deleted_time?", "delete a test record, then delete it from the bin", "its deleted_time in GET /crm/v8/Leads/deleted?type=all before and after"},
		{"How does the deleted list show the loser of a merge, and do children that move to the master get a new Modified_Time?",
			"merge two test records, one of which has a contact or deal", "the loser's type and names in the deleted list; the child's Modified_Time before and after"},
		{"Do tags, subform rows or the territory move Modified_Time?", "change one of them on a test record", "its Modified_Time before and after"},
		{"What moves Change_Log_Time__s?", "add a call, change a formula's source, add a tag, one after another", "Change_Log_Time__s and Modified_Time after each"},
		{"How late does COQL show an edit?", "edit a test record by API and ask COQL for it every 200 ms",
			"the time until the new value comes; SYNC_OVERLAP must be well above it"},
		{"Does the deleted list end at 2000 entries?", "delete more than 2000 test records", "run this probe again"},
		{"What does the token endpoint answer when it throttles?", "ask for 11 access tokens within ten minutes, with a client made for tests: it locks out whoever shares its refresh token",
			"the HTTP status and the body of the eleventh"},
		{"Does a 429 carry Retry-After?", "nothing: look when it happens", "the headers of the answer; the mirror obeys it where it comes"},
		{"Do multi-select values, nulls, line ends and converted leads in bulk CSV look as expected, and how long does a file live?",
			"one bulk read job (50 credits) of a few test records", "the CSV's bytes; the count of converted leads; the job after 24 and 48 hours"},
		{"Does a notification come again after an error?", "subscribe a test channel and answer its first call with 500", "whether a second call comes"},
	}
}
