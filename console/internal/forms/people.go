package forms

import (
	"cmp"
	"net/url"
	"strings"

	"example.com/atm"
)

var userList = List{
	Path: "admin/users", Title: "Users", Op: atm.UserList, Member: "users", Args: cursorOnly,
	Columns: []Column{
		{"subject", "User", toSessions},
		{"roles", "Roles", Plain},
		{"password", "Password", Plain},
		{"disabled", "Disabled", Plain},
	},
	Empty: "Nobody is known. Add a user, or invite one.",
	Same:  "atmctl user list",
	Above: []string{"admin/users/add", "admin/users/invite"},
	Rows: []RowAct{
		{Label: "Invite", Path: "admin/users/invite", Gives: thisSubject, When: enabled},
		{Label: "Disable", Path: "admin/users/disable", Gives: thisSubject, When: enabled},
		{
			Label: "Enable", Path: "admin/users/enable", Gives: thisSubject,
			When: func(row atm.Record) bool { return row.Get("disabled") == true },
		},
		{Label: "Revoke", Path: "admin/users/revoke", Gives: thisSubject},
	},
}

var thisSubject = map[string]string{"subject": "subject"}

func enabled(row atm.Record) bool { return row.Get("disabled") != true }

var roleNames = []string{
	string(atm.Customer), string(atm.Teller), string(atm.Auditor), string(atm.Operator),
	string(atm.Service),
}

var (
	newSubject = Field{
		Name: "subject", Label: "User", Kind: Subject, Hint: "user:NAME or service:NAME",
	}
	roles = Field{
		Name: "roles", Label: "Roles", Kind: Choices, Options: roleNames, Optional: true,
		Hint: "those there are, or customer, when none is chosen",
	}
)

// actOnUser is an action on a user that needs no more to be said.
func actOnUser(name, button string, op atm.Operation, says string) Action {
	return Action{
		Path: "admin/users/" + name, Title: button + " a user", Button: button, Op: op,
		Back:   "admin/users",
		Fields: []Field{{Name: "subject", Label: "User", Kind: Given}},
		Line: func(_ Bank, f url.Values) string {
			return button + " " + f.Get("subject") + says
		},
		Same: func(f url.Values) []string {
			return []string{"atmctl", "user", name, userName(f)}
		},
	}
}

// userName is how a subject is called at the command line, where a user is meant.
func userName(f url.Values) string { return strings.TrimPrefix(f.Get("subject"), "user:") }

var userActions = []Action{
	{
		Path: "admin/users/add", Title: "Add a user", Button: "Add", Op: atm.UserAdd,
		Back: "admin/users",
		Fields: []Field{
			newSubject, roles,
			{Name: "password", Fixed: noValue},
			{Name: "use", Fixed: noValue},
			{Name: "expect", Fixed: "new"},
		},
		Line: func(_ Bank, f url.Values) string {
			return "Make " + f.Get("subject") + " known" + asRoles(f) +
				". An invitation, or a certificate, lets them sign in."
		},
		Same: func(f url.Values) []string {
			return append([]string{"atmctl", "user", "add", userName(f)},
				repeated("--role", f.Get("roles"))...)
		},
	},
	{
		Path: "admin/users/invite", Title: "Invite a user", Button: "Invite", Op: atm.CertInvite,
		Back: "admin/users", Once: "the link",
		Fields: []Field{
			newSubject, roles,
			{
				Name: "wait", Label: "How long the code can be used", Optional: true,
				Hint: "such as 30m; 24h when left empty, 144h at most",
			},
		},
		Line: func(_ Bank, f url.Values) string {
			wait := f.Get("wait")
			if wait == "" {
				wait = "24h"
			}
			return "Make a code that works once, within " + wait + ": it makes its reader " +
				f.Get("subject") + asRoles(f) + "."
		},
		Same: func(f url.Values) []string {
			words := append([]string{"atmctl", "user", "invite", userName(f)},
				repeated("--role", f.Get("roles"))...)
			if f.Get("wait") != "" {
				words = append(words, "--ttl", f.Get("wait"))
			}
			return words
		},
	},
	actOnUser("disable", "Disable", atm.UserDisable,
		": it cannot sign in any more, in whatever way, until it is enabled."),
	actOnUser("enable", "Enable", atm.UserEnable, ": it can sign in again."),
	actOnUser("revoke", "Revoke", atm.UserRevoke, ": every certificate and token that it has "+
		"counts no longer, on open connections too. It has to be invited again."),
}

// asRoles says which roles somebody gets.
func asRoles(f url.Values) string {
	if f.Get("roles") == "" {
		return ""
	}
	return " as " + strings.Join(strings.Fields(f.Get("roles")), " and ")
}

var certificateList = List{
	Path: "admin/certificates", Title: "Certificates", Op: atm.CertList, Member: "certificates",
	Args: cursorOnly,
	Order: func(a, b atm.Record) int { // those that end first
		return cmp.Compare(Plain(a.Get("not_after")).Text, Plain(b.Get("not_after")).Text)
	},
	Columns: []Column{
		{"subject", "Of", Plain},
		{"not_after", "Ends", Left},
		{"serial", "Serial number", Code},
		{"authority", "Authority", Plain},
		{"last_use", "Last use", Moment},
		{"revoked", "Revoked", Plain},
	},
	Empty: "No certificate was issued. Issue one, or invite a user.",
	Same:  "atmctl cert list",
	Above: []string{"admin/certificates/issue", "admin/users/invite"},
	Rows: []RowAct{{
		Label: "Revoke", Path: "admin/certificates/revoke",
		Gives: map[string]string{"serial": "serial"}, When: notRevoked,
	}},
}

var tokenList = List{
	Path: "admin/tokens", Title: "Tokens", Op: atm.TokenList, Member: "tokens", Args: pageAnd,
	Columns: []Column{
		{"jti", "Token", Code},
		{"subject", "Of", Plain},
		{"actor", "For", Plain},
		{"scope", "May do", scopeOf},
		{"issued", "Issued", Moment},
		{"expires", "Ends", Moment},
		{"revoked", "Revoked", Plain},
	},
	Empty: "No token is in force. Invitations, grants and signing in at /token make some.",
	Same:  "atmctl token list",
	Rows: []RowAct{{
		Label: "Revoke", Path: "admin/tokens/revoke", Gives: map[string]string{"jti": "jti"},
		When: notRevoked,
	}},
}

// scopeOf says what a token is for.
func scopeOf(value any) Cell {
	c := Plain(value)
	if c.Text == string(atm.CertEnroll) {
		c.Text = "invitation"
	}
	return c
}

var credentialActions = []Action{
	{
		Path: "admin/certificates/issue", Title: "Issue a certificate", Button: "Issue",
		Op: atm.CertIssue, Back: "admin/certificates", Once: "the certificate",
		Fields: []Field{
			newSubject,
			{
				Name: "request", Label: "Certificate request", Kind: Lines,
				Hint: "PKCS #10 in PEM; only its public key is used",
			},
			roles,
			{
				Name: "life", Label: "Life", Optional: true,
				Hint: "in days, or such as 36h; 365 days when left empty",
			},
		},
		Line: func(_ Bank, f url.Values) string {
			life := f.Get("life")
			if life == "" {
				life = "365 days"
			}
			return "Sign a certificate by which the owner of this key is " + f.Get("subject") +
				asRoles(f) + ", for " + life + "."
		},
		Same: func(f url.Values) []string {
			return append(append([]string{"atmctl", "cert", "issue", f.Get("subject")},
				repeated("--role", f.Get("roles"))...), "--out", "DIR")
		},
	},
	{
		Path: "admin/certificates/revoke", Title: "Revoke a certificate", Button: "Revoke",
		Op: atm.CertRevoke, Back: "admin/certificates",
		Fields: []Field{{Name: "serial", Label: "Serial number", Kind: Given}},
		Line: func(_ Bank, f url.Values) string {
			return "Revoke certificate " + f.Get("serial") + ": it counts no longer, on open " +
				"connections too. Its holder needs another one to sign in."
		},
		Same: func(f url.Values) []string {
			return []string{"atmctl", "cert", "revoke", f.Get("serial")}
		},
	},
	{
		Path: "admin/tokens/revoke", Title: "Revoke a token", Button: "Revoke",
		Op: atm.TokenRevoke, Back: "admin/tokens",
		Fields: []Field{{Name: "jti", Label: "Token", Kind: Given}},
		Line: func(_ Bank, f url.Values) string {
			return "Revoke token " + f.Get("jti") + ": it counts no longer, on open connections " +
				"too. An invitation or a grant ends with its token."
		},
		Same: func(f url.Values) []string {
			return []string{"atmctl", "token", "revoke", f.Get("jti")}
		},
	},
}
