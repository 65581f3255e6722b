package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"zohomirror/internal/config"
	"zohomirror/internal/crm"
	"zohomirror/internal/mirror"
	"zohomirror/internal/zoho"
)

// token mints one of its own: the answer says where the org lives, which a stored token does
// not, and the credentials are tried as they stand.
func (e *examination) token(ctx context.Context) finding {
	if e.source == nil {
		return skipped("needs: settings", "")
	}
	e.zoho = zoho.New(e.source.Zoho, &zoho.OwnToken{}, e.Log)
	if err := e.zoho.CheckToken(ctx); err != nil {
		return failure(err)
	}
	asked, lives := e.source.Zoho.APIURL, strings.TrimSuffix(e.zoho.APIDomain(), "/")
	switch {
	case lives == "", lives == asked:
		return fine("accepted; the org lives at %s", asked)
	case config.Centre(asked) == "":
		return fine("accepted; it names %s, and ZOHO_API_URL another host", lives)
	}
	advice := "set ZOHO_API_URL to that host"
	if centre := config.Centre(lives); centre != "" {
		advice = "set ZOHO_DC=" + centre
	}
	return wrong(fmt.Sprintf("accepted, but the org lives at %s and not at %s: the data centre is wrong", lives, asked), advice)
}

func records(module *crm.Module) string { return "scope " + zoho.ReadScope(module.API) }

// modules tries each module by itself and returns the checks that were fine.
func (e *examination) modules(ctx context.Context) (readable []string) {
	for _, module := range e.Modules {
		name := records(module)
		e.check(ctx, ClassZoho, name, needs(token), func(ctx context.Context) finding {
			ahead, known, err := e.zoho.CheckRecords(ctx, module.API)
			if err != nil {
				return e.refused(err, zoho.ReadScope(module.API)+" (or ZohoCRM.modules.READ for all)", module.Name+" cannot be mirrored")
			}
			e.answered, e.ahead, e.aheadKnown = true, ahead, known
			return fine("granted")
		})
		if e.state[name] == StateOK {
			readable = append(readable, name)
		}
	}
	return readable
}

// coql needs a module's scope too, so it is tried on one that can be read: else nobody could
// tell which is missing.
func (e *examination) coql(ctx context.Context, readable []string) {
	name := "scope " + zoho.ScopeCOQL
	if e.state[token] == StateOK && len(readable) == 0 {
		e.check(ctx, ClassZoho, name, nil, func(context.Context) finding {
			return skipped("needs: the scope of a module, without which it cannot be tried", "")
		})
		return
	}
	e.check(ctx, ClassZoho, name, needs(token), func(ctx context.Context) finding {
		for _, module := range e.Modules {
			if e.state[records(module)] != StateOK {
				continue
			}
			if err := e.zoho.CheckCOQL(ctx, module.API); err != nil {
				return e.refused(err, zoho.ScopeCOQL, "nothing can be mirrored")
			}
			break
		}
		return fine("granted")
	})
}

func (e *examination) fieldsScope(ctx context.Context) finding {
	if _, err := e.zoho.Fields(ctx, e.Modules[0].API); err != nil {
		return e.refused(err, zoho.ScopeFields, "the rest is mirrored, but custom_fields are not")
	}
	return fine("granted")
}

func (e *examination) users(ctx context.Context) finding {
	if err := e.zoho.CheckUsers(ctx); err != nil {
		return e.refused(err, zoho.ScopeUsers, "the rest is mirrored, but full names of users are not")
	}
	return fine("granted")
}

// refused names one scope alone where it is what is missing.
func (e *examination) refused(err error, scope, follows string) finding {
	if !zoho.IsScope(err) {
		return failure(err)
	}
	return wrong("not granted: "+follows, "consent anew with the scope "+scope+" besides those you have, and set ZOHO_REFRESH_TOKEN")
}

// org is good to know, and no run needs it.
func (e *examination) org(ctx context.Context) finding {
	org, err := e.zoho.Org(ctx)
	switch {
	case zoho.IsScope(err), zoho.NoPermission(err):
		return skipped("cannot be seen without the scope "+zoho.ScopeOrg+", which nothing else needs", "")
	case err != nil:
		return failure(err)
	}
	edition := org.Edition
	if edition == "" {
		edition = "unknown"
	}
	if org.Credits < 0 {
		return fine("edition %s; more than half of today's API credits are left", edition)
	}
	return fine("edition %s; %d API credits are left today", edition, org.Credits)
}

// readFor marks that a module's schema could be compared, whatever came of it.
const readFor = " (read)"

// fields compares the org's fields with the catalogue and the table.
func (e *examination) fields(ctx context.Context, module *crm.Module) finding {
	if e.mirror == nil {
		opened, err := e.Open(ctx, e.source)
		if err != nil {
			return failure(err)
		}
		e.mirror, e.diffs = opened, map[string]*mirror.SchemaDiff{}
	}
	diff, err := e.mirror.SchemaDiff(ctx, module)
	if err != nil {
		return failure(err)
	}
	e.diffs[module.Name] = diff
	e.state["fields of "+module.Name+readFor] = StateOK
	var unsuited, money []string
	for _, u := range diff.Unsuited {
		unsuited = append(unsuited, fmt.Sprintf("%s is %s, its column %s", u.Field, u.IsNow, u.Was))
	}
	for _, m := range diff.Money {
		money = append(money, fmt.Sprintf("%s wants numeric%s, its column is numeric%s", m.Field, m.Required, m.Is))
	}
	switch {
	case len(money) > 0:
		return wrong(strings.Join(append(money, unsuited...), "; "), "run: zohomirror schema migration "+module.Name+" --apply")
	case len(unsuited) > 0:
		return wrong(strings.Join(unsuited, "; "), "records whose values do not fit are quarantined: see zohomirror schema diff "+module.Name)
	}
	found := fine("fit their columns; %d more are in custom_fields", len(diff.Custom))
	if len(diff.Absent) > 0 {
		found.detail += fmt.Sprintf("; %d of the catalogue are not in the org (their columns stay null): %s", len(diff.Absent), strings.Join(diff.Absent, ", "))
	}
	return found
}

// picklists compares the org's values with the table's CHECKs. It counts them: values may
// tell of the business.
func (e *examination) picklists(module *crm.Module) finding {
	diff := e.diffs[module.Name]
	var gaps []string
	for _, gap := range diff.Picklists {
		gaps = append(gaps, fmt.Sprintf("%s has %d values that its CHECK does not allow", gap.Field, len(gap.Missing)))
	}
	if len(gaps) > 0 {
		return wrong(strings.Join(gaps, "; "), "their records are quarantined. Run: zohomirror schema migration "+module.Name+" --apply")
	}
	if len(diff.Foreign) > 0 {
		return fine("fit their CHECKs; these have a form of their own, which is not read: %s", strings.Join(diff.Foreign, ", "))
	}
	return fine("fit their CHECKs")
}

// clockLimit is how wrong a clock may be. A token is used up to two minutes before its end.
const clockLimit = time.Minute

// clock compares ours with Zoho's Date header, which has whole seconds.
func (e *examination) clock(context.Context) finding {
	switch {
	case !e.answered:
		return skipped("needs: the scope of a module", "")
	case !e.aheadKnown:
		return skipped("Zoho sends no Date header", "")
	}
	off := e.ahead.Abs().Round(time.Second)
	if off <= clockLimit {
		return fine("within a minute of Zoho's")
	}
	direction := "behind"
	if e.ahead < 0 {
		direction = "ahead of"
	}
	return wrong(fmt.Sprintf("this machine's clock is %s %s Zoho's", off, direction), "set it, by NTP say: runs go by Zoho's time, but access tokens are judged by this clock")
}
