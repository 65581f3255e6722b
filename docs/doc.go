// Package docs holds the pages of this folder to the program: what they say of tables,
// causes, dependencies and commands is compared with the source, and their SQL is run.
//
// A block of a page is SQL (```sql), which is run in a transaction that is rolled back; or
// commands (```sh), of which each is parsed by the program's own command line, or is on the
// list of what something else tries. What takes more than a test has, such as an account,
// bears a comment of its own above it: <!-- needs an account -->
package docs

//go:generate go test -count 1 -run TestSchemaPage . -update
