package teller_test

import (
	"strings"
	"testing"

	"example.com/atm"
)

func TestAdministrationOfAccountsAnswersWithCodeAndReason(t *testing.T) {
	b := newBank(t)
	b.last = 10
	op := b.caller("user:operator", atm.Operator)
	b.caller("user:alice", atm.Customer)
	account := text(string(b.open("user:alice", 10000)))
	unused := text("4040404")
	b.try(op, []try{
		{atm.AccountOpen, args(account), "ACCOUNT_EXISTS "},
		{atm.AccountOpen, args(text("zero")), "ACCOUNT_NOT_FOUND "},
		{atm.AccountOpen, args(text("20"), text("alice")), "FAULT a subject is user:NAME"},
		{atm.AccountOpen, args(text("20"), text(""), text("-1")), "AMOUNT_NOT_POSITIVE "},
		{
			atm.AccountOpen, args(text("20"), text(""), text(""), text("a\u202eb")),
			"FAULT the name of a holder has",
		},
		{
			atm.AccountOpen, args(text("20"), text("user:alice"), text("1.00"), text("Alice")),
			"OK ",
		},
		{atm.AccountShow, args(text("20")), "OK "},
		{atm.AccountShow, args(unused), "ACCOUNT_NOT_FOUND "},
		{atm.AccountFreeze, args(unused), "ACCOUNT_NOT_FOUND "},
		{atm.AccountClose, args(account), "ACCOUNT_NOT_EMPTY "},

		{atm.AccountSet, args(account), "FAULT there is nothing to set"},
		{atm.AccountSet, args(account, text("nobody")), "FAULT a subject is user:NAME"},
		{atm.AccountSet, args(account, text("user:alice")), "OK "},
		{atm.AccountSet, args(unused, text("user:alice")), "ACCOUNT_NOT_FOUND "},
	})
	frozen := text(string(b.open("user:frozen", 100)))
	b.try(op, []try{{atm.AccountFreeze, args(frozen), "OK "}})
	owner := b.caller("user:frozen", atm.Customer)
	b.try(owner, []try{
		{atm.Withdraw, args(frozen, text("1")), "ACCOUNT_FROZEN "},
		{atm.Deposit, args(frozen, text("1")), "ACCOUNT_FROZEN "},
		{atm.Inquiry, args(frozen), "OK 1.00"},
	})
	b.try(op, []try{{atm.AccountUnfreeze, args(frozen), "OK "}})
	b.try(owner, []try{{atm.Withdraw, args(frozen, text("1")), "OK 0.00"}})
	b.try(op, []try{{atm.AccountClose, args(frozen), "OK "}})
	b.try(owner, []try{{atm.Deposit, args(frozen, text("1")), "ACCOUNT_CLOSED "}})
}

func TestFirstOfTwoBadLimitsIsTheAnswer(t *testing.T) {
	b := newBank(t)
	op := b.caller("user:operator", atm.Operator)
	account := text(string(b.open("user:alice", 100)))
	for range 50 { // a rule must not depend on the order of a map
		b.try(op, []try{{
			atm.AccountLimit, args(account, text("0.001"), text("0")), "AMOUNT_PRECISION ",
		}})
	}
}

func TestLimitsAreReadMemberByMember(t *testing.T) {
	b := newBank(t)
	op := b.caller("user:operator", atm.Operator)
	owner := b.caller("user:alice", atm.Customer)
	account := text(string(b.open(owner.Subject, 100000)))
	none := text("")
	b.try(op, []try{
		{atm.AccountLimit, args(account, text("1e2")), "AMOUNT_INVALID "},
		{atm.AccountLimit, args(account, none, text("0.001")), "AMOUNT_PRECISION "},
		{
			atm.AccountLimit, args(account, none, none, number(-1)),
			"AMOUNT_INVALID daily_count is 0",
		},
		{
			atm.AccountLimit, args(account, none, none, none, text("Mars/Olympus")),
			`FAULT there is no time zone "Mars/Olympus"`,
		},
		{
			atm.AccountLimit, args(account, none, none, none, none, text("add")),
			"FAULT the mode of limits is change or set",
		},
		{atm.AccountLimit, args(text("4040404"), text("1")), "ACCOUNT_NOT_FOUND "},
		{
			atm.AccountLimit,
			args(account, text("50"), text("80"), number(3), text("Europe/Berlin")), "OK ",
		},
	})
	b.try(owner, []try{
		{atm.Withdraw, args(account, text("50.01")), "LIMIT_PER_OPERATION "},
		{atm.Withdraw, args(account, text("50")), "OK "},
		{atm.Withdraw, args(account, text("31")), "LIMIT_DAILY_AMOUNT "},
		{atm.Withdraw, args(account, text("1")), "OK "},
		{atm.Withdraw, args(account, text("1")), "OK "},
		{atm.Withdraw, args(account, text("1")), "LIMIT_DAILY_COUNT "},
	})
	// With change, what is left out stays.
	b.try(op, []try{{
		atm.AccountLimit, args(account, none, none, text("none"), none, text("change")), "OK ",
	}})
	b.try(owner, []try{
		{atm.Withdraw, args(account, text("1")), "OK "},
		{atm.Withdraw, args(account, text("50.01")), "LIMIT_PER_OPERATION "},
	})
	b.try(op, []try{{atm.AccountLimit, args(account), "OK "}}) // lifts all of them
	b.try(owner, []try{{atm.Withdraw, args(account, text("500")), "OK "}})
	b.try(op, []try{{atm.AccountLimit, args(account, none, none, number(0)), "OK "}})
	b.try(owner, []try{{atm.Withdraw, args(account, text("1")), "LIMIT_DAILY_COUNT "}})
}

func TestListsRefuseForeignCursorsLimitsAndMembers(t *testing.T) {
	b := newBank(t)
	op := b.caller("user:operator", atm.Operator)
	auditor := b.caller("user:auditor", atm.Auditor)
	for range 3 {
		b.open("user:alice", 100)
	}
	filter := func(words ...string) []atm.Arg {
		return args(atm.Arg{}, atm.Arg{}, members(words...))
	}
	b.try(op, []try{
		{atm.AccountList, nil, "OK "},
		{atm.AccountList, args(text("next")), "CURSOR_INVALID The cursor is none of this server's"},
		{atm.AccountList, args(text(""), number(0)), "FAULT limit is a number from 1 to 500"},
		{atm.AccountList, args(text(""), number(501)), "FAULT limit is a number from 1 to 500"},
		{atm.AccountList, filter("colour", "red"), "FAULT a filter of accounts has no colour"},
		{atm.AccountList, filter("owner", "alice"), "FAULT a subject is user:NAME"},
		{atm.AccountList, filter("owner", "user:nobody"), "ACCOUNT_NOT_FOUND There is no " +
			"user:nobody"},
		{atm.AccountList, filter("standing", "lost"), "FAULT a standing is open, frozen or closed"},
		{atm.AccountList, filter("limits", "many"), "FAULT limits of the filter is any"},
		{atm.AccountList, filter("inactive_since", "May"), "FAULT inactive_since of the filter is"},
		{atm.AccountList, filter("standing", "active"), "OK "},
		{atm.HoldList, args(text("x")), "CURSOR_INVALID "},
		{atm.HoldList, args(text("1 x")), "CURSOR_INVALID "},
		{atm.HoldList, args(text("1 h2")), "OK "},
		{atm.HoldList, args(text(""), text(""), text("4040404")), "ACCOUNT_NOT_FOUND "},
		{atm.GrantList, args(text(""), text("many")), "FAULT limit is a number"},
		{atm.TokenList, args(text(""), number(1000)), "FAULT limit is a number"},
	})
	b.try(auditor, []try{
		{atm.AuditList, nil, "OK "},
		{atm.AuditList, args(members("colour", "red")), "FAULT a filter has no colour"},
		{atm.AuditList, args(members("limit", "0")), "CURSOR_INVALID limit of the filter makes no"},
		{
			atm.AuditList, args(members("cursor", "x")),
			"CURSOR_INVALID cursor of the filter makes no",
		},
		{
			atm.AuditList, args(members("since", "May")),
			"CURSOR_INVALID since of the filter makes no",
		},
		{
			atm.AuditList,
			args(members("since", "2026-02-01T00:00:00Z", "until", "2026-01-01T00:00:00Z")),
			"CURSOR_INVALID since of the filter is after until",
		},
	})
	var numbers []string
	for cursor, pages := "", 0; pages == 0 || cursor != ""; pages++ {
		page := b.do(op, atm.AccountList, text(cursor), number(2)).Result.(atm.Record)
		for _, account := range page.Get("accounts").([]atm.Record) {
			numbers = append(numbers, account.Get("account").(string))
		}
		cursor = page.Get("next").(string)
	}
	if got := strings.Join(numbers, " "); got != "1 2 3" {
		t.Errorf("the pages list the accounts %s", got)
	}
}

func TestAdministrationOfUsersAnswersWithCodeAndReason(t *testing.T) {
	b := newBank(t)
	op := b.caller("user:operator", atm.Operator)
	const good = "violet kettle under 7 stairs"
	subject, none := text("user:alice"), text("")
	b.try(op, []try{
		{atm.UserShow, args(text("alice")), "FAULT a subject is user:NAME"},
		{atm.UserShow, args(subject), "ACCOUNT_NOT_FOUND "},
		{atm.UserAdd, args(text("user:a/b")), "FAULT a subject is user:NAME"},
		{atm.UserAdd, args(subject, text("king")), `FAULT there is no role "king"`},
		{atm.UserAdd, args(subject, none, text("short")), "FAULT a password has 15 to 256"},
		{
			atm.UserAdd, args(subject, none, text("password password")),
			"FAULT the password is too easily guessed",
		},
		{
			atm.UserAdd, args(subject, none, text("a bell\a in the middle")),
			"FAULT a password has no control characters",
		},
		{
			atm.UserAdd, args(subject, none, text(good), text("all")),
			"FAULT a password is for digest",
		},
		{
			atm.UserAdd, args(subject, none, none, none, text("unknown")),
			"FAULT somebody is expected to be new or known",
		},
		{atm.UserAdd, args(subject, none, none, none, text("known")), "ACCOUNT_NOT_FOUND "},
		{atm.UserAdd, args(subject, text("customer teller"), text(good)), "OK "},
		{atm.UserAdd, args(subject, none, none, none, text("new")), "ACCOUNT_EXISTS "},
		{atm.UserShow, args(subject), "OK "},
		{atm.UserDisable, args(text("user:nobody")), "ACCOUNT_NOT_FOUND "},
		{atm.UserDisable, args(subject), "OK "},
		{atm.UserEnable, args(subject), "OK "},
		{atm.UserRevoke, args(text("user:nobody")), "ACCOUNT_NOT_FOUND "},
		{atm.UserRevoke, args(subject), "OK "},
		{atm.CertRevoke, args(text("no number")), "FAULT a serial number is hexadecimal"},
		{atm.CertRevoke, args(text("5f3a")), "ACCOUNT_NOT_FOUND There is no certificate 5f3a"},
		{
			atm.CertRevoke, args(text("5f3a"), text("mine")),
			"FAULT what can be said of a certificate",
		},
		{atm.CertRevoke, args(text("5f:3a"), text("foreign")), "OK "},
	})
	by := *op
	by.Scope = []atm.Operation{atm.UserAdd}
	b.try(&by, []try{{
		atm.UserAdd, args(subject, none, text(good)),
		"PERMISSION_DENIED A token makes nothing that can do more",
	}})
}

func TestLastOperatorIsKept(t *testing.T) {
	b := newBank(t)
	op := b.caller("user:operator", atm.Operator)
	b.try(op, []try{{atm.UserDisable, args(text("user:operator")), "PERMISSION_DENIED "}})
}

func TestImportsAreWholeOrNothing(t *testing.T) {
	b := newBank(t)
	op := b.caller("user:operator", atm.Operator)
	b.caller("user:alice", atm.Customer)
	apply := text("apply")
	b.try(op, []try{
		{atm.AccountImport, args(text("")), "FAULT an import has 1 to 500 rows"},
		{atm.AccountImport, args(text(strings.Repeat("1,,,\n", 501))), "FAULT an import has 1 to " +
			"500"},
		{atm.AccountImport, args(text("1,user:alice")), "FAULT the rows: "},
		{atm.AccountImport, args(text("x,,,")), "FAULT row 1: the first field is no account number"},
		{atm.AccountImport, args(text("1,alice,,")), "FAULT row 1: a subject is"},
		{atm.AccountImport, args(text("1,,,1.001")), "FAULT row 1: The amount has a fraction"},
		{atm.AccountImport, args(text("1,,,"), text("now")), "FAULT what can be said is apply"},
		{atm.AccountImport, args(text("1,user:alice,Alice,5.00\n2,,,")), "OK "},
		{atm.AccountShow, args(text("1")), "ACCOUNT_NOT_FOUND "},
		{atm.AccountImport, args(text("1,user:alice,Alice,5.00\n1,,,"), apply), "ACCOUNT_EXISTS "},
		{atm.AccountShow, args(text("1")), "ACCOUNT_NOT_FOUND "},
		{atm.AccountImport, args(text("1,user:alice,Alice,5.00\n2,,,"), apply), "OK "},
		{atm.AccountShow, args(text("2")), "OK "},

		{atm.UserImport, args(text("bob,customer")), "FAULT row 1: a subject is"},
		{atm.UserImport, args(text("user:bob,king")), "FAULT row 1: there is no role"},
		{
			atm.UserImport, args(text("user:bob,\nuser:eve,"),
				text("violet kettle under 7 stairs")),
			"FAULT each row has one password: there are 1 for 2",
		},
		{atm.UserImport, args(text("user:bob,"), text("short")), "FAULT row 1: a password has"},
		{atm.UserImport, args(text("user:bob,"), text("violet kettle under 7 stairs\n")), "OK "},
		{atm.UserShow, args(text("user:bob")), "OK "},
	})
}

func TestTokensAndGrantsAreBounded(t *testing.T) {
	b := newBank(t)
	op := b.caller("user:operator", atm.Operator)
	owner := b.caller("user:alice", atm.Customer)
	b.caller(grantee, atm.Service)
	account := text(string(b.open(owner.Subject, 10000)))
	other := text(string(b.open("user:other", 10000)))
	to, none := text(grantee), text("")
	b.try(op, []try{
		{atm.TokenIssue, args(text("alice")), "FAULT a subject is"},
		{atm.TokenIssue, args(to, text("fly")), `FAULT there is no method "fly" for a scope`},
		{atm.TokenIssue, args(to, none, number(3601)), "FAULT the seconds of a token"},
		{atm.TokenIssue, args(to, none, none, text("x")), "FAULT a token is bound to the SHA-256"},
		{atm.TokenIssue, args(to, text("inquiry")), "OK "},
		{atm.TokenRevoke, args(none), "FAULT a jti has 1 to 128 characters"},
		{atm.TokenRevoke, args(text("T404")), "ACCOUNT_NOT_FOUND There is no token T404"},
		{
			atm.TokenRevoke, args(text("T"), text("https://x")),
			"ACCOUNT_NOT_FOUND There is no issuer",
		},
		{atm.GrantRevoke, args(none), "FAULT the id of a grant has 1 to 128 characters"},
		{atm.GrantRevoke, args(text("G404")), "ACCOUNT_NOT_FOUND "},
	})
	inquiry, sum := text("inquiry"), text("5.00")
	b.try(owner, []try{
		{
			atm.GrantCreate, args(account, text("capture"), sum, to),
			`FAULT a grant cannot be for "capture"`,
		},
		{atm.GrantCreate, args(account, none, sum, to), "FAULT a grant is for an operation"},
		{
			atm.GrantCreate, args(account, inquiry, sum, text(owner.Subject)),
			"FAULT a grant is for an",
		},
		{
			atm.GrantCreate, args(account, inquiry, sum, to, number(3601)),
			"FAULT the seconds of a grant",
		},
		{atm.GrantCreate, args(account, inquiry, text("0"), to), "AMOUNT_NOT_POSITIVE "},
		{
			atm.GrantCreate, args(account, inquiry, sum, to, none, text("x")),
			"FAULT a grant is for 16",
		},
		{atm.GrantCreate, args(other, inquiry, sum, to), "ACCOUNT_NOT_FOUND "},
		{atm.GrantCreate, args(account, inquiry, sum, to, none, other), "ACCOUNT_NOT_FOUND "},
		{atm.GrantCreate, args(account, inquiry, sum, to), "OK "},
	})
}
