package mirror

import (
	"errors"
	"fmt"
	"slices"

	"zohomirror/internal/crm"
	"zohomirror/internal/zoho"
)

// An unavailableError says that Zoho does not offer a module to be mirrored, and that no
// retry will change it: a person must. It is the module's own affair; others go on.
type unavailableError struct {
	cause error
	hint  string
}

func (e *unavailableError) Error() string { return "unavailable: " + e.cause.Error() }

func (e *unavailableError) Unwrap() error { return e.cause }

// Hint says what to enable, and that otherwise the module is not to be asked for.
func (e *unavailableError) Hint() string { return e.hint }

// Unavailable reports whether a run failed because Zoho does not offer its module: that is
// the module's own affair, and the others go on.
func Unavailable(err error) bool {
	var unavailable *unavailableError
	return errors.As(err, &unavailable)
}

// A lackError says that a module has no field of a name that a mirror cannot do without.
type lackError struct{ module, field string }

func (e *lackError) Error() string {
	return fmt.Sprintf("%s cannot be read without the field %s, which Zoho does not know", e.module, e.field)
}

// lacks returns an error where the fields do not have the one by which changes are found.
func lacks(module *crm.Module, fields []zoho.Field) error {
	for _, stream := range module.Streams {
		known := slices.ContainsFunc(fields, func(f zoho.Field) bool { return f.APIName == stream.OrderBy })
		if stream.Name == crm.StreamModified && !known {
			return &lackError{module.Name, stream.OrderBy}
		}
	}
	return nil
}

var remedies = map[string]string{
	zoho.RefusalUnknown:    "if the org has a module %s, make it visible to the user who consented",
	zoho.RefusalPermission: "let the user who consented view the records of %s, or consent as an administrator",
	zoho.RefusalFeature:    "enable the feature that %s belongs to, if the org's edition has it",
}

// judged marks the error of a run as unavailable where it is a lasting refusal of the module.
func judged(module *crm.Module, err error) error {
	var lack *lackError
	var remedy string
	about, refused := zoho.Refusal(err)
	switch {
	case errors.As(err, &lack):
		remedy = fmt.Sprintf("let the user who consented see the field %s of %s", lack.field, module.API)
	case refused:
		remedy = fmt.Sprintf(remedies[about], module.API)
	default:
		return err
	}
	return &unavailableError{cause: err, hint: remedy + "; otherwise it cannot be mirrored: remove the scheduler's calls for " + module.Name}
}
