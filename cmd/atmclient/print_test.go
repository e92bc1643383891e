package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/internal/printable"
)

// Neither a server nor a name in its answer can add a row, or print control characters.
func TestStatementRowsCannotBeForged(t *testing.T) {
	// Each column of a table has a heading that is one line, too.
	const evil = "user:a\n2026-05-01T00:00:00Z  deposit  90000.00\t\x1b[2J\u009b2J\u202e\r"
	var out, problems bytes.Buffer
	p := &printer{stdout: printable.NewWriter(&out), stderr: printable.NewWriter(&problems)}
	page := map[string]any{"opening": "0.00", "closing": evil, "next": evil, "entries": []any{
		map[string]any{
			"time": evil, "operation": "deposit", "amount": "1.00", "balance": "1.00",
			"counterparty": evil, "memo": evil, evil: evil,
		},
	}}
	record := map[string]any{"order": evil, "creditor": evil, "by": evil, "to": evil, evil: evil}
	for r, result := range map[*request]any{
		{operation: atm.Statement, account: 100}: page,
		{operation: atm.Whoami}: map[string]any{
			"subject": evil,
			"roles":   []any{evil}, "method": "mtls",
		},
		{operation: atm.MandateList, account: 100}:         []any{record},
		{operation: atm.OrderList, account: 100}:           []any{record},
		{operation: atm.Notices, account: 100}:             map[string]any{"entries": []any{record}},
		{operation: atm.OrderShow, ref: "o1"}:              map[string]any{"order": evil, evil: evil},
		{operation: atm.Reverse, ref: "1"}:                 evil,
		{operation: atm.Inquiry, account: 100}:             evil,
		{operation: atm.Deposit, account: 100, memo: evil}: "1.00",
	} {
		if err := p.print(r, &client.Answer{Code: atm.OK, Result: result}); err != nil {
			t.Fatal(err)
		}
	}
	text := out.String() + problems.String()
	if n := strings.Count(text, "\n"); n != 4+1+1+1+1+2+2+2+2+1 {
		t.Errorf("%d lines: %q", n, text)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }) {
		t.Errorf("a terminal obeys %q", text)
	}
}

// TestStatementSaysSinceWhenTheServerHasMovements prints one of a server that has no older ones.
func TestStatementSaysSinceWhenTheServerHasMovements(t *testing.T) {
	const since = "2026-05-01T12:00:00.000000Z"
	for _, op := range []atm.Operation{atm.Statement, atm.Notices} {
		var out, problems bytes.Buffer
		p := &printer{stdout: &out, stderr: &problems}
		page := map[string]any{
			"opening": "3.00", "closing": "3.00", "since": since, "entries": []any{},
		}
		if err := p.print(&request{operation: op, account: 100}, &client.Answer{
			Code: atm.OK, Result: page,
		}); err != nil {
			t.Fatal(err)
		}
		if got := problems.String(); got != "The server has none from before "+since+"\n" {
			t.Errorf("%s: %q", op, got)
		}
	}
}
