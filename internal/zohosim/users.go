package zohosim

import (
	"net/http"
	"strconv"
)

// User is one user of the org.
type User struct {
	ID        string
	FirstName string
	LastName  string
	Email     string
	Status    string // active, disabled, deleted
}

// FullName is first and last name.
func (u User) FullName() string { return u.FirstName + " " + u.LastName }

func standardUsers() []*User {
	return []*User{
		{"5725767000000411001", "Patricia", "Boyle", "patricia@example.com", "active"},
		{"5725767000000411002", "Amadou", "Diallo", "amadou@example.com", "active"},
		{"5725767000000411003", "Ingrid", "Olsen", "ingrid@example.com", "active"},
		{"5725767000000411004", "Kenji", "Watanabe", "kenji@example.com", "active"},
		{"5725767000000411005", "Lucía", "Fernández", "lucia@example.com", "active"},
		{"5725767000000411006", "Tom", "Whitfield", "tom@example.com", "disabled"},
	}
}

// Users returns the org's users.
func (z *Zoho) Users() []User {
	z.mu.Lock()
	defer z.mu.Unlock()
	all := make([]User, len(z.users))
	for i, u := range z.users {
		all[i] = *u
	}
	return all
}

// AddUser adds a user to the org.
func (z *Zoho) AddUser(u User) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.users = append(z.users, &u)
}

// SetUser replaces the user with the same id.
func (z *Zoho) SetUser(u User) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for i, old := range z.users {
		if old.ID == u.ID {
			z.users[i] = &u
		}
	}
}

// reference is how COQL shows a user: by last name, and not at all once disabled.
func (z *Zoho) reference(id string) any {
	for _, u := range z.users {
		if u.ID == id {
			if u.Status != "active" {
				return map[string]any{"id": id, "name": nil}
			}
			return map[string]any{"id": id, "name": u.LastName}
		}
	}
	return map[string]any{"id": id, "name": nil}
}

var userStatus = map[string]string{"ActiveUsers": "active", "DeactiveUsers": "disabled", "DeletedUsers": "deleted"}

func (z *Zoho) listUsers(r *http.Request, _ []byte) answer {
	page, per, bad := paging(r)
	if bad != nil {
		return *bad
	}
	kind := r.URL.Query().Get("type")
	status, known := userStatus[kind]
	if !known && kind != "AllUsers" && kind != "CurrentUser" && kind != "" {
		return fail(http.StatusBadRequest, "PATTERN_NOT_MATCHED", "Please check whether the input values are correct", map[string]any{"param_name": "type"})
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	var list []any
	for i, u := range z.users {
		if status != "" && u.Status != status || kind == "CurrentUser" && i > 0 {
			continue
		}
		list = append(list, map[string]any{
			"id": u.ID, "full_name": u.FullName(), "first_name": u.FirstName, "last_name": u.LastName, "email": u.Email,
			"status": u.Status, "zuid": strconv.Itoa(10_000_000 + i), "time_zone": "America/Los_Angeles",
			"role": map[string]any{"name": "CEO", "id": "5725767000000026005"}, "profile": map[string]any{"name": "Administrator", "id": "5725767000000026011"},
		})
	}
	total := len(list)
	list = cut(list, (page-1)*per, per)
	if len(list) == 0 {
		return nothing
	}
	return ok(map[string]any{"users": list, "info": pageInfo(page, per, len(list), total > page*per)}, len(list))
}

func (z *Zoho) org(*http.Request, []byte) answer {
	return okBody("org", []any{map[string]any{
		"id": "5725767000000020005", "zgid": "808232144", "company_name": "Zylker", "time_zone": "America/Los_Angeles",
		"currency": "US Dollar - USD", "iso_code": "USD", "currency_symbol": "$", "mc_status": false, "type": "production",
		"domain_name": "org808232144", "license_details": map[string]any{"paid_type": "enterprise", "users_license_purchased": 10},
	}})
}

// paging reads page and per_page, as most lists have them.
func paging(r *http.Request) (page, per int, bad *answer) {
	number := func(name string, otherwise, most int) int {
		text := r.URL.Query().Get(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > most {
			wrong := fail(http.StatusBadRequest, "PATTERN_NOT_MATCHED", "Please check whether the input values are correct", map[string]any{"param_name": name})
			bad = &wrong
		}
		return n
	}
	return number("page", 1, 1<<30), number("per_page", 200, 200), bad
}

func cut(list []any, from, n int) []any {
	if from >= len(list) {
		return nil
	}
	return list[from:min(from+n, len(list))]
}

func pageInfo(page, per, count int, more bool) map[string]any {
	return map[string]any{"per_page": per, "count": count, "page": page, "more_records": more}
}
