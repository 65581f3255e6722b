package web

import (
	"html/template"
	"net/http"
	"strings"
)

// unset is the page that a person sees where a browser asks.
var unset = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>zohomirror: settings</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:45em;margin:3em auto;padding:0 1em}li{margin:.5em 0}</style>
<h1>{{.Error}}</h1>
<ul>{{range .Problems}}<li>{{.}}{{end}}</ul>
<p>{{.Hint}}.</p>
`))

// Broken answers everything with what is wrong with the settings: their names, no value. A
// deployment that cannot start says so itself, where its platform would show a bare 500.
func Broken(problems []string) http.Handler {
	body := struct {
		Error    string   `json:"error"`
		Problems []string `json:"problems"`
		Hint     string   `json:"hint"`
	}{"the settings cannot be used", problems, "set them in the project's environment variables, then deploy again; each is described in .env.example"}
	return hardened(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Accept"), "text/html") {
			answer(w, http.StatusInternalServerError, body)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
		w.WriteHeader(http.StatusInternalServerError)
		_ = unset.Execute(w, body) // a caller that left needs no answer
	}))
}
