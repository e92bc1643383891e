package methods

import "example.com/atm"

var (
	paramPasskey = Param{
		Name: "passkey", Kinds: []atm.Kind{atm.String},
		Help: "Id of a passkey, as the list of them tells.", Example: text("mB0kQ2xv"),
	}
	paramSession = Param{
		Name: "session", Kinds: []atm.Kind{atm.String},
		Help: "Id of a session, as the list of them tells; * for all.", Example: text("*"),
	}
	paramUser = Param{
		Name: "subject", Kinds: []atm.Kind{atm.String},
		Help: "Whose they are: user:NAME or service:NAME.", Example: text("user:alice"),
	}
)

// browsers are operations on what users sign in by in a browser.
var browsers = []Method{
	{
		Name:       atm.PasskeyList,
		Help:       "Lists the passkeys of the caller. They are added in the console.",
		Structured: true,
		answer:     atMost(MaxRows * rowBytes),
	},
	{
		Name: atm.PasskeyRename,
		Help: "Gives a passkey of the caller another name.",
		Params: []Param{paramPasskey, {
			Name: "name", Kinds: []atm.Kind{atm.String},
			Help: "For people, of at most 140 characters.", Example: text("My phone"),
		}},
	},
	{
		Name:   atm.PasskeyRemove,
		Help:   "Removes a passkey of the caller, and ends the sessions that began with it.",
		Params: []Param{paramPasskey},
	},
	{
		Name: atm.SessionList,
		Help: "Lists the sessions of the caller in the console that are not over: in which " +
			"browsers, since when and by what they signed in, and when each was seen last.",
		Structured: true,
		answer:     atMost(MaxRows * rowBytes),
	},
	{
		Name:   atm.SessionEnd,
		Help:   "Ends a session of the caller, or all of them.",
		Params: []Param{paramSession},
	},
	{
		Name:       atm.UserPasskeys,
		Help:       "Lists the passkeys of a user.",
		Params:     []Param{paramUser},
		Structured: true,
		answer:     atMost(MaxRows * rowBytes),
	},
	{
		Name:   atm.UserPasskeyRemove,
		Help:   "Removes a passkey of a user, and ends the sessions that began with it.",
		Params: []Param{paramUser, paramPasskey},
	},
	{
		Name:       atm.UserSessions,
		Help:       "Lists the sessions of a user in the console that are not over.",
		Params:     []Param{paramUser},
		Structured: true,
		answer:     atMost(MaxRows * rowBytes),
	},
	{
		Name:   atm.UserSessionEnd,
		Help:   "Ends a session of a user, or all of them.",
		Params: []Param{paramUser, paramSession},
	},
}
