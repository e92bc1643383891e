package forms

import (
	"net/url"
	"slices"

	"example.com/atm"
)

var (
	thisFeed  = Field{Name: "name", Label: "Subscription", Kind: Given}
	feedOwner = Field{Name: "owner", Label: "Owner", Kind: Given}
)

// actOnFeed is an action on a subscription of the caller that needs no more to be said. same is the
// word of the command line.
func actOnFeed(path, same, title, button string, op atm.Operation,
	line func(b Bank, f url.Values) string,
) Action {
	return Action{
		Path: "feed/" + path, Title: title, Button: button, Op: op, Back: ToSubscription,
		Fields: []Field{thisFeed}, Line: line,
		Same: func(f url.Values) []string {
			return []string{"atmctl", "feed", same, f.Get("name")}
		},
	}
}

// actOnFeedOf is an action of an operator on a subscription of somebody else.
func actOnFeedOf(name, button string, op atm.Operation, says string) Action {
	return Action{
		Path: "admin/feed/" + name, Title: button + " a subscription of a user", Button: button,
		Op: op, Back: "admin/feed", Fields: []Field{thisFeed, feedOwner},
		Line: func(b Bank, f url.Values) string {
			return button + " " + feedWords(b, f) + ": " + says
		},
		Same: func(f url.Values) []string {
			return append([]string{"atmctl", "feed", name, f.Get("name")}, flags(f, "owner")...)
		},
	}
}

// saying makes a line of what is done to a subscription, and what that means.
func saying(does, says string) func(Bank, url.Values) string {
	return func(b Bank, f url.Values) string { return does + " " + feedWords(b, f) + ": " + says }
}

// What acts on subscriptions mean, for their owners and for operators.
const (
	pauses = "nothing is sent until it is resumed. What happens meanwhile is sent then."
	goesOn = "it goes on where it was, and leaves nothing out."
	ends   = "nothing more is sent. What has not arrived yet is not sent either."
)

var feedActions = slices.Concat([]Action{
	addFeed,
	actOnFeed("pause", "pause", "Pause a subscription", "Pause", atm.FeedPause,
		saying("Pause", pauses)),
	actOnFeed("resume", "resume", "Resume a subscription", "Resume", atm.FeedResume,
		saying("Resume", goesOn)),
	actOnFeed("test", "test", "Send a test event", "Send", atm.FeedTest,
		saying("Send a test event to", "its page says whether it arrived.")),
	{
		Path: "feed/replay", Title: "Send events again", Button: "Send again",
		Op: atm.FeedReplay, Back: ToSubscription,
		Fields: []Field{thisFeed, {
			Name: "from", Label: "From entry", Kind: Count,
			Hint: "its index in the audit log; 0 is the first",
		}},
		Line: func(b Bank, f url.Values) string {
			return "Send again from entry " + f.Get("from") + " on, to " + feedWords(b, f) +
				": each event has the id that it had before."
		},
		Same: func(f url.Values) []string {
			return append([]string{"atmctl", "feed", "replay", f.Get("name")}, flags(f, "from")...)
		},
	},
	telling(feedSecret, actOnFeed("secret", "secret", "Show the secret of a subscription", "Show",
		atm.FeedSecret, func(_ Bank, f url.Values) string {
			return "Show what the events of the subscription " + f.Get("name") + " are signed " +
				"with. With the secret, anybody can make events that look like ours."
		})),
	telling(feedSecret, actOnFeed("rotate", "rotate-secret", "Replace the secret of a subscription",
		"Replace", atm.FeedRotate, saying("Replace the secret of", "for 24 hours the one before "+
			"signs as well. Replacing it again ends that at once."))),
	removeFeed(),
	actOnFeedOf("pause", "Pause", atm.FeedPause, pauses),
	actOnFeedOf("resume", "Resume", atm.FeedResume, goesOn),
	actOnFeedOf("remove", "Remove", atm.FeedRemove, ends),
}, sourceActions)

// telling is an action after which a page shows a secret.
func telling(secret func(Bank, url.Values) atm.Record, a Action) Action {
	a.Tells = secret
	return a
}

func feedSecret(b Bank, f url.Values) atm.Record { return b.Look(atm.FeedSecret, f.Get("name")) }

func removeFeed() Action {
	a := actOnFeed("remove", "remove", "Remove a subscription", "Remove", atm.FeedRemove,
		saying("Remove", ends))
	a.Back = Feed.Path
	return a
}

// addFeed subscribes the caller. An account of the caller is chosen, or any is typed by callers who
// may subscribe to everything.
var addFeed = Action{
	Path: "feed/add", Title: "Subscribe a program", Button: "Subscribe", Op: atm.FeedAdd,
	Back: "feed", Tells: feedSecret,
	Fields: append([]Field{
		{
			Name: "name", Label: "Name", Kind: Name,
			Hint: "of the subscription, such as books",
		},
		{
			Name: "url", Label: "URL of the program", Kind: URL,
			Hint: "https; it stands in the audit log, so put no password in it",
		},
	}, memberOf("options",
		Field{Name: "account", Label: "Account", Kind: Own, Optional: true},
		Field{
			Name: "below", Label: "When a balance falls below so many dollars", Kind: Amount,
			Optional: true, Hint: "once each time; every entry when left empty",
		},
		Field{
			Name: "above", Label: "Amounts above so many dollars", Kind: Amount, Optional: true,
		},
		Field{
			Name: "operation", Label: "Operation", Optional: true,
			Hint: "such as deposit; every one when left empty",
		},
		Field{
			Name: "status", Label: "Status", Kind: Choice, Optional: true,
			Options: []string{"OK", "ERROR"},
		},
		Field{
			Name: "subject", Label: "Done by", Kind: Subject, Optional: true,
			Hint: "user:NAME or service:NAME; yourself alone when you name an account of yours",
		},
		Field{
			Name: "owner", Label: "Accounts of", Kind: Subject, Optional: true,
			Hint: "user:NAME or service:NAME",
		},
		Field{
			Name: "proofs", Label: "Proofs", Kind: Yes, Optional: true,
			Hint: "send with each event the proof that its entry is in the log",
		},
		Field{
			Name: "from", Label: "From entry", Kind: Count, Optional: true,
			Hint: "the next one when left empty",
		})...),
	Line: func(_ Bank, f url.Values) string {
		line := "Send to " + f.Get("url") + " " + selection(f.Get)
		if from := f.Get("from"); from != "" {
			line += ", from entry " + from + " on"
		}
		if f.Get("proofs") != "" {
			line += ", each with the proof that it is in the log"
		}
		return line + ". The subscription is called " + f.Get("name") + "."
	},
	Same: func(f url.Values) []string {
		words := append([]string{"atmctl", "feed", "add", f.Get("name")}, flags(f, "url", "account",
			"below", "above", "operation", "status", "subject", "owner")...)
		if f.Get("proofs") != "" {
			words = append(words, "--proofs")
		}
		return append(words, flags(f, "from")...)
	},
}

// Among are the fields of an action whose caller may name these accounts alone.
func (a *Action) Among(accounts []string) []Field {
	fields := slices.Clone(a.Fields)
	for i := range fields {
		switch f := &fields[i]; {
		case f.Kind == Own:
			f.Options, f.Optional = accounts, false
		case f.In != "" && (f.Name == "owner" || f.Name == "subject"):
			f.Fixed = noValue // it is for those who may see everything
		}
	}
	return fields
}

// Chooses reports whether the action has an account to choose.
func (a *Action) Chooses() bool {
	return slices.ContainsFunc(a.Fields, func(f Field) bool { return f.Kind == Own })
}

// feedWords names a subscription, with what it sends and where if the caller may know that.
func feedWords(b Bank, f url.Values) string {
	words := "the subscription " + f.Get("name")
	if owner := f.Get("owner"); owner != "" {
		words += " of " + owner
	}
	row := b.Look(atm.FeedShow, f.Get("name"), f.Get("owner"))
	if row == nil {
		return words
	}
	return words + ", which sends to " + Plain(row.Get("url")).Text + " " + FeedSends(row)
}

var newSource = []Field{
	{Name: "name", Label: "Name", Kind: Name, Hint: "such as notices"},
	{Name: "owner", Label: "Service whose notices they are", Kind: Subject, Hint: "service:NAME"},
}

// actOnSource is an action on a source of webhooks.
func actOnSource(path, same, title, button string, op atm.Operation, fields []Field,
	does, says string,
) Action {
	return Action{
		Path: "admin/feed/sources/" + path, Title: title, Button: button, Op: op,
		Back: "admin/feed/sources", Fields: fields,
		Line: func(_ Bank, f url.Values) string {
			return does + " the source " + f.Get("name") + " of " + f.Get("owner") + ". " + says
		},
		Same: func(f url.Values) []string {
			return append([]string{"atmctl", "feed", "source", same, f.Get("name")},
				flags(f, "owner")...)
		},
	}
}

func sourceSecret(b Bank, f url.Values) atm.Record {
	return b.Look(atm.FeedSourceSecret, f.Get("name"), f.Get("owner"))
}

var sourceActions = []Action{
	telling(sourceSecret, actOnSource("add", "add", "Add a source of webhooks", "Add",
		atm.FeedSourceAdd, newSource, "Register", "What it sends, signed with its secret, are "+
			"notices of this service.")),
	telling(sourceSecret, actOnSource("secret", "secret", "Show the secret of a source", "Show",
		atm.FeedSourceSecret, thisSource, "Show what webhooks are signed with that come from",
		"With the secret, anybody can leave notices of this service.")),
	telling(sourceSecret, actOnSource("rotate", "rotate-secret", "Replace the secret of a source",
		"Replace", atm.FeedSourceRotate, thisSource, "Replace the secret of", "For 24 hours the "+
			"one before is good as well. Replacing it again ends that at once.")),
	actOnSource("remove", "remove", "Remove a source", "Remove", atm.FeedSourceRemove, thisSource,
		"Remove", "Webhooks that it sends are refused from now on."),
}

var thisSource = []Field{
	{Name: "name", Label: "Source", Kind: Given}, {Name: "owner", Label: "Service", Kind: Given},
}
