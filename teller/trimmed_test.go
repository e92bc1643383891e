package teller_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
)

// trim makes deposits into an account, and lets the journal begin with the second bundle.
func (b *bank) trim(account vault.Name) {
	b.t.Helper()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range merkle.TileWidth/8 + 4 {
				b.must(vault.Deposit{Account: account, Cash: vault.Cash("user:desk"), Amount: 1})
			}
		})
	}
	all.Wait()
	var tree merkle.Builder
	if err := b.store.Entries(b.t.Context(), 0, merkle.TileWidth, func(_ vault.JournalIndex,
		leaf []byte,
	) error {
		return tree.Add(leaf)
	}); err != nil {
		b.t.Fatal(err)
	}
	if err := b.store.(vault.Backend).Trim(b.t.Context(), vault.Base{
		Index: merkle.TileWidth, State: merkle.TileWidth, Edge: tree.Edge,
	}); err != nil {
		b.t.Fatal(err)
	}
}

// begins is the time of the first entry that the journal keeps.
func (b *bank) begins() (at time.Time) {
	b.t.Helper()
	if err := b.store.Entries(b.t.Context(), merkle.TileWidth, merkle.TileWidth+1,
		func(_ vault.JournalIndex, leaf []byte) error {
			entry, err := audit.ParseEntry(leaf)
			if err == nil {
				at = entry.Time
			}
			return err
		}); err != nil {
		b.t.Fatal(err)
	}
	return at
}

// TestTrimmedEntryIsRefusedInOneSentence names an entry that is not kept any more to each
// operation that looks one up.
func TestTrimmedEntryIsRefusedInOneSentence(t *testing.T) {
	b := newBank(t)
	desk := b.caller("user:desk", atm.Teller)
	alice := b.caller("user:alice", atm.Customer)
	auditor := b.caller("user:auditor", atm.Auditor)
	account := b.open("user:alice", 10000)
	moved := b.moved(desk, atm.Deposit, string(account), "1.00")
	if s := b.do(alice, atm.FeedAdd, text("mine"), text("https://example.com/"),
		terms("account", string(account))); s.Code != atm.OK {
		t.Fatal(s)
	}
	b.trim(account)
	const sentence = " any more"
	for _, tt := range []struct {
		caller *atm.Caller
		op     atm.Operation
		args   []atm.Arg
		code   atm.Code
	}{
		{desk, atm.Reverse, []atm.Arg{text(moved)}, atm.NotReversible},
		{alice, atm.Reverse, []atm.Arg{text(moved)}, atm.NotReversible},
		{alice, atm.Receipt, []atm.Arg{text(moved)}, atm.CursorInvalid},
		{auditor, atm.Receipt, []atm.Arg{text(moved)}, atm.CursorInvalid},
		{alice, atm.ShowEntry, []atm.Arg{text(moved)}, atm.CursorInvalid},
		{auditor, atm.ShowEntry, []atm.Arg{text(moved)}, atm.CursorInvalid},
		{alice, atm.FeedReplay, []atm.Arg{text("mine"), text("255")}, atm.CursorInvalid},
		{
			alice, atm.FeedAdd, []atm.Arg{
				text("other"), text("https://example.com/"),
				terms("account", string(account), "from", "0"),
			}, atm.CursorInvalid,
		},
	} {
		s := b.do(tt.caller, tt.op, tt.args...)
		if s.Code != tt.code || !strings.Contains(s.Reason, sentence) {
			t.Errorf("%s: %+v", tt.op, s)
		}
	}
	if s := b.do(alice, atm.FeedReplay, text("mine"), text("256")); s.Code != atm.OK {
		t.Errorf("the first one that is kept: %+v", s)
	}
	if s := b.do(alice, atm.FeedReplay, text("mine"), text("7")); !strings.HasSuffix(s.Reason,
		"; the first one is entry 256") {
		t.Errorf("%+v", s)
	}
}

// TestListsSaySinceWhenTheyHaveEntries asks for lists that go back to before the journal begins.
func TestListsSaySinceWhenTheyHaveEntries(t *testing.T) {
	b := newBank(t)
	alice := b.caller("user:alice", atm.Customer)
	auditor := b.caller("user:auditor", atm.Auditor)
	operator := b.caller("user:operator", atm.Operator)
	account, quiet := b.open("user:alice", 10000), b.open("user:alice", 500)
	lists := func(want string) {
		t.Helper()
		for _, s := range []atm.Status{
			b.do(alice, atm.Statement, text(string(account))),
			b.do(alice, atm.Statement, text(string(quiet)), terms("from", "2020-01-01T00:00:00Z")),
			b.do(alice, atm.Notices, text(string(account))),
			b.do(auditor, atm.AuditList, terms("since", "2020-01-01T00:00:00Z")),
			b.do(auditor, atm.AuditList, terms("account", string(account))),
		} {
			record, _ := s.Result.(atm.Record)
			if since, _ := record.Get("since").(string); s.Code != atm.OK || since != want {
				t.Errorf("%+v is not since %q", s, want)
			}
		}
	}
	lists("")
	b.trim(account)
	begins := b.begins()
	lists(begins.UTC().Format(audit.TimeFormat))
	page, _ := b.do(alice, atm.Statement, text(string(quiet))).Result.(atm.Record)
	if page.Get("opening") != "5.00" || page.Get("closing") != "5.00" || page.Get("next") != "" {
		t.Errorf("an account whose entries were all trimmed: %v", page)
	}
	if s := b.do(alice, atm.Statement, text(string(quiet)), terms("to",
		"2020-01-01T00:00:00Z")); s.Code != atm.CursorInvalid ||
		!strings.Contains(s.Reason, begins.UTC().Format(time.RFC3339)) {
		t.Errorf("a statement that was trimmed: %+v", s)
	}
	page, _ = b.do(operator, atm.AccountList, atm.Arg{}, atm.Arg{}, terms("inactive_since",
		begins.Add(time.Hour).UTC().Format(time.RFC3339))).Result.(atm.Record)
	accounts, _ := page.Get("accounts").([]atm.Record)
	for _, a := range accounts {
		if a.Get("last_use") == begins.UTC().Format(time.RFC3339) {
			return
		}
	}
	t.Errorf("no account was used last before %s: %v", begins, page)
}
