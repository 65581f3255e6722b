// Package docs holds the pages of this folder to the program: what they say of tables,
// causes, dependencies and commands is compared with the source, and their SQL is run.
package docs

//go:generate go test -count 1 -run TestSchemaPage . -update
