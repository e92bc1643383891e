package forms

import (
	"net/url"

	"example.com/atm"
)

var thisPasskey = Field{Name: "passkey", Label: "Passkey", Kind: Given}

// meActions are those of callers on what they sign in by.
var meActions = []Action{
	{
		Path: "me/passkeys/rename", Title: "Rename a passkey", Button: "Rename",
		Op: atm.PasskeyRename, Back: "me",
		Fields: []Field{thisPasskey, {Name: "name", Label: "Name"}},
		Line: func(b Bank, f url.Values) string {
			return "Call the passkey " + passkeyName(b, f) + " " + f.Get("name") + "."
		},
		Same: func(url.Values) []string { return nil },
	},
	{
		Path: "me/passkeys/remove", Title: "Remove a passkey", Button: "Remove",
		Op: atm.PasskeyRemove, Back: "me", Fields: []Field{thisPasskey},
		Line: func(b Bank, f url.Values) string {
			return "Remove the passkey " + passkeyName(b, f) + ". It signs nobody in any more, " +
				"and the sessions that began with it end."
		},
		Same: func(url.Values) []string { return nil },
	},
	{
		Path: "me/sessions/end", Title: "End a session", Button: "End", Op: atm.SessionEnd,
		Back: "me", Fields: []Field{{Name: "session", Label: "Session", Kind: Given}},
		Line: func(Bank, url.Values) string {
			return "End the session: its browser has to sign in again."
		},
		Same: func(url.Values) []string { return nil },
	},
}

// passkeyName is how the caller calls the passkey of a form.
func passkeyName(b Bank, f url.Values) string {
	list, _ := b.Look(atm.PasskeyList).Get("passkeys").([]atm.Record)
	for _, p := range list {
		if p.Get("id") == f.Get("passkey") {
			name, _ := p.Get("name").(string)
			return name
		}
	}
	return f.Get("passkey")
}
