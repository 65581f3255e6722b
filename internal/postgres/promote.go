package postgres

import (
	"fmt"
	"strings"

	"zohomirror/internal/crm"
)

// Promotion turns a custom field into a column, or two. The rows' values are taken over
// where they are surely of the column's type; the fill that the next version's first run
// begins looks at all of them.
type Promotion struct{ Field crm.Field }

func (p Promotion) write(b *strings.Builder, module string) {
	var columns, sets []string
	named := p.Field.Columns()
	for _, c := range named {
		columns = append(columns, "ADD COLUMN "+ident(c.Name)+" "+c.SQLType())
	}
	key := literal(p.Field.API)
	values, fits := p.values(key)
	for i, v := range values {
		sets = append(sets, ident(named[i].Name)+" = "+v)
	}
	fmt.Fprintf(b, "\nALTER TABLE %s %s;\n", ident(module), strings.Join(columns, ", "))
	whole(b, fmt.Sprintf("UPDATE %s\nSET %s,\n    custom_fields = custom_fields - %s\nWHERE custom_fields ? %[3]s AND %[4]s;",
		ident(module), strings.Join(sets, ", "), key, fits))
	fmt.Fprintf(b, "\n-- The view shows the new column as well; its grants stay.\nCREATE OR REPLACE VIEW %[1]s WITH (security_invoker = true) AS SELECT * FROM %[2]s WHERE deleted_at IS NULL;\n",
		ident(module+"_live"), ident(module))
}

// values are the columns' values in terms of custom_fields, and the condition under which
// they can be had.
func (p Promotion) values(key string) (values []string, fits string) {
	text, json := "(custom_fields->>"+key+")", "(custom_fields->"+key+")"
	scalar := "jsonb_typeof" + json + " IN ('string', 'number')"
	matches := func(pattern string) string { return text + " ~ '" + pattern + "'" }
	switch p.Field.Kind {
	case crm.Lookup:
		return []string{json + "->>'id'", json + "->>'name'"}, "jsonb_typeof" + json + " = 'object'"
	case crm.User: // names come from the list of users
		return []string{json + "->>'id'"}, "jsonb_typeof" + json + " = 'object'"
	case crm.JSON:
		return []string{json}, "true"
	case crm.Boolean:
		return []string{text + "::boolean"}, text + " IN ('true', 'false')"
	case crm.Integer:
		return []string{text + "::bigint"}, matches(`^-?[0-9]{1,18}$`)
	case crm.Numeric:
		return []string{text + "::numeric"}, matches(`^-?[0-9]+([.][0-9]+)?$`)
	case crm.Date:
		return []string{text + "::date"}, matches(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])$`)
	case crm.Time:
		return []string{text + "::timestamptz"}, matches(`^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]([+-][0-1][0-9]:[0-5][0-9]|Z)$`)
	case crm.LongText:
		return []string{text}, scalar
	case crm.Picklist:
		return []string{"nullif(" + text + ", '')"}, scalar
	default:
		return []string{"rtrim(" + text + ", ' ')"}, scalar
	}
}
