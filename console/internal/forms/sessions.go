package forms

import (
	"net/url"

	"example.com/atm"
)

// ofUser is the user that a list or an action is about.
var ofUser = []Field{{Name: "subject", Label: "User", Kind: Subject, Hint: "user:NAME"}}

var sessionList = List{
	Path: "admin/sessions", Title: "Sessions", Op: atm.UserSessions, Member: "sessions",
	Args: filtersOnly, Filters: ofUser, Same: "atmctl user sessions",
	Columns: []Column{
		{"agent", "Browser", browser},
		{"method", "Signed in by", Plain},
		{"begun", "Begun", Moment},
		{"seen", "Last seen", Moment},
	},
	Empty: "Name a user. A user without a session has not signed in here, or has signed out.",
	Rows: []RowAct{{
		Label: "End", Path: "admin/sessions/end", Gives: map[string]string{"session": "id"},
	}},
}

var passkeyList = List{
	Path: "admin/passkeys", Title: "Passkeys", Op: atm.UserPasskeys, Member: "passkeys",
	Args: filtersOnly, Filters: ofUser, Same: "atmctl user passkeys",
	Columns: []Column{
		{"name", "Passkey", Plain},
		{"added", "Added", Moment},
		{"synced", "On several devices", Plain},
	},
	Empty: "Name a user. A user without a passkey adds one by an invitation.",
	Rows: []RowAct{{
		Label: "Remove", Path: "admin/passkeys/remove", Gives: map[string]string{"passkey": "id"},
	}},
}

// filtersOnly are the arguments of an operation that takes each filter as a parameter.
func filtersOnly(l *List, query url.Values) (args []atm.Arg) {
	for _, f := range l.Filters {
		args = append(args, text(query.Get(f.Name)))
	}
	return args
}

var sessionActions = []Action{
	{
		Path: "admin/sessions/end", Title: "End a session of a user", Button: "End",
		Op: atm.UserSessionEnd, Back: "admin/sessions",
		Fields: []Field{
			{Name: "subject", Label: "User", Kind: Given},
			{Name: "session", Label: "Session", Kind: Given},
		},
		Line: func(_ Bank, f url.Values) string {
			return "End this session of " + f.Get("subject") + ": its browser has to sign in again."
		},
		Same: func(f url.Values) []string {
			return []string{"atmctl", "user", "sessions", userName(f), "--end", f.Get("session")}
		},
	},
	{
		Path: "admin/passkeys/remove", Title: "Remove a passkey of a user", Button: "Remove",
		Op: atm.UserPasskeyRemove, Back: "admin/passkeys",
		Fields: []Field{
			{Name: "subject", Label: "User", Kind: Given},
			{Name: "passkey", Label: "Passkey", Kind: Given},
		},
		Line: func(_ Bank, f url.Values) string {
			return "Remove this passkey of " + f.Get("subject") + ". It signs nobody in any " +
				"more, and the sessions that began with it end."
		},
		Same: func(f url.Values) []string {
			return []string{"atmctl", "user", "passkeys", userName(f), "--remove", f.Get("passkey")}
		},
	},
}

// browser shows what a browser calls itself in few words.
func browser(value any) Cell { return Cell{Text: BrowserName(Plain(value).Text)} }

// toSessions shows a user, with a link to the sessions of the user.
func toSessions(value any) Cell {
	c := Plain(value)
	c.Link = "/console/admin/sessions?" + url.Values{"subject": {c.Text}}.Encode()
	return c
}
