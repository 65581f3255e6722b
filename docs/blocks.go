package docs

import (
	"io/fs"
	"path/filepath"
	"strings"
)

// Pages lists the Markdown files of a folder and below it.
func Pages(folder string) (pages []string, err error) {
	err = filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".md") {
			pages = append(pages, path)
		}
		return err
	})
	return pages, err
}

// A Block is what a page shows as code: fenced, or indented by four spaces.
type Block struct {
	Page     string
	Line     int    // of its first line
	Language string // of a fence; empty: none is said
	Text     string
	Needs    string // what it takes that no test has, by a comment above it: <!-- needs an account -->
}

// Blocks reads the code of a page.
func Blocks(page, text string) (blocks []Block) {
	var open *Block
	fence, needs, before := "", "", ""
	end := func() {
		if open != nil {
			blocks = append(blocks, *open)
			open, needs = nil, ""
		}
	}
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence != "" && trimmed == fence:
			end()
			fence = ""
		case fence != "":
			open.Text += line + "\n"
		case strings.HasPrefix(trimmed, "```"):
			end()
			fence = "```"
			open = &Block{Page: page, Line: i + 2, Language: strings.TrimPrefix(trimmed, "```"), Needs: needs}
		case open != nil && (strings.HasPrefix(line, "    ") || trimmed == ""):
			open.Text += strings.TrimSpace(line) + "\n"
		case strings.HasPrefix(line, "    ") && before == "":
			open = &Block{Page: page, Line: i + 1, Needs: needs, Text: trimmed + "\n"}
		default:
			end()
			if comment, ok := strings.CutPrefix(trimmed, "<!-- needs "); ok {
				needs = strings.TrimSuffix(comment, " -->")
			} else if trimmed != "" {
				needs = ""
			}
		}
		before = trimmed
	}
	end()
	return blocks
}
