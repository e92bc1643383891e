package methods

import "example.com/atm"

var (
	paramFeed = Param{
		Name: "name", Kinds: words,
		Help:    "Name of a subscription, or its id, such as f4711.",
		Example: text("bookkeeping"),
	}
	paramFeedOwner = Param{
		Name: "owner", Kinds: words, Optional: true,
		Help: "Subject whose subscription it is; the caller when left out. Another one is for " +
			"operators.",
	}
)

var (
	paramSource = Param{
		Name: "name", Kinds: words,
		Help: "Name of a source: 1 to 32 lower-case letters, digits and hyphens; each of a " +
			"service has another one.",
		Example: text("notices"),
	}
	paramSourceOwner = Param{
		Name: "owner", Kinds: words,
		Help: "The service whose notices they are, service:NAME.", Example: text("service:tax"),
	}
)

// feedBytes bounds a subscription on the wire, with a URL of which each character is escaped.
const feedBytes = 16 << 10

// MaxFeeds bounds the subscriptions, or the sources, that one answer lists.
const MaxFeeds = 100

// feed are the methods on subscriptions to the event feed.
var feed = []Method{
	{
		Name: atm.FeedAdd, Once: true,
		Help: "Subscribes to entries of the audit log: each is sent to a URL, signed, in order, " +
			"and until it has arrived. Customers subscribe to an account of their own. Tells the " +
			"id of the subscription; feed.secret tells what its events are signed with.",
		Params: []Param{
			{
				Name: "name", Kinds: words,
				Help: "1 to 32 lower-case letters, digits and hyphens; each subscription of an " +
					"owner has another one.",
				Example: text("bookkeeping"),
			},
			{
				Name: "url", Kinds: words, URL: true,
				Help: "https, without a user name. It stands in the audit log, so it has no " +
					"secret in it: events are signed.",
				Example: text("https://books.example.com/atm"),
			},
			{
				Name: "options", Kinds: []atm.Kind{atm.Struct}, Optional: true,
				Help: "account, operation, status (OK or ERROR), owner, subject and above (an " +
					"amount) select entries; below selects those by which a balance falls below " +
					"an amount; proofs 1 adds the proof that an entry is in the log; from is the " +
					"index of the first entry, the next one when left out.",
				Members: map[string][]atm.Kind{
					"account": paramAccount.Kinds, "operation": words, "status": words,
					"owner": words, "subject": words, "above": paramAmount.Kinds,
					"below": paramAmount.Kinds, "proofs": {atm.Int, atm.String},
					"from": {atm.Int, atm.String},
				},
				Example: atm.Arg{Kind: atm.Struct, Members: []atm.Member{
					member("account", "100"), member("below", "100.00"),
				}},
			},
		},
	},
	{
		Name: atm.FeedList,
		Help: "Lists subscriptions and how far each of them was delivered: those of the caller, " +
			"of another owner, or, with * for the owner, the first hundred of all.",
		Params:     []Param{paramFeedOwner},
		Structured: true,
		answer:     atMost(MaxFeeds * feedBytes),
	},
	{
		Name:       atm.FeedShow,
		Help:       "Tells what is known of a subscription: its cursor, its lag, its last error.",
		Params:     []Param{paramFeed, paramFeedOwner},
		Structured: true,
		answer:     atMost(feedBytes),
	},
	{
		Name: atm.FeedSecret,
		Help: "Tells the owner of a subscription what its events are signed with: a secret for " +
			"v1, and a public key for v1a.",
		Params:     []Param{paramFeed},
		Structured: true,
	},
	{
		Name: atm.FeedPause,
		Help: "Keeps a subscription from being delivered. What happens meanwhile is delivered " +
			"when it is resumed.",
		Params: []Param{paramFeed, paramFeedOwner},
	},
	{
		Name: atm.FeedResume,
		Help: "Lets a subscription be delivered again that was paused or stopped. One that " +
			"fails is tried at once.",
		Params: []Param{paramFeed, paramFeedOwner},
	},
	{
		Name: atm.FeedReplay,
		Help: "Delivers again what a subscription selects, from an entry on.",
		Params: []Param{paramFeed, {
			Name: "from", Kinds: []atm.Kind{atm.Int, atm.String},
			Help:    "Index of an entry in the audit log.",
			Example: atm.Arg{Kind: atm.Int, Text: "0"},
		}, paramFeedOwner},
	},
	{
		Name: atm.FeedTest,
		Help: "Sends a test event. Tells its number; feed.show tells as tested which one was " +
			"tried last, and as test_error why it did not arrive.",
		Params: []Param{paramFeed, paramFeedOwner},
	},
	{
		Name: atm.FeedRotate, Once: true,
		Help: "Replaces the secret of a subscription. For 24 hours the one before signs as well. " +
			"Tells the generation of the new one.",
		Params: []Param{paramFeed, paramFeedOwner},
	},
	{
		Name:   atm.FeedRemove,
		Help:   "Ends a subscription for good.",
		Params: []Param{paramFeed, paramFeedOwner},
	},
	{
		Name: atm.FeedSourceAdd, Once: true,
		Help: "Registers a source of signed webhooks, each of which is a notice (see note) by a " +
			"service. Tells its id; feed.source.secret tells what they are signed with.",
		Params: []Param{paramSource, paramSourceOwner},
	},
	{
		Name:       atm.FeedSourceList,
		Help:       "Lists the sources of webhooks, the first hundred.",
		Structured: true,
		answer:     atMost(MaxFeeds * rowBytes),
	},
	{
		Name: atm.FeedSourceSecret,
		Help: "Tells what webhooks of a source are signed with, and the path that they are sent " +
			"to.",
		Params:     []Param{paramSource, paramSourceOwner},
		Structured: true,
	},
	{
		Name: atm.FeedSourceRotate, Once: true,
		Help: "Replaces the secret of a source. For 24 hours the one before is good as well. " +
			"Tells the generation of the new one.",
		Params: []Param{paramSource, paramSourceOwner},
	},
	{
		Name:   atm.FeedSourceRemove,
		Help:   "Ends a source of webhooks for good.",
		Params: []Param{paramSource, paramSourceOwner},
	},
}
