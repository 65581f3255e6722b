// Package docs holds the pages of this folder, the README and llms.txt to the program: what
// they say of tables, causes and dependencies is compared with the source, and their SQL and
// their commands are run.
//
// A block of a page is SQL (```sql), which is run in a transaction that is rolled back; or
// commands (```sh, or indented), which are run one after another as a reader would type them,
// against a simulated Zoho and a PostgreSQL, or are on the list of what a script of CI runs.
// What stands amid text counts too. What takes more than a test has, such as an account, bears
// a comment above it, <!-- needs an account -->, and tells the reader so in the same words.
package docs

//go:generate go test -count 1 -run TestSchemaPage . -update
