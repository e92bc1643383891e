package forms

// LogFilters are the members of a filter of the log, in the order in which a page shows them.
var LogFilters = []Field{
	{Name: "account", Label: "Account", Kind: Account, Optional: true},
	{Name: "who", Label: "Who", Optional: true, Hint: "such as user:alice"},
	{Name: "operation", Label: "Operation", Optional: true, Hint: "such as withdraw"},
	{Name: "event", Label: "Event", Optional: true, Hint: "such as op or auth.fail"},
	{
		Name: "status", Label: "Status", Kind: Choice, Optional: true,
		Options: []string{"OK", "ERROR"},
	},
	{Name: "code", Label: "Code", Optional: true, Hint: "such as INSUFFICIENT_FUNDS"},
	{Name: "since", Label: "Since", Optional: true, Hint: "a day, a time in RFC 3339, or 24h"},
	{Name: "until", Label: "Until", Optional: true, Hint: "likewise; a day counts to its end"},
}
