package docs

import (
	"regexp"
	"strings"
)

// A Command is what a page has a reader type: a line of a block, or words amid its text.
type Command struct {
	Page   string
	Line   int
	Text   string // lines that end in a backslash are one
	Needs  string // as of its block; amid text by the words behind it: (needs an account)
	Inline bool   // amid text; there … [] <> and | stand for something
}

var (
	sqlText = regexp.MustCompile(`(?i)^(--|select|with|insert|update|delete|create|grant|alter|begin;)`)
	// samples are blocks that show what a program prints, or is given: a log line, scopes.
	samples = regexp.MustCompile(`^(\{"|ZohoCRM\.)`)
	// typed tells the commands amid a page's text, and the addresses of the server, from names,
	// messages and values: by the program, or by a flag behind a word.
	typed = regexp.MustCompile(`^(zohomirror|\./\S+|go|openssl|curl|psql|sh|bash|git|make|docker|kubectl|helm|gcloud|npm|npx|vercel|supabase|systemctl|journalctl|crontab|apt-get|brew|GET) |^[a-z]+ \[?--?[a-z]|^/api/sync\?`)
)

// SQL says whether a block is SQL, by its fence or by its first word.
func (b Block) SQL() bool {
	return b.Language == "sql" || b.Language == "" && sqlText.MatchString(b.Text)
}

// Commands reads a page's commands: each line of each block that is no SQL and no sample, and
// those amid its text.
func Commands(page, text string) (commands []Command) {
	for _, block := range Blocks(page, text) {
		if block.SQL() || samples.MatchString(block.Text) {
			continue
		}
		whole := ""
		for i, line := range strings.Split(block.Text, "\n") {
			line = strings.TrimSpace(line)
			if part, goesOn := strings.CutSuffix(line, "\\"); goesOn {
				whole += part
				continue
			}
			if whole += line; whole != "" && !strings.HasPrefix(whole, "#") {
				commands = append(commands, Command{Page: page, Line: block.Line + i, Text: whole, Needs: block.Needs})
			}
			whole = ""
		}
	}
	for _, span := range Spans(page, text) {
		if typed.MatchString(span.Text) {
			commands = append(commands, span)
		}
	}
	return commands
}

var backticks = regexp.MustCompile("`([^`]+)`(?: \\(needs ([^)]+)\\))?")

// Spans are what stands between backticks amid a page's text, in one line each.
func Spans(page, text string) (spans []Command) {
	lines := strings.Split(text, "\n")
	for _, block := range Blocks(page, text) {
		first := block.Line - 1
		for i := range strings.Count(block.Text, "\n") {
			lines[first+i] = ""
		}
	}
	for i, line := range lines {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			lines[i] = ""
		}
	}
	text = strings.Join(lines, "\n")
	for _, m := range backticks.FindAllStringSubmatchIndex(text, -1) {
		words := strings.Join(strings.Fields(text[m[2]:m[3]]), " ")
		span := Command{Page: page, Line: 1 + strings.Count(text[:m[0]], "\n"), Text: words, Inline: true}
		if m[4] >= 0 {
			span.Needs = text[m[4]:m[5]]
		}
		spans = append(spans, span)
	}
	return spans
}
