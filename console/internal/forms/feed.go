package forms

import (
	"net/url"
	"strings"

	"example.com/atm"
)

// Feed is the list of the caller's subscriptions to the event feed.
var Feed = List{
	Path: "feed", Title: "Event feed", Op: atm.FeedList, Member: "subscriptions",
	Args: func(*List, url.Values) []atm.Arg { return nil },
	For: "A subscription sends what happens here to a program of yours: signed, in order, and " +
		"again until it has arrived.",
	Columns: []Column{
		{"", "Name", toSubscription},
		{"", "Sends", sendsOf},
		{"", "State", FeedState},
		{"lag", "Lag", entries},
		{"delivered", "Last delivery", Moment},
		{"", "Last error", FeedProblem},
	},
	Empty: "You have no subscription. One needs the URL of a program that receives events.",
	Same:  "atmctl feed list",
	Above: []string{"feed/add"},
	Rows: []RowAct{
		{Label: "Pause", Path: "feed/pause", Gives: thisName, When: isActive},
		{Label: "Resume", Path: "feed/resume", Gives: thisName, When: notActive},
		{Label: "Send a test", Path: "feed/test", Gives: thisName},
		{Label: "Send again", Path: "feed/replay", Gives: thisName},
		{Label: "Show the secret", Path: "feed/secret", Gives: thisName},
		{Label: "Replace the secret", Path: "feed/rotate", Gives: thisName},
		{Label: "Remove", Path: "feed/remove", Gives: thisName},
	},
}

// AllFeeds is the list of the subscriptions of everybody, for operators.
var AllFeeds = List{
	Path: "admin/feed", Title: "Event feed of others", Op: atm.FeedList, Member: "subscriptions",
	For: "What the server sends to programs of its users. The first hundred subscriptions are " +
		"here; name an owner for theirs.",
	Filters: []Field{{
		Name: "owner", Label: "Owner", Kind: Subject, Optional: true, Hint: "user:NAME",
		Else: "--all",
	}},
	Args: func(_ *List, query url.Values) []atm.Arg {
		owner := strings.TrimSpace(query.Get("owner"))
		if owner == "" {
			owner = "*"
		}
		return []atm.Arg{text(owner)}
	},
	Columns: []Column{
		{"", "Name", toSubscriptionOf},
		{"owner", "Owner", Plain},
		{"url", "To", Code},
		{"", "State", FeedState},
		{"lag", "Lag", entries},
		{"delivered", "Last delivery", Moment},
		{"", "Last error", FeedProblem},
	},
	Empty: "Nobody has a subscription. Customers and auditors add some on the page Feed.",
	Same:  "atmctl feed list",
	Rows: []RowAct{
		{Label: "Pause", Path: "admin/feed/pause", Gives: thisOwned, When: isActive},
		{Label: "Resume", Path: "admin/feed/resume", Gives: thisOwned, When: notActive},
		{Label: "Remove", Path: "admin/feed/remove", Gives: thisOwned},
	},
}

var sourceList = List{
	Path: "admin/feed/sources", Title: "Sources of webhooks", Op: atm.FeedSourceList,
	Member: "sources", Args: func(*List, url.Values) []atm.Arg { return nil },
	For: "A source sends signed webhooks to this server. Each is a notice that a service leaves " +
		"on an account.",
	Columns: []Column{
		{"name", "Name", Plain},
		{"owner", "Service", Plain},
		{"path", "Sent to", Code},
		{"rotated", "Secret replaced", Moment},
	},
	Empty: "There is no source. One lets a service leave notices by webhook.",
	Same:  "atmctl feed source list",
	Above: []string{"admin/feed/sources/add"},
	Rows: []RowAct{
		{Label: "Show the secret", Path: "admin/feed/sources/secret", Gives: thisOwned},
		{Label: "Replace the secret", Path: "admin/feed/sources/rotate", Gives: thisOwned},
		{Label: "Remove", Path: "admin/feed/sources/remove", Gives: thisOwned},
	},
}

var (
	thisName  = map[string]string{"name": "name"}
	thisOwned = map[string]string{"name": "name", "owner": "owner"}
)

func isActive(row atm.Record) bool { return row.Get("state") == "active" }

func notActive(row atm.Record) bool { return !isActive(row) }

// toSubscription shows the name of a subscription of the caller, with a link to its page.
func toSubscription(value any) Cell {
	row, _ := value.(atm.Record)
	name := Plain(row.Get("name")).Text
	return Cell{Text: name, Link: "/console/" + ToSubscription + url.PathEscape(name)}
}

// toSubscriptionOf is toSubscription for one of somebody else.
func toSubscriptionOf(value any) Cell {
	c := toSubscription(value)
	row, _ := value.(atm.Record)
	c.Link += "?" + url.Values{"owner": {Plain(row.Get("owner")).Text}}.Encode()
	return c
}

func sendsOf(value any) Cell {
	row, _ := value.(atm.Record)
	return Cell{Text: upper(FeedSends(row))}
}

// FeedSends says which entries a subscription sends.
func FeedSends(row atm.Record) string {
	return selection(func(name string) string {
		if name == "owner" {
			name = "account_owner"
		}
		return Plain(row.Get(name)).Text
	})
}

// selection says what the filter of a subscription selects. get returns a member of feed.add, as
// text.
func selection(get func(string) string) string {
	var words []string
	for _, part := range []struct{ name, says string }{
		{"account", "of account "},
		{"owner", "of accounts of "},
		{"operation", "of the operation "},
		{"status", "that ended with "},
		{"subject", "of what was done by "},
	} {
		if value := get(part.name); value != "" {
			words = append(words, part.says+value)
		}
	}
	if above := get("above"); above != "" {
		words = append(words, "about more than "+DollarsOf(above))
	}
	if below := get("below"); below != "" {
		words = append(words, "by which a balance falls below "+DollarsOf(below))
	}
	if len(words) == 0 {
		return "every entry"
	}
	return "entries " + strings.Join(words, ", ")
}

// FeedState is the state of a subscription in one word. One that is active and does not arrive is
// failing.
func FeedState(value any) Cell {
	row, _ := value.(atm.Record)
	if isActive(row) && row.Get("failing") != "" {
		return Cell{Text: "failing"}
	}
	return Plain(row.Get("state"))
}

// FeedProblem is what keeps a subscription from being delivered.
func FeedProblem(value any) Cell {
	row, _ := value.(atm.Record)
	if stopped := Plain(row.Get("reason")); stopped.Text != "" {
		return stopped
	}
	if row.Get("failing") == "" {
		return Cell{}
	}
	return Plain(row.Get("error"))
}

// entries counts those that have not been considered yet.
func entries(value any) Cell {
	switch n := Plain(value).Text; n {
	case "0":
		return Cell{Text: "none"}
	case "1":
		return Cell{Text: "1 entry"}
	default:
		return Cell{Text: n + " entries"}
	}
}
