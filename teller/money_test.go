package teller_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/teller"
)

func number(n int) atm.Arg { return atm.Arg{Kind: atm.Int, Text: strconv.Itoa(n)} }

func double(s string) atm.Arg { return atm.Arg{Kind: atm.Double, Text: s} }

// members is a struct of texts: name, value, name, value.
func members(words ...string) atm.Arg {
	arg := atm.Arg{Kind: atm.Struct}
	for i := 0; i < len(words); i += 2 {
		arg.Members = append(arg.Members, atm.Member{Name: words[i], Arg: text(words[i+1])})
	}
	return arg
}

// A try is a call, and the code and the reason or result that it is answered with.
type try struct {
	op   atm.Operation
	args []atm.Arg
	want string // a prefix of "CODE reason" or "OK result"
}

func args(list ...atm.Arg) []atm.Arg { return list }

func (b *bank) try(caller *atm.Caller, tries []try) {
	b.t.Helper()
	for _, tt := range tries {
		s := b.do(caller, tt.op, tt.args...)
		got := string(s.Code) + " " + s.Reason
		if s.Code == atm.OK {
			got = fmt.Sprintf("OK %v", s.Result)
		}
		if !strings.HasPrefix(got, tt.want) {
			b.t.Errorf("%s %v is answered %q, want %q", tt.op, tt.args, got, tt.want)
		}
	}
}

func TestAmountsAreReadExactlyOrRefusedByName(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	account := text(string(b.open(caller.Subject, 100000)))
	for _, tt := range []struct {
		amount atm.Arg
		want   string
	}{
		{text("1.00"), "OK 1001.00"},
		{text("0.1"), "OK 1001.10"},
		{number(2), "OK 1003.10"},
		{double("0.78000000000000009"), "OK 1003.88"},
		{double("1.5"), "OK 1005.38"},
		{text("0.001"), "AMOUNT_PRECISION The amount has a fraction of a cent"},
		{double("0.001"), "AMOUNT_PRECISION "},
		{text("0"), "AMOUNT_NOT_POSITIVE The amount must be above zero"},
		{number(-5), "AMOUNT_NOT_POSITIVE "},
		{double("NaN"), "AMOUNT_INVALID "},
		{double("+Inf"), "AMOUNT_"},
		{text("1e3"), "AMOUNT_INVALID The amount is not a decimal number of dollars"},
		{text("1,00"), "AMOUNT_INVALID "},
		{text(" 1"), "AMOUNT_INVALID "},
		{text("1000000000000.01"), "AMOUNT_TOO_LARGE The amount is above 1000000000000.00"},
		{text("99999999999999999999999"), "AMOUNT_TOO_LARGE "},
		{atm.Arg{}, "AMOUNT_INVALID "},
	} {
		b.try(caller, []try{{atm.Deposit, args(account, tt.amount), tt.want}})
	}
	b.try(caller, []try{{atm.Inquiry, args(account), "OK 1005.38"}})
}

func TestWhatIsNoAccountIsAnsweredAsOneThatDoesNotExist(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	b.open(caller.Subject, 100000)
	for _, no := range []atm.Arg{
		text("4040404"), text("0"), text("-1"), text("1.0"), text("cash:user:demo"),
		text("9007199254740992"), text("1 "), number(0), number(math.MaxInt64),
	} {
		b.try(caller, []try{
			{atm.Inquiry, args(no), "ACCOUNT_NOT_FOUND Unknown account " + no.Text},
			{
				atm.Deposit, args(no, text("1")),
				"ACCOUNT_NOT_FOUND Account " + no.Text + " was not found",
			},
			{
				atm.Withdraw, args(no, text("1")),
				"ACCOUNT_NOT_FOUND Account " + no.Text + " was not found",
			},
			{atm.Transfer, args(no, text("1"), text("1")), "ACCOUNT_NOT_FOUND Account " + no.Text},
			{atm.Transfer, args(text("1"), no, text("1")), "ACCOUNT_NOT_FOUND Account " + no.Text},
			{atm.Authorize, args(no, text("1")), "ACCOUNT_NOT_FOUND Account " + no.Text},
			{atm.Statement, args(no), "ACCOUNT_NOT_FOUND Account " + no.Text},
		})
	}
	long := strings.Repeat("9", 100)
	b.try(caller, []try{{
		atm.Inquiry, args(text(long)),
		"ACCOUNT_NOT_FOUND Unknown account " + long[:64] + "…",
	}})
}

func TestMoneyOperationsAnswerWithCodeAndReason(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	from := text(string(b.open(caller.Subject, 10000)))
	to := text(string(b.open("user:other", 0)))
	b.try(caller, []try{
		{atm.Inquiry, args(from), "OK 100.00"},
		{atm.Withdraw, args(from, text("100.01")), "INSUFFICIENT_FUNDS Insufficient Funds"},
		{atm.Withdraw, args(from, text("10")), "OK 90.00"},
		{atm.Transfer, args(from, from, text("1")), "SAME_ACCOUNT "},
		{atm.Transfer, args(from, to, text("100")), "INSUFFICIENT_FUNDS "},
		{atm.Transfer, args(from, to, text("20")), "OK 70.00"},
		{atm.Authorize, args(from, text("71")), "INSUFFICIENT_FUNDS "},
		{atm.Authorize, args(from, text("1"), number(0)), "AMOUNT_INVALID The seconds of a hold"},
		{atm.Authorize, args(from, text("1"), number(2592001)), "AMOUNT_INVALID The seconds"},
		{atm.Authorize, args(from, text("1"), text("soon")), "AMOUNT_INVALID The seconds"},
		{atm.Capture, args(text("h99")), "HOLD_NOT_FOUND There is no such hold"},
		{atm.Capture, args(text("99")), "HOLD_NOT_FOUND "},
		{atm.Capture, args(text("h99"), text("0")), "AMOUNT_NOT_POSITIVE "},
		{atm.Release, args(text("")), "HOLD_NOT_FOUND "},
		{atm.Receipt, args(text("-1")), "CURSOR_INVALID There is no such entry"},
		{atm.Receipt, args(text("first")), "CURSOR_INVALID "},
		{"no.such.method", nil, `FAULT there is no operation "no.such.method"`},
		{atm.Inquiry, args(from, from), "FAULT inquiry takes at most 1 parameters"},
	})
	hold := text(b.do(caller, atm.Authorize, from, text("30")).Result.(string))
	b.try(caller, []try{
		{atm.Withdraw, args(from, text("50")), "INSUFFICIENT_FUNDS "},
		{atm.Capture, args(hold, text("30.01")), "HOLD_AMOUNT_EXCEEDED "},
		{atm.Capture, args(hold, text("12.50")), "OK 12.50"},
		{atm.Capture, args(hold), "HOLD_NOT_PENDING "},
		{atm.Release, args(hold), "HOLD_NOT_PENDING "},
		{atm.Inquiry, args(from), "OK 57.50"},
	})
}

// movements are the operation and the memo of each row of a statement, newest first.
func (b *bank) movements(caller *atm.Caller, account atm.Arg) (list []string) {
	b.t.Helper()
	page, _ := b.do(caller, atm.Statement, account).Result.(atm.Record)
	rows, _ := page.Get("entries").([]atm.Record)
	for _, row := range rows {
		list = append(list, fmt.Sprintf("%v %q", row.Get("operation"), row.Get("memo")))
	}
	return list
}

func TestMemoStandsInTheStatementsOfBothAccounts(t *testing.T) {
	b := newBank(t)
	caller, other := b.caller("user:demo", atm.Customer), b.caller("user:other", atm.Customer)
	from := text(string(b.open(caller.Subject, 10000)))
	to := text(string(b.open(other.Subject, 0)))
	b.try(caller, []try{
		{atm.Deposit, args(from, text("1"), atm.Arg{}, text("cash & coins")), "OK 101.00"},
		{atm.Withdraw, args(from, text("1"), text(""), text("<b>")), "OK 100.00"},
		{atm.Transfer, args(from, to, text("5"), text("id"), text("Miete – März")), "OK 95.00"},
		{atm.Transfer, args(from, to, text("5"), text("none"), text("")), "OK 90.00"},
	})
	hold := text(b.do(caller, atm.Authorize, from, text("9"), atm.Arg{}, atm.Arg{},
		text("deposit for the car")).Result.(string))
	b.try(caller, []try{
		{atm.Capture, args(hold, atm.Arg{}, atm.Arg{}, text("the car")), "OK 9.00"},
	})
	for account, want := range map[*atm.Caller][]string{
		caller: {
			`capture "the car"`, `transfer ""`, `transfer "Miete – März"`, `withdraw "<b>"`,
			`deposit "cash & coins"`, `test ""`,
		},
		other: {`transfer ""`, `transfer "Miete – März"`, `test ""`},
	} {
		number := from
		if account == other {
			number = to
		}
		if got := b.movements(account, number); !slices.Equal(got, want) {
			t.Errorf("the statement of %s has %q, want %q", account.Subject, got, want)
		}
	}
}

func TestBadMemoIsRefusedBeforeAnythingMoves(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	from := text(string(b.open(caller.Subject, 10000)))
	to := text(string(b.open("user:other", 0)))
	hold := text(b.do(caller, atm.Authorize, from, text("9")).Result.(string))
	const refused = "MEMO_INVALID A memo is text of at most 140 characters and 256 bytes, "
	for _, memo := range []string{
		strings.Repeat("x", 141), strings.Repeat("é", 129), "two\nrows", "\u202eback", "a\u2028b",
		"\x1b[2J", "\u200f", strings.Repeat("x", 1<<16),
	} {
		none, bad := atm.Arg{}, text(memo)
		b.try(caller, []try{
			{atm.Deposit, args(from, text("1"), none, bad), refused},
			{atm.Withdraw, args(from, text("1"), none, bad), refused},
			{atm.Transfer, args(from, to, text("1"), none, bad), refused},
			{atm.Authorize, args(from, text("1"), none, none, bad), refused},
			{atm.Capture, args(hold, none, none, bad), refused},
			{atm.Deposit, args(from, text("0"), none, bad), "AMOUNT_NOT_POSITIVE "},
		})
	}
	b.try(caller, []try{
		{atm.Inquiry, args(from), "OK 100.00"},
		{atm.Capture, args(hold), "OK 9.00"}, // it is still pending
		{atm.Inquiry, args(from), "OK 91.00"},
		{atm.Release, args(hold, text(""), text("")), "FAULT release takes at most 2 parameters"},
	})
}

func TestOtherMemoUnderOneRequestIDIsAnotherRequest(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	account := text(string(b.open(caller.Subject, 10000)))
	b.try(caller, []try{
		{atm.Deposit, args(account, text("1"), text("a"), text("rent")), "OK 101.00"},
		{atm.Deposit, args(account, text("1.00"), text("a"), text("rent")), "OK 101.00"},
		{atm.Deposit, args(account, text("1"), text("a"), text("Rent")), "IDEMPOTENCY_CONFLICT "},
		{atm.Deposit, args(account, text("1"), text("a")), "IDEMPOTENCY_CONFLICT "},
		{atm.Deposit, args(account, text("1"), text("b")), "OK 102.00"},
		{atm.Deposit, args(account, text("1"), text("b"), text("")), "OK 102.00"},
		{atm.Deposit, args(account, text("1"), text("b"), text("rent")), "IDEMPOTENCY_CONFLICT "},
		{atm.Deposit, args(account, text("1"), text("c"), text("\n")), "MEMO_INVALID "},
		{atm.Deposit, args(account, text("1.0"), text("c"), text("\n")), "MEMO_INVALID "},
		{atm.Deposit, args(account, text("1"), text("c"), text("rent")), "IDEMPOTENCY_CONFLICT "},
		{atm.Inquiry, args(account), "OK 102.00"},
	})
}

func TestRangeOfStatementIsReadMemberByMember(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	account := text(string(b.open(caller.Subject, 100)))
	for range 3 {
		b.do(caller, atm.Deposit, account, text("1"))
	}
	of := func(m atm.Arg) []atm.Arg { return args(account, m) }
	limit := func(n int) atm.Arg {
		return atm.Arg{Kind: atm.Struct, Members: []atm.Member{{Name: "limit", Arg: number(n)}}}
	}
	b.try(caller, []try{
		{atm.Statement, of(members()), "OK "},
		{atm.Statement, of(limit(500)), "OK "},
		{atm.Statement, of(limit(501)), "OK "}, // as many as a page can have
		{atm.Statement, of(limit(0)), "CURSOR_INVALID limit is a number from 1 to 500"},
		{atm.Statement, of(members("from", "2026-01-02T03:04:05Z")), "OK "},
		{atm.Statement, of(members("from", "yesterday")), "CURSOR_INVALID from is no time in RFC " +
			"3339"},
		{atm.Statement, of(members("to", "2026-13-01T00:00:00Z")), "CURSOR_INVALID to is no time"},
		{
			atm.Statement, of(members("from", "2026-02-01T00:00:00Z", "to",
				"2026-01-01T00:00:00Z")),
			"CURSOR_INVALID from is after to",
		},
		{atm.Statement, of(members("cursor", "not one")), "CURSOR_INVALID "},
		{atm.Statement, of(members("since", "2026-02-01T00:00:00Z")), "FAULT "},
		{
			atm.Statement, of(members("limit", "3")),
			"FAULT limit of a statement is of the wrong type",
		},
	})
	page := b.do(caller, atm.Statement, account, limit(2)).Result.(atm.Record)
	entries, next := page.Get("entries").([]atm.Record), page.Get("next").(string)
	if len(entries) != 2 || next == "" {
		t.Fatalf("the first page of two is %v", page)
	}
	page = b.do(caller, atm.Statement, account, members("cursor", next)).Result.(atm.Record)
	if entries := page.Get("entries").([]atm.Record); len(entries) != 2 || page.Get("next") != "" {
		t.Errorf("the last page is %v", page)
	}
}

func TestRequestIDMeansOneIntention(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	account := text(string(b.open(caller.Subject, 0)))
	call := func(header string, list ...atm.Arg) string {
		t.Helper()
		reply, err := b.Begin(t.Context(), caller, teller.Call{
			Operation: atm.Deposit, Args: list, Request: header,
		})
		if malformed := (*teller.MalformedError)(nil); errors.As(err, &malformed) {
			return "FAULT " + err.Error()
		} else if err != nil {
			t.Fatal(err)
		}
		s := reply()
		return fmt.Sprint(s.Code, " ", s.Reason, s.Result, " ", s.Receipt)
	}
	first := call("", account, text("5.00"), text("id-1"))
	for _, again := range []string{
		call("", account, text("5.00"), text("id-1")),
		call("", account, number(5), text("id-1")),
		call("", account, double("5.0"), text("id-1")),
		call("id-1", account, text("5")),
		call("id-1", account, text("5"), text("id-1")),
	} {
		if again != first {
			t.Errorf("the same intention is answered %q, and %q the first time", again, first)
		}
	}
	for _, tt := range []struct{ header, id, want string }{
		{"", "id-1", "IDEMPOTENCY_CONFLICT "}, // another amount
		{"id-2", "id-3", "IDEMPOTENCY_CONFLICT The request id in the header differs"},
		{"", strings.Repeat("x", 129), "FAULT "},
		{strings.Repeat("x", 129), "", "FAULT "},
		{"", "with\na line", "FAULT "},
		{"", "e\u0301", "FAULT a request id is in the composed form of Unicode, NFC"},
		{"", "01890a5d-ac96-774b-bcce-b302099a8057", "IDEMPOTENCY_KEY_EXPIRED "},
		{"", "", "OK "},
	} {
		if got := call(tt.header, account, text("6"), text(tt.id)); !strings.HasPrefix(got,
			tt.want) {
			t.Errorf("request id %q, %q in the header: %q, want %q", tt.id, tt.header, got, tt.want)
		}
	}
	b.try(caller, []try{{atm.Inquiry, args(account), "OK 11.00"}})
}

func TestDeniedCallerIsNotShownWhatARequestIDWasAnsweredWith(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	account := text(string(b.open(caller.Subject, 0)))
	b.try(caller, []try{{atm.Deposit, args(account, text("5"), text("id")), "OK 5.00"}})
	demoted := *caller
	demoted.Roles = []atm.Role{atm.Auditor}
	b.try(&demoted, []try{
		{
			atm.Deposit, args(account, text("5"), text("id")),
			"PERMISSION_DENIED You may not do this",
		},
	})
}

func TestBalanceIsToldToThoseWhoMayInquire(t *testing.T) {
	b := newBank(t)
	caller := b.caller("user:demo", atm.Customer)
	account := text(string(b.open(caller.Subject, 0)))
	caller.Scope = []atm.Operation{atm.Deposit, atm.Withdraw}
	b.try(caller, []try{
		{atm.Deposit, args(account, text("5")), "OK "},
		{atm.Inquiry, args(account), "PERMISSION_DENIED "},
	})
	if s := b.do(caller, atm.Withdraw, account, text("1")); s.Result != "" && s.Result != nil {
		t.Errorf("a caller that may not inquire is told %v", s.Result)
	}
}
