package teller_test

import (
	"strconv"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
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
		many, {"to", "200", `a":"","ev`, "x"}, {"to", "200", "account", "300"},
		{"to", "200", "terms", "x"}, {"to", "200", "\xff\u2028", "x"},
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
