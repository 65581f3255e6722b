// Package migrations embeds the schema's numbered SQL files. A released file is
// never edited; a change is a new file.
package migrations

import "embed"

// Files holds the migrations in goose's format.
//
//go:embed *.sql
var Files embed.FS
