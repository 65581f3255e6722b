// Package crm knows the CRM's modules: which Zoho field becomes which column,
// of which type, and how a record's JSON becomes a typed row. It does no I/O.
//
// The [Module] literals in this package are the single source of the mapping:
// the SELECT list, the upsert and the documentation of the schema derive from
// them, and a test holds them against the migrated database.
package crm

import "strings"

// Kind says how a field's JSON value is read and which column type holds it.
type Kind uint8

const (
	Text     Kind = iota // text, trailing spaces trimmed
	LongText             // text, as it is
	Picklist             // text; '' is null; a CHECK in the database knows the values
	Boolean              // boolean
	Integer              // bigint
	Money                // numeric with the precision and scale of the column, never rounded
	Numeric              // numeric without bounds
	Date                 // date
	Time                 // timestamptz
	Lookup               // {id, name} → two text columns
	User                 // {id, …} → two text columns; the name comes from the users list
	JSON                 // jsonb
)

// Field maps one Zoho field to its column, or to two for Lookup and User.
type Field struct {
	API    string // Zoho's API name, e.g. Lead_Status
	Kind   Kind
	Column string // its column, or what its two columns' names begin with; empty: made from API
}

// Stream is one way to read a module in full and then by its changes: a COQL
// criterion and the datetime that orders it. Every stream has a cursor of its own.
type Stream struct {
	Name    string
	Filter  string // COQL criterion, or empty
	OrderBy string // API name of a datetime field
}

// Module is one mirrored module of Zoho CRM.
type Module struct {
	Name    string // as callers and tables know it, e.g. leads
	API     string // as Zoho knows it, e.g. Leads
	Fields  []Field
	Streams []Stream
}

// Stream names. Every module has StreamModified.
const (
	StreamModified       = "modified"
	StreamConverted      = "converted"
	StreamNewlyConverted = "newly_converted"

	// StreamDeleted is no COQL stream: its checkpoint is that of the list of deleted records.
	StreamDeleted = "deleted"
)

const (
	fieldID           = "id"
	fieldCreatedTime  = "Created_Time"
	fieldModifiedTime = "Modified_Time"
	fieldConvertedAt  = "Converted_Date_Time"
)

var modules = withPromoted(&leads, &deals)

// Modules names all mirrored modules.
func Modules() []string {
	names := make([]string, len(modules))
	for i, m := range modules {
		names[i] = m.Name
	}
	return names
}

// Find returns the module of that name, as in leads.
func Find(name string) (*Module, bool) {
	for _, m := range modules {
		if m.Name == name {
			return m, true
		}
	}
	return nil, false
}

// common are the fields every module has (zoho-api section "Standard fields").
var common = []Field{
	{API: fieldCreatedTime, Kind: Time},
	{API: fieldModifiedTime, Kind: Time},
	{API: "Last_Activity_Time", Kind: Time},
	{API: "Change_Log_Time__s", Kind: Time},
	{API: "Owner", Kind: User},
	{API: "Created_By", Kind: User},
	{API: "Modified_By", Kind: User},
	{API: "Tag", Kind: JSON},
	{API: "Locked__s", Kind: Boolean},
	{API: "Record_Status__s", Kind: Picklist},
	{API: "Layout", Kind: Lookup},
	{API: "Connected_To__s", Kind: JSON},
	{API: "Currency", Kind: Picklist},
	{API: "Exchange_Rate", Kind: Numeric},
}

func with(fields ...Field) []Field {
	return append(fields, common...)
}

// leads hides its converted records from every query that does not mention
// Converted__s, and whether a conversion moves Modified_Time is not known: so
// converted leads are read by both of their clocks.
var leads = Module{
	Name: "leads",
	API:  "Leads",
	Streams: []Stream{
		{Name: StreamModified, OrderBy: fieldModifiedTime},
		{Name: StreamConverted, OrderBy: fieldModifiedTime, Filter: "Converted__s = true"},
		{Name: StreamNewlyConverted, OrderBy: fieldConvertedAt, Filter: "Converted__s = true"},
	},
	Fields: with(
		Field{API: "Last_Name", Kind: Text},
		Field{API: "First_Name", Kind: Text},
		Field{API: "Full_Name", Kind: Text},
		Field{API: "Salutation", Kind: Picklist},
		Field{API: "Company", Kind: Text},
		Field{API: "Designation", Kind: Text},
		Field{API: "Email", Kind: Text},
		Field{API: "Secondary_Email", Kind: Text},
		Field{API: "Phone", Kind: Text},
		Field{API: "Mobile", Kind: Text},
		Field{API: "Fax", Kind: Text},
		Field{API: "Website", Kind: Text},
		Field{API: "Lead_Source", Kind: Picklist},
		Field{API: "Lead_Status", Kind: Picklist},
		Field{API: "Lead_Status_Modified_Time", Kind: Time},
		Field{API: "Industry", Kind: Picklist},
		Field{API: "Rating", Kind: Picklist},
		Field{API: "No_of_Employees", Kind: Integer},
		Field{API: "Annual_Revenue", Kind: Money},
		Field{API: "Email_Opt_Out", Kind: Boolean},
		Field{API: "Description", Kind: LongText},
		Field{API: "Skype_ID", Kind: Text},
		Field{API: "Twitter", Kind: Text},
		Field{API: "Record_Image", Kind: Text},
		Field{API: "Unsubscribed_Mode", Kind: Picklist},
		Field{API: "Unsubscribed_Time", Kind: Time},
		Field{API: "Converted__s", Kind: Boolean},
		Field{API: fieldConvertedAt, Kind: Time},
		Field{API: "Converted_Account", Kind: Lookup},
		Field{API: "Converted_Contact", Kind: Lookup},
		Field{API: "Converted_Deal", Kind: Lookup},
		Field{API: "Lead_Conversion_Time", Kind: Integer},
		Field{API: "Enrich_Status__s", Kind: Picklist},
		Field{API: "Last_Enriched_Time__s", Kind: Time},
		Field{API: "Address", Kind: LongText},
		Field{API: "Flat_House_No_Building_Apartment_Name", Kind: Text},
		Field{API: "Street", Kind: Text},
		Field{API: "City", Kind: Text},
		Field{API: "State", Kind: Text},
		Field{API: "Zip_Code", Kind: Text},
		Field{API: "Country", Kind: Text},
		Field{API: "Coordinates", Kind: LongText},
		Field{API: "Latitude", Kind: Numeric},
		Field{API: "Longitude", Kind: Numeric},
		Field{API: "nearby_distance__s", Kind: Numeric},
		Field{API: "Visitor_Score", Kind: Numeric},
		Field{API: "First_Visited_URL", Kind: Text},
		Field{API: "First_Visited_Time", Kind: Time},
		Field{API: "Referrer", Kind: Text},
		Field{API: "Days_Visited", Kind: Numeric},
		Field{API: "Number_Of_Chats", Kind: Numeric},
		Field{API: "Average_Time_Spent_Minutes", Kind: Numeric},
		Field{API: "Data_Processing_Basis", Kind: Picklist},
		Field{API: "Data_Processing_Basis_Details", Kind: JSON},
		Field{API: "Data_Source", Kind: Picklist},
	),
}

var deals = Module{
	Name:    "deals",
	API:     "Deals",
	Streams: []Stream{{Name: StreamModified, OrderBy: fieldModifiedTime}},
	Fields: with(
		Field{API: "Deal_Name", Kind: Text},
		Field{API: "Stage", Kind: Picklist},
		Field{API: "Stage_Modified_Time", Kind: Time},
		Field{API: "Closing_Date", Kind: Date},
		Field{API: "Amount", Kind: Money},
		Field{API: "Expected_Revenue", Kind: Numeric}, // computed by Zoho: no bound holds for it
		Field{API: "Probability", Kind: Integer},
		Field{API: "Account_Name", Kind: Lookup},
		Field{API: "Contact_Name", Kind: Lookup},
		Field{API: "Campaign_Source", Kind: Lookup},
		Field{API: "Pipeline", Kind: Picklist},
		Field{API: "Type", Kind: Picklist},
		Field{API: "Lead_Source", Kind: Picklist},
		Field{API: "Next_Step", Kind: Text},
		Field{API: "Description", Kind: LongText},
		Field{API: "Reason_For_Loss__s", Kind: Picklist},
		Field{API: "Lead_Conversion_Time", Kind: Integer},
		Field{API: "Sales_Cycle_Duration", Kind: Integer},
		Field{API: "Overall_Sales_Duration", Kind: Integer},
		Field{API: "Territory", Kind: JSON},
	),
}

// Column is one column of a mirror table that a run writes.
type Column struct {
	Name string
	Kind Kind   // of the field; Lookup and User columns hold text
	Pair string // for a name column: the id column it belongs to
}

// columns returns the field's columns. Suffixes that only Zoho needs are cut:
// Converted__s → converted; Account_Name → account_id, account_name.
func (f Field) columns() []Column {
	base := f.Column
	if base == "" {
		base = f.base()
	}
	if !f.paired() {
		return []Column{{Name: base, Kind: f.Kind}}
	}
	id := Column{Name: base + "_id", Kind: f.Kind}
	return []Column{id, {Name: base + "_name", Kind: f.Kind, Pair: id.Name}}
}

// paired reports whether the field has two columns, for an id and a name.
func (f Field) paired() bool { return f.Kind == Lookup || f.Kind == User }

func (f Field) base() string {
	base := strings.ToLower(strings.TrimSuffix(f.API, "__s"))
	if f.paired() {
		base = strings.TrimSuffix(base, "_name")
	}
	return base
}

// Columns returns the field's columns.
func (f Field) Columns() []Column { return f.columns() }

// Columns returns all mapped columns of the module, id and bookkeeping aside.
func (m *Module) Columns() []Column {
	var all []Column
	for _, f := range m.Fields {
		all = append(all, f.columns()...)
	}
	return all
}

// SQLType is the PostgreSQL type that holds the column.
func (c Column) SQLType() string {
	switch c.Kind {
	case Boolean:
		return "boolean"
	case Integer:
		return "bigint"
	case Money:
		return "numeric(14,2)"
	case Numeric:
		return "numeric"
	case Date:
		return "date"
	case Time:
		return "timestamptz"
	case JSON:
		return "jsonb"
	default:
		return "text"
	}
}
