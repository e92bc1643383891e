package teller_test

import (
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
)

// terms is a struct of texts, name and value in turn.
func terms(words ...string) atm.Arg {
	arg := atm.Arg{Kind: atm.Struct}
	for i := 0; i < len(words); i += 2 {
		arg.Members = append(arg.Members, atm.Member{Name: words[i], Arg: text(words[i+1])})
	}
	return arg
}

// onTerms is for calls that name the account, and then what is agreed on.
func onTerms(words ...string) naming {
	return func(_ *bank, account vault.Name) []atm.Arg {
		return []atm.Arg{orMissing(account), terms(words...)}
	}
}

// onMandate names a mandate on the account.
func onMandate(b *bank, account vault.Name) []atm.Arg {
	if account == "" {
		return []atm.Arg{text("m4040404")}
	}
	s := b.must(vault.CreateMandate{
		Account: account, Creditor: "service:gas", Terms: vault.MandateTerms{Each: 100},
	})
	return []atm.Arg{text(s.Result.(string))}
}

// collecting names a mandate of the owner of the account, which is collected into.
func collecting(b *bank, account vault.Name) []atm.Arg {
	if account == "" {
		return []atm.Arg{text("m4040404"), text("1.00"), text(missing)}
	}
	owner, err := b.store.Account(b.t.Context(), account)
	if err != nil {
		b.t.Fatal(err)
	}
	s := b.must(vault.CreateMandate{
		Account: b.open("user:debtor", 10000), Creditor: owner.Owner,
		Terms: vault.MandateTerms{Each: 100},
	})
	return []atm.Arg{text(s.Result.(string)), text("1.00"), text(string(account))}
}

// onOrder names a standing order of the account.
func onOrder(b *bank, account vault.Name) []atm.Arg {
	if account == "" {
		return []atm.Arg{text("o4040404")}
	}
	s := b.must(vault.CreateOrder{
		Account: account, To: bankAccount, Amount: 100,
		Schedule: calendar.Schedule{Every: calendar.Day},
	})
	return []atm.Arg{text(s.Result.(string))}
}

// onTransfer names a transfer to the account.
func onTransfer(b *bank, account vault.Name) []atm.Arg {
	if account == "" {
		return []atm.Arg{text(missing)}
	}
	payer := b.open("user:payer", 10000)
	s := b.do(b.caller("user:desk", atm.Teller), atm.Transfer, text(string(payer)),
		text(string(account)), text("1.00"))
	index, _, _ := strings.Cut(s.Receipt, " ")
	return []atm.Arg{text(index)}
}

// moved carries out an operation and returns the index of its entry.
func (b *bank) moved(caller *atm.Caller, op atm.Operation, args ...string) string {
	b.t.Helper()
	list := make([]atm.Arg, len(args))
	for i, arg := range args {
		list[i] = text(arg)
	}
	s := b.do(caller, op, list...)
	if s.Code != atm.OK {
		b.t.Fatalf("%s %v: %s %s", op, args, s.Code, s.Reason)
	}
	index, _, _ := strings.Cut(s.Receipt, " ")
	return index
}

// TestReversalOfWhatCannotBeGivenBackIsRefused tries to reverse entries of every kind that moved
// nothing, that moved it otherwise, or that are another one's.
func TestReversalOfWhatCannotBeGivenBackIsRefused(t *testing.T) {
	b := newBank(t)
	alice, bob := b.caller("user:alice", atm.Customer), b.caller("user:bob", atm.Customer)
	desk, office := b.caller("user:desk", atm.Teller), b.caller("user:office", atm.Operator)
	opened := b.moved(office, atm.AccountOpen, "1", alice.Subject, "100.00")
	b.moved(office, atm.AccountOpen, "2", bob.Subject, "100.00")
	b.moved(office, atm.AccountOpen, "3", bob.Subject, "100.00")
	paid := b.moved(alice, atm.Transfer, "1", "2", "30.00")
	refusedDeposit, _, _ := strings.Cut(b.do(desk, atm.Deposit, text("9"), text("1")).Receipt, " ")
	back := b.moved(bob, atm.Reverse, b.moved(alice, atm.Transfer, "1", "2", "5.00"))
	taken := b.moved(bob, atm.Withdraw, "2", "130.00")
	asked := b.moved(alice, atm.Inquiry, "1")
	frozen := b.moved(alice, atm.Transfer, "1", "3", "10.00")
	b.moved(office, atm.AccountFreeze, "3")
	for _, tt := range []struct {
		name   string
		caller *atm.Caller
		args   []string
		want   atm.Code
	}{
		{"an opening", desk, []string{opened}, atm.NotReversible},
		{"a refusal", desk, []string{refusedDeposit}, atm.NotReversible},
		{"a reversal", desk, []string{back}, atm.NotReversible},
		{"an inquiry", desk, []string{asked}, atm.NotReversible},
		{"no entry", desk, []string{"4040404"}, atm.EntryNotFound},
		{"no number", desk, []string{"-1"}, atm.EntryNotFound},
		{"what the caller paid", alice, []string{paid}, atm.NotReversible},
		{"what the caller withdrew", bob, []string{taken}, atm.NotReversible},
		{"another one's inquiry", bob, []string{asked}, atm.EntryNotFound},
		{"another one's withdrawal", alice, []string{taken}, atm.EntryNotFound},
		{"another one's opening", bob, []string{opened}, atm.EntryNotFound},
		{"an amount above it", bob, []string{paid, "30.01"}, atm.ReversalExceeded},
		{"an amount of nothing", bob, []string{paid, "0"}, atm.AmountNotPositive},
		{"money that is gone", bob, []string{paid}, atm.InsufficientFunds},
		{"of a frozen account", bob, []string{frozen}, atm.AccountFrozen},
		{"with a memo that forges a row", bob, []string{paid, "", "", "a\nb"}, atm.MemoInvalid},
	} {
		list := make([]atm.Arg, len(tt.args))
		for i, arg := range tt.args {
			list[i] = text(arg)
		}
		before := [...]uint64{b.version("1"), b.version("2"), b.version("3")}
		if s := b.do(tt.caller, atm.Reverse, list...); s.Code != tt.want {
			t.Errorf("%s: %s %s, not %s", tt.name, s.Code, s.Reason, tt.want)
		}
		if after := [...]uint64{b.version("1"), b.version("2"), b.version("3")}; after != before {
			t.Errorf("%s: it changed an account", tt.name)
		}
	}
	// In parts that are together what was moved, and not a cent more.
	b.moved(desk, atm.Deposit, "2", "50.00")
	b.moved(bob, atm.Reverse, paid, "10.00")
	b.moved(desk, atm.Reverse, paid)
	if s := b.do(desk, atm.Reverse, text(paid)); s.Code != atm.ReversalExceeded {
		t.Errorf("reversed twice: %s", s.Code)
	}
	b.moved(desk, atm.Reverse, taken)
	if s := b.do(alice, atm.Inquiry, text("1")); s.Result != "90.00" {
		t.Errorf("account 1 has %v in the end", s.Result)
	}
}

// TestTermsThatMakeNoSenseAreRefused gives mandates and standing orders with terms that say
// nothing, contradict each other, or cannot be read. None leaves anything.
func TestTermsThatMakeNoSenseAreRefused(t *testing.T) {
	b := newBank(t)
	alice := b.caller("user:alice", atm.Customer)
	account, other := b.open(alice.Subject, 10000), b.open("user:bob", 10000)
	gas := func(words ...string) atm.Arg { return terms(append(words, "creditor", "service:gas")...) }
	pays := func(words ...string) atm.Arg {
		return terms(append(words, "to", string(other), "amount", "5")...)
	}
	for _, tt := range []struct {
		name string
		op   atm.Operation
		arg  atm.Arg
		want atm.Code
	}{
		{"no creditor", atm.MandateCreate, terms("each", "5"), atm.Fault},
		{"no bounds", atm.MandateCreate, gas(), atm.AmountInvalid},
		{
			"to oneself", atm.MandateCreate, terms("creditor", alice.Subject, "each", "5"),
			atm.SameAccount,
		},
		{"no such period", atm.MandateCreate, gas("total", "5", "period", "0"), atm.AmountInvalid},
		{"a total of no period", atm.MandateCreate, gas("total", "5"), atm.AmountInvalid},
		{
			"a period of no total", atm.MandateCreate, gas("each", "5", "period", "day"),
			atm.AmountInvalid,
		},
		{"an amount of nothing", atm.MandateCreate, gas("each", "0"), atm.AmountNotPositive},
		{
			"an end in the past", atm.MandateCreate, gas("each", "5", "until", "2001-01-01"),
			atm.MandateEnded,
		},
		{"an end before the beginning", atm.MandateCreate, gas("each", "5", "from", "2999-01-02",
			"until", "2999-01-01"), atm.AmountInvalid},
		{"no time", atm.MandateCreate, gas("each", "5", "until", "soon"), atm.AmountInvalid},
		{"an unknown term", atm.MandateCreate, gas("each", "5", "king", "yes"), atm.Fault},
		{
			"a memo with a direction", atm.MandateCreate, gas("each", "5", "memo", "a\u202eb"),
			atm.MemoInvalid,
		},
		{"no such period", atm.OrderCreate, pays("every", "year", "on", "1"), atm.AmountInvalid},
		{"no such day", atm.OrderCreate, pays("every", "month", "on", "32"), atm.AmountInvalid},
		{"no such time", atm.OrderCreate, pays("every", "day", "at", "24:00"), atm.AmountInvalid},
		{"no such zone", atm.OrderCreate, pays("every", "day", "zone", "Moon"), atm.AmountInvalid},
		{
			"an end in the past", atm.OrderCreate, pays("every", "day", "until", "2001-01-01"),
			atm.AmountInvalid,
		},
		{
			"to itself", atm.OrderCreate, terms("every", "day", "to", string(account), "amount", "5"),
			atm.SameAccount,
		},
		{
			"to nowhere", atm.OrderCreate, terms("every", "day", "to", missing, "amount", "5"),
			atm.AccountNotFound,
		},
		{"no amount", atm.OrderCreate, terms("every", "day", "to", string(other)), atm.Fault},
	} {
		if s := b.do(alice, tt.op, text(string(account)), tt.arg); s.Code != tt.want {
			t.Errorf("%s with %s: %s %s, not %s", tt.op, tt.name, s.Code, s.Reason, tt.want)
		}
	}
	if v := b.version(account); v != 1 {
		t.Errorf("the account has version %d", v)
	}
}

// TestAgreementsOfAnAccountAreBounded gives mandates until there is no place for another one.
func TestAgreementsOfAnAccountAreBounded(t *testing.T) {
	b := newBank(t)
	alice := b.caller("user:alice", atm.Customer)
	account := text(string(b.open(alice.Subject, 10000)))
	mandate := terms("creditor", "service:gas", "each", "5")
	var given atm.Status
	for n := 0; ; n++ {
		s := b.do(alice, atm.MandateCreate, account, mandate)
		if s.Code == atm.LimitDailyCount && n == 100 {
			break
		}
		if given = s; s.Code != atm.OK || n > 100 {
			t.Fatalf("mandate %d: %s %s", n, s.Code, s.Reason)
		}
	}
	if s := b.do(alice, atm.MandateRevoke, text(given.Result.(string))); s.Code != atm.OK {
		t.Fatal(s)
	}
	if s := b.do(alice, atm.MandateCreate, account, mandate); s.Code != atm.OK {
		t.Errorf("after one was revoked: %s %s", s.Code, s.Reason)
	}
	list := b.do(alice, atm.MandateList, account)
	if records, _ := list.Result.([]atm.Record); len(records) != 100 {
		t.Errorf("%d mandates are listed", len(records))
	}
}

func TestNoticeIsKeptWithoutTheSpaceAroundIt(t *testing.T) {
	b := newBank(t)
	owner := b.caller("user:alice", atm.Customer)
	account := text(string(b.open(owner.Subject, 0)))
	long := strings.Repeat(" ", 300)
	for _, left := range []string{"hi\n", "\u2028hi", "\r\n\thi\u0085", long + "hi"} {
		if s := b.do(owner, atm.Notify, account, text(left)); s.Code != atm.OK {
			t.Errorf("%q: %s %s", left, s.Code, s.Reason)
		}
		page := b.do(owner, atm.Notices, account).Result.(atm.Record)
		if kept := page.Get("entries").([]atm.Record)[0].Get("text"); kept != "hi" {
			t.Errorf("%q is kept as %q", left, kept)
		}
	}
}

// TestFirstAndLastInstantOfAnOrderAreDaysOfItsZone gives an order in the zone of its account, where
// the instants are on the day after that in UTC.
func TestFirstAndLastInstantOfAnOrderAreDaysOfItsZone(t *testing.T) {
	b := newBank(t)
	owner, none := b.caller("user:alice", atm.Customer), text("")
	account, to := text(string(b.open(owner.Subject, 0))), string(b.open("user:bob", 0))
	s := b.do(b.caller("user:operator", atm.Operator), atm.AccountLimit, account, none, none, none,
		text("Asia/Tokyo"))
	if s.Code != atm.OK {
		t.Fatal(s)
	}
	for _, zone := range []string{"", "Asia/Tokyo"} {
		order := b.do(owner, atm.OrderCreate, account, terms("to", to, "amount", "1",
			"every", "day", "zone", zone, "from", "2099-12-05T20:00:00Z", "until",
			"2099-12-06T20:00:00Z"))
		shown, is := b.do(owner, atm.OrderShow, text(order.Result.(string))).Result.(atm.Record)
		if !is || shown.Get("from") != "2099-12-06" || shown.Get("until") != "2099-12-07" {
			t.Errorf("in %q: %v %v", zone, order, shown)
		}
	}
}
