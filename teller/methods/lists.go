package methods

import "example.com/atm"

var (
	paramCursor = Param{
		Name: "cursor", Kinds: []atm.Kind{atm.String}, Optional: true,
		Help: "Where the page begins: next of the page before.",
	}
	paramLimit = Param{
		Name: "limit", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
		Help: "How many are on the page, 1 to 500; 50 when left out.",
	}
	paramOfAccount = Param{
		Name: "account", Kinds: paramAccount.Kinds, Optional: true,
		Help: "Number of the account that they are on; all accounts when left out.",
	}
	paramGrant = Param{
		Name: "grant", Kinds: []atm.Kind{atm.String},
		Help: "Id of a grant, the jti of its token.", Example: text("R3GZ5X7TQ2"),
	}
)

// lists are operations of administration that show what others have made, and take it back or
// change it.
var lists = []Method{
	{
		Name: atm.AccountSet,
		Help: "Gives an account another owner, another name of its holder, or both. What " +
			"is left out stays.",
		Params:     []Param{paramAccount, paramOwner, paramHolder},
		Structured: true, Result: resultAccount,
	},
	{
		Name: atm.AccountImport,
		Help: "Opens many accounts, all of them or none. Without apply it changes nothing, and " +
			"tells what would be refused: " +
			"rows, how many there are, and problems, structs of row, code and reason.",
		Params: []Param{
			{
				Name: "rows", Kinds: []atm.Kind{atm.String}, Hashed: true,
				Example: text("200,user:alice,Alice Smith,50.00"),
				Help: "Lines of comma-separated values (RFC 4180), at most 500: number, owner, " +
					"name of the holder, opening balance. The audit log has a keyed hash of them.",
			},
			{
				Name: "apply", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "apply, to do it.",
			},
		},
		Structured: true,
		answer:     atMost(MaxImport * rowBytes),
	},
	{
		Name: atm.UserImport,
		Help: "Makes many users known, with passwords for HTTP Digest, all of them or none. " +
			"Without passwords it changes nothing, " +
			"and tells what would be refused: rows, how many there are, and problems, structs of " +
			"row, code and reason.",
		Params: []Param{
			{
				Name: "rows", Kinds: []atm.Kind{atm.String},
				Example: text("user:alice,customer teller"),
				Help: "Lines of comma-separated values (RFC 4180), at most 500: subject, and " +
					"roles separated by spaces.",
			},
			{
				Name: "passwords", Kinds: []atm.Kind{atm.String}, Optional: true, Secret: true,
				Example: text("…"),
				Help:    "One for each row, a line each, of at least 15 characters.",
			},
		},
		Structured: true,
		answer:     atMost(MaxImport * rowBytes),
	},
	{
		Name: atm.HoldList,
		Help: "Lists the holds that may be captured, in order of account and hold; next is the " +
			"cursor of the page after it, " +
			"empty at the end. A page may be short, or empty, and not the last.",
		Params:     []Param{paramCursor, paramLimit, paramOfAccount},
		Structured: true, Result: page("holds", resultHold),
		answer: rows(rowBytes, 1),
	},
	{
		Name:       atm.HoldShow,
		Help:       "Shows a hold and what became of it: pending, captured, released or expired.",
		Params:     []Param{paramHold},
		Structured: true, Result: resultHold,
	},
	{
		Name: atm.GrantList,
		Help: "Lists the grants that have not ended, to customers those that they gave; next is " +
			"the cursor of the page after it, " +
			"empty at the end. A page may be short, or empty, and not the last.",
		Params:     []Param{paramCursor, paramLimit, paramOfAccount},
		Structured: true, Result: page("grants", resultGrant),
		answer: rows(grantBytes, 1),
	},
	{
		Name:   atm.GrantRevoke,
		Help:   "Makes a grant count no longer. Customers revoke those that they gave.",
		Params: []Param{paramGrant},
	},
	{
		Name: atm.TokenList,
		Help: "Lists the tokens of this server that have not ended, those of grants and " +
			"invitations (scope enroll) among them, " +
			"in order of their ids; next is the cursor of the page after it, empty at the end.",
		Params:     []Param{paramCursor, paramLimit},
		Structured: true,
		answer:     rows(recordBytes, 1),
	},
}
