package methods

import "example.com/atm"

var (
	paramOwner = Param{
		Name: "owner", Kinds: []atm.Kind{atm.String}, Optional: true,
		Help:    "Whose account it is: user:NAME or service:NAME.",
		Example: text("user:alice"),
	}
	paramOpening = Param{
		Name: "opening", Kinds: paramAmount.Kinds, Optional: true,
		Help: "Opening balance in dollars, posted from equity:opening; none when left out.",
	}
)

var paramAccountFilter = Param{
	Name: "filter", Kinds: []atm.Kind{atm.Struct}, Optional: true,
	Help: "owner, a subject; standing, open (or active), frozen or closed; limits, any for those " +
		"that have some; " +
		"inactive_since, a time in RFC 3339, for those without an operation since then, which " +
		"are told with the time of the last one.",
}

var paramHolder = Param{
	Name: "name", Kinds: []atm.Kind{atm.String}, Optional: true, Hashed: true,
	Help: "Name of the holder, for people, of at most 140 characters. The audit log has a keyed " +
		"hash of it.",
}

var administration = []Method{
	{
		Name:       atm.AccountOpen,
		Help:       "Opens an account.",
		Params:     []Param{paramAccount, paramOwner, paramOpening, paramHolder},
		Structured: true, Result: resultAccount,
	},
	{
		Name:       atm.AccountShow,
		Help:       "Shows the record of an account.",
		Params:     []Param{paramAccount},
		Structured: true, Result: resultAccount,
	},
	{
		Name: atm.AccountList,
		Help: "Lists accounts in order of number; next is the cursor of the page after it, empty " +
			"at the end. With a filter a page " +
			"may be short, or empty, and not the last.",
		Params:     []Param{paramCursor, paramLimit, paramAccountFilter},
		Structured: true, Result: page("accounts", resultAccount),
		answer: rows(recordBytes, 1),
	},
	{
		Name:       atm.AccountFreeze,
		Help:       "Freezes an account: no money moves until it is unfrozen.",
		Params:     []Param{paramAccount},
		Structured: true, Result: resultAccount,
	},
	{
		Name:       atm.AccountUnfreeze,
		Help:       "Lets a frozen account be used again.",
		Params:     []Param{paramAccount},
		Structured: true, Result: resultAccount,
	},
	{
		Name:       atm.AccountClose,
		Help:       "Closes an empty account for good. Its number is not used again.",
		Params:     []Param{paramAccount},
		Structured: true, Result: resultAccount,
	},
	{
		Name: atm.AccountLimit,
		Help: "Limits what may leave an account by withdrawal, transfer and authorization. What " +
			"is left out is not limited, or, when only changes are made, as before.",
		Params: []Param{
			paramAccount,
			{
				Name: "per_operation", Kinds: paramAmount.Kinds, Optional: true,
				Help:    "Dollars that may leave at once, or none for no limit.",
				Example: text("500.00"),
			},
			{
				Name: "daily_amount", Kinds: paramAmount.Kinds, Optional: true,
				Help:    "Dollars that may leave in a day, or none for no limit.",
				Example: text("2000.00"),
			},
			{
				Name: "daily_count", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help:    "How often money may leave in a day: 0 for never, or none for no limit.",
				Example: atm.Arg{Kind: atm.Int, Text: "20"},
			},
			{
				Name: "zone", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "Time zone in which a day begins; UTC when left out, or none.",
				Example: text("America/New_York"),
			},
			{
				Name: "mode", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "change for the limits that are given alone, set for all of them; set when " +
					"left out.", Example: text("change"),
			},
		},
		Structured: true, Result: resultAccount,
	},
	{
		Name: atm.CertIssue,
		Help: "Signs a client certificate for a subject over the key of a PKCS #10 request.",
		Params: []Param{
			{
				Name: "subject", Kinds: []atm.Kind{atm.String}, Help: "user:NAME or service:NAME.",
				Example: text("service:billing"),
			},
			{
				Name: "request", Kinds: []atm.Kind{atm.String}, Help: "The certificate request, " +
					"PEM. Only its public key is used.",
				Example: text("-----BEGIN CERTIFICATE REQUEST-----…"),
			},
			{
				Name: "roles", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "Roles of the subject from now on, separated by spaces.",
				Example: text("teller"),
			},
			{
				Name: "life", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Life of the certificate in days, or with a unit, such as 36h or 15m: 5 " +
					"minutes to 825 days; 365 days when left out.",
			},
		},
		Structured: true,
		answer:     atMost(issueBytes),
	},
	{
		Name: atm.UserAdd,
		Help: "Makes a user known and gives them roles, and a password for HTTP Digest.",
		Params: []Param{
			{
				Name: "subject", Kinds: []atm.Kind{atm.String}, Help: "user:NAME or service:NAME.",
				Example: text("user:alice"),
			},
			{
				Name: "roles", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Roles from now on, separated by spaces; for somebody new, customer or " +
					"service when left out.", Example: text("customer"),
			},
			{
				Name: "password", Kinds: []atm.Kind{atm.String}, Optional: true, Secret: true,
				Help:    "At least 15 characters. Left out, a password that there is stays.",
				Example: text("…"),
			},
			{
				Name: "use", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "What the password is for: digest, or token for one that is stored with " +
					"argon2id and is good at the token endpoint alone. digest when left out.",
				Example: text("token"),
			},
			{
				Name: "expect", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "new to refuse a subject that is known, known to refuse one that is not.",
				Example: text("new"),
			},
		},
		Structured: true,
	},
	{
		Name: atm.UserList,
		Help: "Lists everybody who is known, in order of subject; next is the cursor of the page " +
			"after it, empty at the end.",
		Params: []Param{
			{
				Name: "cursor", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Where the page begins: next of the page before.",
			},
		},
		Structured: true,
		answer:     atMost(MaxRows * rowBytes),
	},
	{
		Name: atm.UserDisable,
		Help: "Keeps somebody from signing in, in whatever way.",
		Params: []Param{{
			Name: "subject", Kinds: []atm.Kind{atm.String},
			Help: "user:NAME or service:NAME.", Example: text("user:alice"),
		}},
		Structured: true,
	},
	{
		Name: atm.UserEnable,
		Help: "Lets somebody sign in again.",
		Params: []Param{{
			Name: "subject", Kinds: []atm.Kind{atm.String},
			Help: "user:NAME or service:NAME.", Example: text("user:alice"),
		}},
		Structured: true,
	},
	{
		Name: atm.UserShow,
		Help: "Shows what is known of somebody.",
		Params: []Param{{
			Name: "subject", Kinds: []atm.Kind{atm.String},
			Help: "user:NAME or service:NAME.", Example: text("user:alice"),
		}},
		Structured: true,
	},
	{
		Name: atm.UserRevoke,
		Help: "Makes every certificate and token of somebody from before now count no longer, " +
			"on open connections too.",
		Params: []Param{{
			Name: "subject", Kinds: []atm.Kind{atm.String},
			Help: "user:NAME or service:NAME.", Example: text("user:alice"),
		}},
	},
	{
		Name: atm.CertInvite,
		Help: "Makes a code by which somebody gets one certificate at /enroll, over a key of " +
			"their own.",
		Params: []Param{
			{
				Name: "subject", Kinds: []atm.Kind{atm.String}, Help: "user:NAME or service:NAME.",
				Example: text("service:billing"),
			},
			{
				Name: "roles", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "Roles of the subject from then on, separated by spaces.",
				Example: text("teller"),
			},
			{
				Name: "wait", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "How long the code can be used, such as 30m; 24h when left out, 144h at most.", Example: text("24h"),
			},
			{
				Name: "life", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Life of the certificate, as for admin.cert.issue.",
			},
		},
		Structured: true,
	},
	{
		Name: atm.CertRenew,
		Help: "Signs another certificate for a caller who signed in by one of this server, over " +
			"the key " +
			"of a PKCS #10 request, as long as the one before.",
		Params: []Param{
			{
				Name: "request", Kinds: []atm.Kind{atm.String}, Help: "The certificate request, " +
					"PEM. Only its public key is used.",
				Example: text("-----BEGIN CERTIFICATE REQUEST-----…"),
			},
		},
		Structured: true,
	},
	{
		Name: atm.CertRevoke,
		Help: "Makes a certificate count no longer, on open connections too.",
		Params: []Param{
			{Name: "serial", Kinds: []atm.Kind{atm.String}, Help: "Its serial number in " +
				"hexadecimal.", Example: text("5f3a9c0e")},
			{
				Name: "foreign", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "foreign for a certificate that this server did not issue.",
				Example: text("foreign"),
			},
		},
	},
	{
		Name: atm.GrantCreate,
		Help: "Lets somebody else act on accounts of the caller, up to a total and for a time. " +
			"The grant is a token.",
		Params: []Param{
			paramAccount,
			{
				Name: "operations", Kinds: []atm.Kind{atm.String},
				Help: "inquiry, deposit, withdraw, transfer or authorize; several separated by " +
					"spaces.", Example: text("withdraw"),
			},
			{Name: "cap", Kinds: paramAmount.Kinds, Help: "Dollars that may be moved under it in " +
				"all.", Example: text("50.00")},
			{
				Name: "to", Kinds: []atm.Kind{atm.String},
				Help: "The one that may act: user:NAME or " +
					"service:NAME.", Example: text("service:billing"),
			},
			{
				Name: "seconds", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Its life, 1 to 3600; 300 when left out.", Example: atm.Arg{
					Kind: atm.Int,
					Text: "300",
				},
			},
			{
				Name: "more", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "More accounts that it is for, separated by spaces.",
			},
		},
		Structured: true,
	},
	{
		Name: atm.TokenIssue,
		Help: "Makes a token for somebody.",
		Params: []Param{
			{
				Name: "subject", Kinds: []atm.Kind{atm.String}, Help: "user:NAME or service:NAME.",
				Example: text("service:billing"),
			},
			{
				Name: "scope", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Methods that it is for, separated by spaces; * for all, also when left " +
					"out.",
				Example: text("inquiry deposit"),
			},
			{
				Name: "seconds", Kinds: []atm.Kind{atm.Int, atm.String}, Optional: true,
				Help: "Its life, 1 to 3600; 900 when left out.", Example: atm.Arg{
					Kind: atm.Int,
					Text: "900",
				},
			},
			{
				Name: "certificate", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "SHA-256 in base64url of the certificate that the token is bound to.",
			},
		},
		Structured: true,
	},
	{
		Name: atm.TokenRevoke,
		Help: "Makes a token count no longer.",
		Params: []Param{
			{
				Name: "jti", Kinds: []atm.Kind{atm.String}, Help: "Its id.",
				Example: text("R3GZ5X7TQ2"),
			},
			{
				Name: "issuer", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Its issuer; this server when left out.",
			},
		},
	},
	{
		Name: atm.CertList,
		Help: "Lists the client certificates that were issued, and which of them are revoked, in " +
			"order of serial number; " +
			"next is the cursor of the page after it, empty at the end. Those that ended long " +
			"ago are not in it; " +
			"last_use is empty for those that the newest 10,000 entries of the log do not name.",
		Params: []Param{
			{
				Name: "cursor", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help: "Where the page begins: next of the page before.",
			},
		},
		Structured: true,
		answer:     atMost(MaxRows * rowBytes),
	},
	{
		Name:       atm.CertCRL,
		Help:       "Gives the certificate revocation list of the authority of clients, in PEM.",
		Structured: true,
		answer:     atMost(crlBytes),
	},
	{
		Name: atm.AuditList,
		Help: "Lists entries of the audit log, newest first; next is the cursor of the page " +
			"after it, empty at the end; since is the time from which on the server keeps " +
			"entries, empty for all.",
		Params: []Param{{
			Name: "filter", Kinds: []atm.Kind{atm.Struct}, Optional: true,
			Help: "account, who, operation, event, status, code: what they must be; since and " +
				"until: times in RFC 3339; " +
				"before: an index; limit: 1 to 500, 50 when left out; cursor: next of the page " +
				"before.",
			Example: atm.Arg{
				Kind:    atm.Struct,
				Members: []atm.Member{{Name: "account", Arg: text("100")}},
			},
		}},
		Structured: true,
		answer:     atMost(MaxPageBytes + MaxRows*256),
	},
	{
		Name: atm.AuditBalances,
		Help: "Tells a hash of all balances and the size of the audit log that they follow " +
			"from, in one snapshot.",
		Structured: true,
	},
	{
		Name: atm.AuditRotate,
		Help: "Replaces the key of the audit log. The old key also signs until the next rotation.",
	},
	{
		Name: atm.TokenRotate,
		Help: "Makes another key sign tokens, and returns what it is called. Tokens of the key " +
			"before are good until they end.",
		Params: []Param{
			{
				Name: "force", Kinds: []atm.Kind{atm.String}, Optional: true,
				Help:    "force, to rotate although tokens of the key before stop working.",
				Example: text("force"),
			},
		},
	},
	{
		Name: atm.VaultRotate,
		Help: "Replaces the keys that the vault is sealed with. What is there is sealed again in " +
			"the background.",
	},
	{
		Name: atm.ServerStatus,
		Help: "Tells how the server is: what it runs, what it has published, when its " +
			"certificates end, " +
			"and when a backup was taken.",
		Structured: true,
		answer:     atMost(statusBytes),
	},
}
