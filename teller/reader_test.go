package teller_test

import (
	"strconv"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit/merkle"
)

// indexOf is the index in a receipt.
func indexOf(t *testing.T, s atm.Status) int64 {
	t.Helper()
	word, _, _ := strings.Cut(s.Receipt, " ")
	index, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		t.Fatalf("receipt %q: %v", s.Receipt, err)
	}
	return index
}

// TestSlipShowsNothingOfAccountsOfOthers looks at the slips of four operations as each caller.
func TestSlipShowsNothingOfAccountsOfOthers(t *testing.T) {
	b := newBank(t)
	alice, bob := b.caller("user:alice", atm.Customer), b.caller("user:bob", atm.Customer)
	clerk, auditor := b.caller("user:clerk", atm.Teller), b.caller("user:auditor", atm.Auditor)
	stranger := b.caller("user:stranger", atm.Customer)
	from, to := b.open("user:alice", 10000), b.open("user:bob", 77700)

	own := indexOf(t, b.do(alice, atm.Deposit, text(string(from)), text("1.00")))
	transfer := indexOf(t, b.do(alice, atm.Transfer, text(string(from)), text(string(to)),
		text("2.00")))
	counter := indexOf(t, b.do(clerk, atm.Deposit, text(string(from)), text("3.00")))
	operator := b.caller("user:operator", atm.Operator)
	frozen := indexOf(t, b.do(operator, atm.AccountFreeze, text(string(to))))
	admin := indexOf(t, b.do(operator, atm.UserDisable, text("user:stranger")))

	for _, tt := range []struct {
		name     string
		caller   *atm.Caller
		index    int64
		seen     bool   // there is a slip
		whole    bool   // with the bytes of the entry
		accounts string // whose balances it shows
		by       string // the caller that it names
	}{
		{"own deposit", alice, own, true, true, "cash:user:alice 1", "user:alice"},
		{"own transfer", alice, transfer, true, false, "1", "user:alice"},
		{"transfer received", bob, transfer, true, false, "2", ""},
		{"deposit at the counter", alice, counter, true, false, "1", ""},
		{"another's deposit", bob, own, false, false, "", ""},
		{"a stranger", stranger, transfer, false, false, "", ""},
		{"the clerk's own", clerk, counter, true, true, "cash:user:clerk 1", "user:clerk"},
		{"a clerk, of others", clerk, transfer, true, false, "1 2", ""},
		{"a freeze of one's account", bob, frozen, true, false, "2", ""},
		{"a clerk, administration", clerk, admin, false, false, "", ""},
		{"an auditor", auditor, transfer, true, true, "1 2", "user:alice"},
		{"an auditor, administration", auditor, admin, true, true, "", "user:operator"},
		{"no entry", auditor, 1 << 40, false, false, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := b.Slip(t.Context(), tt.caller, tt.index)
			if err != nil {
				t.Fatal(err)
			}
			line := b.do(tt.caller, atm.ShowEntry, text(strconv.FormatInt(tt.index, 10)))
			if (line.Code == atm.OK) != tt.whole || tt.whole && line.Result != string(s.Leaf) {
				t.Errorf("the line of the entry is answered %s %q", line.Code, line.Result)
			}
			if s == nil || !tt.seen {
				if (s != nil) != tt.seen {
					t.Fatalf("there is a slip: %t, want %t", s != nil, tt.seen)
				}
				return
			}
			var accounts []string
			for _, c := range s.Entry.State {
				accounts = append(accounts, c.Account)
			}
			if got := strings.Join(accounts, " "); got != tt.accounts {
				t.Errorf("it shows accounts %q, want %q", got, tt.accounts)
			}
			by := ""
			if s.Entry.Caller != nil {
				by = s.Entry.Caller.Subject
			}
			if by != tt.by {
				t.Errorf("it names the caller %q, want %q", by, tt.by)
			}
			if (s.Leaf != nil) != tt.whole {
				t.Errorf("it has the bytes: %t, want %t", s.Leaf != nil, tt.whole)
			}
			if s.Leaf != nil && merkle.LeafHash(s.Leaf) != s.Hash {
				t.Error("its hash is not that of its bytes")
			}
		})
	}
}

// TestHolderOfAGrantIsNotShownOtherAccounts lists the accounts of a customer.
func TestHolderOfAGrantIsNotShownOtherAccounts(t *testing.T) {
	b := newBank(t)
	alice := b.caller("user:alice", atm.Customer)
	b.open("user:alice", 0)
	b.open("user:bob", 0)
	b.open("user:alice", 0)
	if got, more, err := b.Owned(t.Context(), alice); strings.Join(got, " ") != "1 3" || more ||
		err != nil {
		t.Errorf("the customer's accounts are %v, %t, %v", got, more, err)
	}
	under := *alice
	under.Grant, under.Actor = "g1", "service:shop"
	if got, _, err := b.Owned(t.Context(), &under); len(got) > 0 || err != nil {
		t.Errorf("the holder of a grant is shown %v, %v", got, err)
	}
}

// TestNothingOfTheLogIsGivenOutUnrecorded reads the log twice while nothing can be recorded.
func TestNothingOfTheLogIsGivenOutUnrecorded(t *testing.T) {
	b := newBank(t)
	auditor := b.caller("user:auditor", atm.Auditor)
	b.full.Store(true)
	for range 2 {
		if s := b.do(auditor, atm.AuditList); s.Code != atm.Unavailable {
			t.Errorf("the log was read without a record of it: %s %s", s.Code, s.Reason)
		}
	}
	b.full.Store(false)
	if s := b.do(auditor, atm.AuditList); s.Code != atm.OK || s.Receipt == "" {
		t.Errorf("after that it is answered %s %s, receipt %q", s.Code, s.Reason, s.Receipt)
	}
}
