// Package e2e holds the tests of the whole: the real binary between a simulated Zoho over
// HTTP and a real Postgres, with every failure at every boundary. Whatever happens, the
// ticks go on as a scheduler's would, and the mirror ends equal to the CRM.
//
// Between the binary and Zoho stands a wire, between the binary and its database a link:
// both count what passes, and strike at the n-th exchange, before it arrives or after it was
// answered. A clean run says how many there are; then each boundary has a run of its own, of
// an ordinary tick first of all, and then of every other kind of run.
// With ZOHOMIRROR_SLOW=1 that is every kind of failure at every boundary.
package e2e
