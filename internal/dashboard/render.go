package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"zohomirror/internal/postgres"
)

//go:embed static templates
var files embed.FS

// A page is what the layout shows around its data.
type page struct {
	Title string
	Data  any

	// Of the layout, filled in by render.
	Name   string // of the template
	Token  string // empty: nobody has logged in
	Poll   int    // seconds until the script asks again; 0: never
	Retry  bool   // without script, too
	Header string // of the section that the navigation marks
}

// assets are the static files by their public names, which change with their content.
var assets, assetNames = readAssets()

type asset struct {
	kind string
	body []byte
}

func readAssets() (byName map[string]asset, names map[string]string) {
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	byName, names = map[string]asset{}, map[string]string{}
	for _, file := range must(fs.ReadDir(files, "static")) {
		body := must(files.ReadFile("static/" + file.Name()))
		digest := sha256.Sum256(body)
		extension := path.Ext(file.Name())
		name := strings.TrimSuffix(file.Name(), extension) + "." + hex.EncodeToString(digest[:6]) + extension
		byName[name] = asset{kinds[extension], body}
		names[file.Name()] = "/dashboard/assets/" + name
	}
	return byName, names
}

// must is for what is embedded, which the tests have read.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func (d *dashboard) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := assets[chi.URLParam(r, "name")]
	if !ok {
		d.notFound(w, r, "There is no such file.")
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(a.body) // a caller that left needs no answer
}

var templates = readTemplates()

func readTemplates() map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(template.FuncMap{
		"asset":   func(name string) string { return assetNames[name] },
		"figure":  figure,
		"counted": func(n int64, noun string) string { return counted(n, noun) },
		"title":   title,
		"icon":    func(class string) icon { return icons[class] },
	}).ParseFS(files, "templates/layout.html", "templates/parts.html"))
	all := map[string]*template.Template{}
	for _, name := range []string{"front", "history", "run", "quarantine", "login", "trouble", "opening"} {
		all[name] = template.Must(template.Must(shared.Clone()).ParseFS(files, "templates/"+name+".html"))
	}
	return all
}

// polled reports whether the page's own script asks, which needs the main part alone.
func polled(r *http.Request) bool { return r.Header.Get("X-Dashboard-Poll") != "" }

// render answers with a page, made in full before its first byte is sent.
func (d *dashboard) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) {
	p.Name = name
	if s, ok := d.session(r); ok {
		p.Token = s.token
	}
	part := "page"
	if polled(r) {
		part = "main"
	}
	var body bytes.Buffer
	if err := templates[name].ExecuteTemplate(&body, part, p); err != nil {
		panic(err) // answered by recover
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a caller that left needs no answer
}

// trouble is a page that says what is wrong.
type trouble struct {
	Title   string
	Text    string
	Detail  string // for those who have logged in
	Hint    string
	Command string
	At      moment
}

func (d *dashboard) trouble(w http.ResponseWriter, r *http.Request, status int, t trouble) {
	d.render(w, r, status, "trouble", page{Title: t.Title, Data: t})
}

func (d *dashboard) notFound(w http.ResponseWriter, r *http.Request, text string) {
	d.trouble(w, r, http.StatusNotFound, trouble{Title: "Not found", Text: text})
}

func (d *dashboard) badRequest(w http.ResponseWriter, r *http.Request, err error) {
	d.trouble(w, r, http.StatusBadRequest, trouble{Title: "Not understood", Text: "The address cannot be read: " + err.Error() + "."})
}

// broken is the page for a database that does not answer as it should; it asks again by itself.
func (d *dashboard) broken(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, r.Context().Err()) && r.Context().Err() != nil {
		return // the caller has left
	}
	d.Log.ErrorContext(r.Context(), "a page could not be read from the database", "path", r.URL.Path, "error", err)
	now := time.Now()
	t := trouble{Title: "The database does not answer", Text: "So nothing can be said of the mirrors. This page keeps trying.", At: clock(now, now)}
	var schema *postgres.SchemaError
	if errors.As(err, &schema) {
		t.Title, t.Text, t.Hint = "The tables are not of this version", "Before anything can be mirrored, the database must be migrated. This page keeps looking.", schema.Hint()
		if schema.Found <= schema.Want {
			t.Hint, t.Command = "Run this where the database can be reached:", "zohomirror migrate"
		}
	} else if _, ok := d.session(r); ok {
		t.Detail, t.Hint = err.Error(), postgres.Hint(err)
	}
	w.Header().Set("Retry-After", "10")
	d.render(w, r, http.StatusServiceUnavailable, "trouble", page{Title: t.Title, Data: t, Poll: 5, Retry: true})
}
