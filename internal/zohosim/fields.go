package zohosim

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// Field is one field of a module's metadata.
type Field struct {
	API     string
	Type    string // Zoho's data_type
	Length  int
	Places  int // decimal_place, for numbers
	Custom  bool
	Unused  bool
	Values  []string // of a picklist
	Target  string   // of a lookup: the module
	Returns string   // of a formula: its return type
}

// kind is the type that decides which operators a criterion may use.
func (f *Field) kind() string {
	if f.Type == "formula" && f.Returns != "" {
		return f.Returns
	}
	return f.Type
}

// AddField defines a field, from now on.
func (z *Zoho) AddField(module string, f Field) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	m.fields = append(slices.Clone(m.fields), &f)
}

// RemoveField deletes a field: metadata no longer lists it, COQL no longer knows it.
func (z *Zoho) RemoveField(module, api string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := z.module(module)
	m.fields = slices.DeleteFunc(slices.Clone(m.fields), func(f *Field) bool { return f.API == api })
}

func (m *module) field(api string) *Field {
	for _, f := range m.fields {
		if f.API == api {
			return f
		}
	}
	return nil
}

var jsonTypes = map[string]string{
	"boolean": "boolean", "integer": "integer", "double": "double", "currency": "double", "percent": "double",
	"lookup": "jsonobject", "ownerlookup": "jsonobject", "userlookup": "jsonobject",
	"multiselectpicklist": "jsonarray", "subform": "jsonarray",
}

// jsonType is what the metadata says of a field's JSON, which is not always true.
func (f *Field) jsonType() string {
	if f.API == "Tag" {
		return "jsonarray"
	}
	if t, ok := jsonTypes[f.kind()]; ok {
		return t
	}
	return "string"
}

func (z *Zoho) fields(r *http.Request, _ []byte) answer {
	name := r.URL.Query().Get("module")
	if name == "" {
		return fail(http.StatusBadRequest, "REQUIRED_PARAM_MISSING", "One of the expected parameter is missing", map[string]any{"param_name": "module"})
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	m, ok := z.modules[name]
	if !ok {
		return fail(http.StatusBadRequest, "INVALID_MODULE", "the module name given seems to be invalid", nil)
	}
	which := r.URL.Query().Get("type")
	var list []any
	for i, f := range m.fields {
		if which == "" && f.Unused || which == "unused" && !f.Unused {
			continue
		}
		list = append(list, f.metadata(i))
	}
	if len(list) == 0 {
		return nothing
	}
	return okBody("fields", list)
}

func okBody(key string, list []any) answer { return ok(map[string]any{key: list}, len(list)) }

func (f *Field) metadata(i int) map[string]any {
	values := []any{}
	for n, v := range f.Values {
		values = append(values, map[string]any{"display_value": v, "actual_value": v, "reference_value": v,
			"id": fmt.Sprintf("57257670000%08d", i*1000+n), "type": "used", "sequence_number": n + 1, "colour_code": nil})
	}
	entry := map[string]any{
		"id": fmt.Sprintf("57257670000%08d", 2000+i), "api_name": f.API,
		"field_label": strings.ReplaceAll(f.API, "_", " "), "display_label": strings.ReplaceAll(f.API, "_", " "),
		"data_type": f.Type, "json_type": f.jsonType(), "length": cmp.Or(f.Length, 120), "decimal_place": nil,
		"system_mandatory": false, "custom_field": f.Custom, "visible": true, "read_only": false, "field_read_only": false,
		"virtual_field": f.Type == "subform" || f.API == "Full_Name", "type": "used",
		"lookup": map[string]any{}, "multiselectlookup": map[string]any{}, "formula": map[string]any{}, "currency": map[string]any{},
		"unique": map[string]any{}, "external": nil, "crypt": nil, "private": nil, "pick_list_values": values,
	}
	if f.Unused {
		entry["type"] = "unused"
	}
	switch f.Type {
	case "double", "currency", "percent":
		entry["decimal_place"] = f.Places
	case "lookup":
		entry["lookup"] = map[string]any{"api_name": f.Target, "display_label": f.Target, "module": map[string]any{"api_name": f.Target}}
	case "formula":
		entry["formula"] = map[string]any{"return_type": f.Returns}
	}
	return entry
}

// spec describes fields in little space: name:type[:length], separated by spaces.
func spec(text string) []*Field {
	var list []*Field
	for _, item := range strings.Fields(text) {
		parts := strings.Split(item, ":")
		f := &Field{API: parts[0], Type: parts[1]}
		if len(parts) == 3 {
			if _, err := fmt.Sscan(parts[2], &f.Length); err != nil {
				f.Target = parts[2]
			}
		}
		if f.Type == "currency" || f.Type == "double" {
			f.Places = 2
		}
		list = append(list, f)
	}
	return list
}

const commonSpec = `id:bigint Owner:ownerlookup:120 Created_By:ownerlookup:120 Modified_By:ownerlookup:120 Created_Time:datetime
	Modified_Time:datetime Last_Activity_Time:datetime Tag:text:2000 Change_Log_Time__s:datetime Locked__s:boolean
	Record_Status__s:picklist Layout:layout Connected_To__s:multi_module_lookup `

const leadSpec = commonSpec + `Last_Name:text:80 First_Name:text:40 Full_Name:text:120 Salutation:picklist:25 Company:text:200 Designation:text:100
	Email:email:100 Secondary_Email:email:100 Phone:phone:30 Mobile:phone:30 Fax:text:30 Website:website:255
	Lead_Source:picklist:120 Lead_Status:picklist:120 Industry:picklist:120 Rating:picklist:120 No_of_Employees:integer:9
	Annual_Revenue:currency:16 Email_Opt_Out:boolean Description:textarea:32000 Skype_ID:text:50 Twitter:text:50
	Record_Image:profileimage:255 Unsubscribed_Mode:picklist Unsubscribed_Time:datetime Converted__s:boolean
	Converted_Date_Time:datetime Converted_Account:lookup:Accounts Converted_Contact:lookup:Contacts Converted_Deal:lookup:Deals
	Lead_Conversion_Time:integer:9 Enrich_Status__s:picklist Last_Enriched_Time__s:datetime Lead_Status_Modified_Time:datetime
	Address:textarea:1000 Country:picklist Flat_House_No_Building_Apartment_Name:text:255 Street:text:255 City:text:255
	State:picklist Zip_Code:text:255 Coordinates:textarea:1000 Latitude:double Longitude:double nearby_distance__s:double`

const dealSpec = commonSpec + `Deal_Name:text:120 Stage:picklist:120 Closing_Date:date:20 Amount:currency:16 Account_Name:lookup:Accounts
	Contact_Name:lookup:Contacts Pipeline:picklist:120 Probability:integer:3 Expected_Revenue:currency:16 Next_Step:text:100
	Lead_Source:picklist:120 Campaign_Source:lookup:Campaigns Type:picklist:120 Description:textarea:32000
	Lead_Conversion_Time:integer:9 Sales_Cycle_Duration:integer:9 Overall_Sales_Duration:integer:9
	Reason_For_Loss__s:picklist:120 Stage_Modified_Time:datetime`

const contactSpec = commonSpec + `Last_Name:text:80 First_Name:text:40 Full_Name:text:120 Salutation:picklist:25 Account_Name:lookup:Accounts
	Vendor_Name:lookup:Vendors Reporting_To:lookup:Contacts Lead_Source:picklist:120 Email:email:100 Secondary_Email:email:100
	Title:text:100 Department:text:50 Phone:phone:50 Mobile:phone:30 Home_Phone:phone:30 Other_Phone:phone:30 Asst_Phone:phone:30
	Assistant:text:50 Date_of_Birth:date:20 Fax:text:30 Email_Opt_Out:boolean Skype_ID:text:50 Twitter:text:50
	Description:textarea:32000 Record_Image:profileimage:255 Unsubscribed_Mode:picklist Unsubscribed_Time:datetime
	Enrich_Status__s:picklist Last_Enriched_Time__s:datetime Mailing_Street:text:255 Mailing_City:text:255 Mailing_State:text:255
	Mailing_Zip:text:255 Mailing_Country:text:255 Other_Street:text:255 Other_City:text:255 Other_State:text:255 Other_Zip:text:255
	Other_Country:text:255`

const accountSpec = commonSpec + `Account_Name:text:200 Account_Site:text:80 Account_Number:bigint Parent_Account:lookup:Accounts
	Phone:phone:30 Fax:text:30 Website:website:255 Ticker_Symbol:text:30 Industry:picklist:120 Account_Type:picklist:120
	Ownership:picklist:120 Rating:picklist:120 Employees:integer:9 Annual_Revenue:currency:16 SIC_Code:integer:9
	Description:textarea:32000 Record_Image:profileimage:255 Enrich_Status__s:picklist Last_Enriched_Time__s:datetime
	Billing_Street:text:255 Billing_City:text:255 Billing_State:text:255 Billing_Code:text:255 Billing_Country:text:255
	Shipping_Street:text:255 Shipping_City:text:255 Shipping_State:text:255 Shipping_Code:text:255 Shipping_Country:text:255`

// LeadStatuses and the like are the default values of an English org.
var (
	LeadStatuses = []string{"-None-", "Attempted to Contact", "Contact in Future", "Contacted", "Junk Lead", "Lost Lead",
		"Not Contacted", "Pre-Qualified", "Not Qualified"}
	LeadSources = []string{"-None-", "Advertisement", "Cold Call", "Employee Referral", "External Referral", "Online Store", "Partner",
		"Public Relations", "Sales Email Alias", "Seminar Partner", "Internal Seminar", "Trade Show", "Web Download", "Web Research", "Chat"}
	Ratings = []string{"-None-", "Acquired", "Active", "Market Failed", "Project Cancelled", "Shut Down"}
	Stages  = []string{"Qualification", "Needs Analysis", "Value Proposition", "Identify Decision Makers", "Proposal/Price Quote",
		"Negotiation/Review", "Closed Won", "Closed Lost", "Closed Lost to Competition"}
	DealTypes   = []string{"-None-", "Existing Business", "New Business"}
	LossReasons = []string{"-None-", "Expectation Mismatch", "Price", "Unqualified Customer", "Lack of response", "Missed Follow Ups",
		"Wrong Target", "Competition", "Future Interest", "Other"}
)

func standardModules() map[string]*module {
	specs := map[string]string{"Leads": leadSpec, "Deals": dealSpec, "Contacts": contactSpec, "Accounts": accountSpec}
	picklists := map[string][]string{
		"Lead_Status": LeadStatuses, "Lead_Source": LeadSources, "Rating": Ratings, "Stage": Stages, "Type": DealTypes,
		"Reason_For_Loss__s": LossReasons, "Salutation": {"-None-", "Mr.", "Mrs.", "Ms.", "Dr.", "Prof."},
		"Record_Status__s": {"Available", "Draft", "Trash"}, "Enrich_Status__s": {"Available", "Enriched", "Data not found"},
		"Unsubscribed_Mode": {"Consent form", "Manual", "Unsubscribe link", "Zoho campaigns"},
	}
	modules := map[string]*module{}
	for name, text := range specs {
		fields := spec(text)
		for _, f := range fields {
			f.Values = picklists[f.API]
			if name == "Leads" && f.API == "Lead_Source" {
				f.Values = append(slices.Clone(LeadSources), "X (Twitter)", "Facebook")
			}
		}
		modules[name] = newModule(name, fields)
	}
	return modules
}

func (z *Zoho) listModules(*http.Request, []byte) answer {
	z.mu.Lock()
	defer z.mu.Unlock()
	internal := map[string]string{"Deals": "Potentials"}
	var list []any
	for i, name := range slices.Sorted(maps.Keys(z.modules)) {
		module := name
		if other, ok := internal[name]; ok {
			module = other
		}
		list = append(list, map[string]any{
			"api_name": name, "module_name": module, "id": fmt.Sprintf("57257670000%08d", 100+i), "singular_label": strings.TrimSuffix(name, "s"),
			"plural_label": name, "generated_type": "default", "api_supported": true, "viewable": true, "visible": true, "status": "visible",
		})
	}
	return okBody("modules", list)
}
