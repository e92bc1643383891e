package teller_test

import (
	"strconv"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/assertion/assertiontest"
	"example.com/atm/teller"
	"example.com/atm/vault"
)

// entry is the entry that a receipt is of.
func (b *bank) entry(receipt string) (entry *audit.Entry) {
	b.t.Helper()
	word, _, _ := strings.Cut(receipt, " ")
	index, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		b.t.Fatalf("receipt %q: %v", receipt, err)
	}
	at := vault.JournalIndex(index)
	err = b.store.Entries(b.t.Context(), at, at+1, func(_ vault.JournalIndex, leaf []byte) error {
		entry, err = audit.ParseEntry(leaf)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return entry
}

// TestStrangeMembersOfTermsStandInOneArgument sends terms with members of the caller's own making,
// in a call that is malformed and in one that is denied. As arguments of their own, they would
// write keys of an entry, and more of them than an entry can have.
func TestStrangeMembersOfTermsStandInOneArgument(t *testing.T) {
	b := newBank(t)
	alice, shop := b.known("user:alice", atm.Customer), b.known("service:shop", atm.Service)
	many := []string{"to", "200"}
	for range 200 {
		many = append(many, strings.Repeat("m", 1+len(many)/2), strings.Repeat("x", 200))
	}
	for _, words := range [][]string{
		many,
		{"to", "200", `a":"","ev`, "x"},
		{"to", "200", "account", "300"},
		{"to", "200", "terms", "x"},
		{"to", "200", "\xff\u2028", "x"},
	} {
		call := teller.Call{
			Operation: atm.OrderCreate, Args: []atm.Arg{text("100"), terms(words...)},
		}
		if _, err := b.Begin(t.Context(), alice, call); err == nil {
			t.Fatalf("a standing order has a member %q", words[2])
		}
		for _, s := range []atm.Status{
			b.Malformed(t.Context(), alice, call, "malformed")(),
			b.do(shop, atm.OrderCreate, call.Args...),
		} {
			var names []string
			for _, arg := range b.entry(s.Receipt).Args {
				names = append(names, arg.Name)
			}
			if got := strings.Join(names, " "); got != "account terms to" {
				t.Errorf("%s: the entry has the arguments %s", s.Code, got)
			}
		}
	}
	b.reconciled()
}

// TestEntryThatIsTooLongConcernsItsCommandAlone gives the ledger what no method lets a caller say.
func TestEntryThatIsTooLongConcernsItsCommandAlone(t *testing.T) {
	b := newBank(t)
	alice := b.known("user:alice", atm.Customer)
	var args []audit.Arg
	for i := range 26 {
		args = append(args, audit.Arg{
			Name: string(rune('a' + i)), Value: strings.Repeat(`"`, 256),
		})
	}
	begin := func(args []audit.Arg) vault.Command {
		return vault.Command{
			Event: audit.EventOp, Operation: atm.Whoami, Caller: alice, Args: args,
			Rule: vault.Report{Result: "x"},
		}
	}
	before := b.ledger.Begin(t.Context(), begin(nil))
	long := b.ledger.Begin(t.Context(), begin(args))
	after := b.ledger.Begin(t.Context(), begin(nil))
	if s := long(); s.Code != atm.Internal {
		t.Errorf("the entry that is too long: %v", s)
	}
	for _, s := range []atm.Status{before(), after()} {
		if s.Code != atm.OK {
			t.Errorf("a command beside it: %v", s)
		}
	}
}

// TestEndInTheYearOneIsAnEnd has the zero time of Go, which a client may send by mistake.
func TestEndInTheYearOneIsAnEnd(t *testing.T) {
	b := newBank(t)
	alice := b.known("user:alice", atm.Customer)
	account := text(string(b.open(alice.Subject, 10000)))
	other := string(b.open("user:bob", 10000))
	const never = "0001-01-01T00:00:00Z"
	if s := b.do(alice, atm.MandateCreate, account, terms("creditor", "service:gas", "each", "1",
		"until", never)); s.Code != atm.MandateEnded {
		t.Errorf("a mandate: %v", s)
	}
	if s := b.do(alice, atm.OrderCreate, account, terms("to", other, "amount", "1", "every", "day",
		"until", never)); s.Code != atm.AmountInvalid {
		t.Errorf("a standing order: %v", s)
	}
}

// TestLongestConfirmationOfTheLongestOrderFitsAnEntry has all that a caller can make longer: the id
// of a passkey, what a browser says, a memo, a zone and an instant.
func TestLongestConfirmationOfTheLongestOrderFitsAnEntry(t *testing.T) {
	s := &signer{bank: newBank(t), Device: assertiontest.NewDevice(t)}
	s.ID = strings.Repeat("A", 1400)
	ada := s.known("user:"+strings.Repeat("a", 64), atm.Customer)
	s.known("user:bob", atm.Customer)
	s.enrol(ada, s.Device)
	from := s.opened("9999999999998", ada.Subject, "100")
	to := s.opened("9999999999999", "user:bob", "1")
	inside, status := s.signIn(ada, "session", s.ID, "challenge", 1)
	if status.Code != atm.OK {
		t.Fatal(status)
	}
	s.caller, s.Count = inside, 1
	s.caller.IP = "2001:0db8:85a3:0000:0000:8a2e:0370:7334"
	instant := "2099-12-31T23:59:59." + strings.Repeat("9", 200) + "+00:00"
	call := teller.Call{Operation: atm.OrderCreate, Args: []atm.Arg{
		text(string(from)), terms("to", string(to), "amount", "1000000000000.00", "every", "week",
			"on", "thursday", "at", "23:59", "zone", "America/Argentina/ComodRivadavia",
			"from", instant, "until", instant,
			"memo", strings.Repeat(`"`, 82)+strings.Repeat("\u20ac", 58)),
	}, Request: strings.Repeat("r", 64)}
	shown, needed, err := s.Shown(t.Context(), s.caller, call)
	if err != nil || !needed {
		t.Fatalf("it needs to be confirmed: %v, %v", needed, err)
	}
	short := *s.Device
	a := short.Sign(t, shown, page)
	left := 2<<10 - len(a.ClientData) - len(a.AuthenticatorData) - 80
	call.Assertion = s.Sign(t, shown, page+"/"+strings.Repeat("x", left))
	reply, err := s.Begin(t.Context(), s.caller, call)
	if err != nil {
		t.Fatal(err)
	}
	got := reply()
	if got.Code != atm.OK {
		t.Fatal(got)
	}
	if s.entry(got.Receipt).Assertion == nil {
		t.Error("the entry has no assertion")
	}
	call.Request = "another"
	if shown, _, err = s.Shown(t.Context(), s.caller, call); err != nil {
		t.Fatal(err)
	}
	longer := s.Sign(t, shown, page+"/"+strings.Repeat("x", left+200))
	if got := s.ask(call, longer); got.Code != atm.NotConfirmed {
		t.Errorf("a confirmation that is longer: %v", got)
	}
}
