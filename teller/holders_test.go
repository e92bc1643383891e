package teller_test

import (
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/teller"
	"example.com/atm/vault"
	"example.com/atm/vault/holder"
)

// TestRequestWithANameIsAnsweredOnce repeats one whose entry has a hash in place of the name.
func TestRequestWithANameIsAnsweredOnce(t *testing.T) {
	b := newBank(t)
	op := b.caller("user:operator", atm.Operator)
	open := func(account, name string) atm.Status {
		t.Helper()
		reply, err := b.Begin(t.Context(), op, teller.Call{
			Operation: atm.AccountOpen, Request: "one intention", Once: true,
			Args: args(text(account), atm.Arg{}, atm.Arg{}, text(name)),
		})
		if err != nil {
			t.Fatal(err)
		}
		return reply()
	}
	first := open("7", "Alice Smith")
	if again := open("7", "Alice Smith"); first.Code != atm.OK || again.Code != atm.OK ||
		again.Receipt != first.Receipt {
		t.Errorf("the same is answered %+v, first %+v", again, first)
	}
	for _, other := range [][2]string{{"7", "Alice Smyth"}, {"8", "Alice Smith"}, {"7", ""}} {
		if s := open(other[0], other[1]); s.Code != atm.IdempotencyConflict {
			t.Errorf("%q is answered %+v", other, s)
		}
	}
	a, err := b.store.Account(t.Context(), "7")
	if err != nil || a.Holder != "Alice Smith" || a.Version != 1 {
		t.Errorf("account 7 is %+v, %v", a, err)
	}
	hashes := make(map[string]bool)
	err = b.store.Entries(t.Context(), 0, 5, func(_ vault.JournalIndex, leaf []byte) error {
		if strings.Contains(string(leaf), "Alice") {
			t.Errorf("the entry %s", leaf)
		}
		if _, value, found := strings.Cut(string(leaf), `"name":"`); found {
			value, _, _ = strings.Cut(value, `"`)
			hashes[value] = holder.Hashed(value)
		}
		return nil
	})
	if err != nil || len(hashes) != 3 {
		t.Errorf("the entries have %v, %v", hashes, err)
	}
	for text, is := range hashes {
		if !is {
			t.Errorf("an entry has %q for a name", text)
		}
	}
}
