//go:build unix

package daemon_test

import (
	"testing"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// livedByFeeds gives a server subscriptions and a source of webhooks. Nothing is delivered: no
// receiver has such a name.
func livedByFeeds(t *testing.T, h *daemontest.Server) {
	t.Helper()
	alice, err := client.New(client.Config{
		Server: "https://" + h.Addr, TLS: h.Issue(t, "user:alice"),
	})
	if err != nil {
		t.Fatal(err)
	}
	operator, demo := h.As(t, "operator"), h.As(t, "demo")
	for _, call := range []struct {
		by   *client.Client
		args []any
	}{
		{demo, []any{"feed.add", "shop", "https://shop.invalid/events", map[string]any{
			"account": "100", "operation": "deposit", "status": "OK", "above": "5",
			"below": "100.00", "proofs": 1, "from": 0,
		}}},
		{demo, []any{"feed.rotate", "shop"}},
		{demo, []any{"feed.test", "shop"}},
		{alice, []any{"feed.add", "all", "https://audit.invalid", map[string]any{
			"owner": "user:mallory", "subject": "user:demo",
		}}},
		{operator, []any{"feed.pause", "all", "user:alice"}},
		{operator, []any{"feed.replay", "all", "7", "user:alice"}},
		{alice, []any{"feed.add", "gone", "https://audit.invalid"}},
		{alice, []any{"feed.remove", "gone"}},
		{operator, []any{"feed.source.add", "bills", "service:billing"}},
		{operator, []any{"feed.source.rotate", "bills", "service:billing"}},
	} {
		daemontest.Must(t)(call.by.Call(t.Context(), call.args[0].(string), call.args[1:]...))
	}
}

// inFeed is a statement that changes a member of the only subscription of an owner.
func inFeed(owner, path, value string) string {
	return `UPDATE feeds SET subscriptions = jsonb_set(subscriptions, '{0,` + path + `}', '` +
		value + `') WHERE owner = '` + owner + `'`
}

// tampersOfFeeds are tampers with subscriptions and sources.
var tampersOfFeeds = []tamper{
	{
		"where events go", inFeed("user:demo", "url", `"https://evil.invalid"`),
		`of user:demo: the URL is "https://evil.invalid"; the journal says ` +
			`"https://shop.invalid/events"`,
	},
	{
		"what is selected", inFeed("user:demo", "filter,operation", `"withdraw"`),
		"of user:demo: the operation is",
	},
	{
		"whose account it is", inFeed("user:demo", "filter,account", `"300"`),
		"of user:demo: the account is",
	},
	{
		"the amount above", inFeed("user:demo", "filter,above", `1`),
		"of user:demo: the amount above is",
	},
	{
		"the line below", inFeed("user:demo", "filter,below", `1`),
		"of user:demo: the balance below is",
	},
	{
		"everything for a customer", inFeed("user:demo", "everything", `true`),
		"of user:demo: whether it is to everything is",
	},
	{"no proofs", inFeed("user:demo", "proofs", `false`), "of user:demo: whether it has proofs is"},
	{
		"an older secret", inFeed("user:demo", "generation", `0`),
		"of user:demo: the generation is",
	},
	{
		"an overlap without end", inFeed("user:demo", "rotated", `"2099-01-01T00:00:00Z"`),
		"of user:demo: the time of rotation is",
	},
	{"a pause that is over", inFeed("user:alice", "state", `0`), "of user:alice: the state is"},
	{"entries left out", inFeed("user:alice", "from", `9`), "of user:alice: the first entry is"},
	{"a chain", inFeed("user:alice", "chain", `1`), "of user:alice: the number of chains is"},
	{"another name", inFeed("user:alice", "name", `"other"`), "of user:alice: the name is"},
	{
		"a subscription gone", `UPDATE feeds SET subscriptions = '[]' WHERE owner = 'user:alice'`,
		"of user:alice is in the journal and has no record",
	},
	{
		"a subscription more",
		`UPDATE feeds SET subscriptions = subscriptions || jsonb_set(subscriptions->0, '{id}', '1') WHERE owner = 'user:alice'`, "subscription f1 of user:alice",
	},
	{
		"somebody else's", `UPDATE feeds SET owner = 'user:mallory' WHERE owner = 'user:alice'`,
		`subscriptions of "user:mallory" are in no journal entry`,
	},
	{
		"an older secret of a source",
		`UPDATE feeds SET sources = jsonb_set(sources, '{0,generation}', '0') WHERE owner = 'service:billing'`,
		"source bills of service:billing",
	},
	{
		"a source gone", `UPDATE feeds SET sources = '[]' WHERE owner = 'service:billing'`,
		"source bills of service:billing has no record",
	},
	{
		"a state that there is not", inFeed("user:alice", "state", `3`), "a row of no known form",
	},
}
