package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// loginForm is what the log-in page shows.
type loginForm struct {
	Next    string // where to go afterwards
	Problem string
	Closed  bool // no attempt is allowed now
}

func loginAddress(r *http.Request) string {
	next := r.URL.RequestURI()
	if r.Method != http.MethodGet || !local(next) || next == "/dashboard" {
		return "/dashboard/login"
	}
	return "/dashboard/login?next=" + url.QueryEscape(next)
}

// nextOf is where a log-in was on its way to.
func nextOf(values url.Values) string {
	if next := values.Get("next"); local(next) {
		return next
	}
	return "/dashboard"
}

func (d *dashboard) loginPage(w http.ResponseWriter, r *http.Request) {
	if _, ok := d.session(r); ok {
		http.Redirect(w, r, nextOf(r.URL.Query()), http.StatusSeeOther)
		return
	}
	d.askPassword(w, r, http.StatusOK, loginForm{Next: nextOf(r.URL.Query())})
}

func (d *dashboard) askPassword(w http.ResponseWriter, r *http.Request, status int, form loginForm) {
	d.render(w, r, status, "login", page{Title: "Log in", Data: form})
}

func (d *dashboard) login(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), lookLimit)
	defer cancel()
	form := loginForm{Next: nextOf(r.PostForm)}
	source := d.keys.source(r, d.Forwarded)
	attempt, err := d.db.LoginAttempt(ctx, source, d.logins)
	switch {
	case err != nil:
		d.broken(w, r, err)
	case !attempt.Allowed:
		d.Log.WarnContext(ctx, "a log-in was refused: too many have failed", "source", source)
		form.Closed, form.Problem = true, "Too many wrong passwords. Try again in "+waiting(attempt.Wait)+"."
		w.Header().Set("Retry-After", strconv.Itoa(int(attempt.Wait.Seconds())))
		d.askPassword(w, r, http.StatusTooManyRequests, form)
	case !d.keys.right(r.PostForm.Get("password")):
		d.Log.WarnContext(ctx, "a log-in failed", "source", source, "tries_left", attempt.Left)
		form.Problem = "Wrong password. " + triesLeft(attempt.Left)
		if attempt.Left == 0 {
			form.Closed, form.Problem = true, "Wrong password, and no tries are left. Try again in "+waiting(attempt.Wait)+"."
		}
		d.askPassword(w, r, http.StatusUnauthorized, form)
	default:
		if err := d.db.LoginSucceeded(ctx, source); err != nil {
			d.Log.WarnContext(ctx, "failed log-ins were not forgotten", "error", err)
		}
		d.Log.InfoContext(ctx, "a log-in succeeded", "source", source)
		http.SetCookie(w, cookie(r, d.keys.open(time.Now()).signed, sessionLife))
		http.Redirect(w, r, form.Next, http.StatusSeeOther)
	}
}

func triesLeft(n int) string {
	if n == 1 {
		return "1 try is left."
	}
	return strconv.Itoa(n) + " tries are left."
}

func waiting(d time.Duration) string {
	return counted(max(1, int64((d+time.Minute-1)/time.Minute)), "minute")
}

func (d *dashboard) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, cookie(r, "", 0))
	http.Redirect(w, r, "/dashboard/login", http.StatusSeeOther)
}
