//go:build unix

package daemon_test

import (
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
)

// livedByAgreements gives a server mandates, standing orders and a reversal, some of which have
// ended.
func livedByAgreements(t *testing.T, h *daemontest.Server) {
	t.Helper()
	operator, demo := h.As(t, "operator"), h.As(t, "demo")
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "service:gas", "service"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "400", "service:gas", "50"))
	gas, err := client.New(client.Config{
		Server: "https://" + h.Addr, TLS: h.Issue(t, "service:gas"),
	})
	if err != nil {
		t.Fatal(err)
	}
	terms := client.MandateTerms{Creditor: "service:gas", Each: 20_00, Total: 30_00, Period: "month"}
	mandate := daemontest.Must(t)(demo.CreateMandate(t.Context(), 100, terms, "m1")).Text()
	daemontest.Must(t)(gas.Collect(t.Context(), mandate, 10_00, 400, "c1"))
	revoked := daemontest.Must(t)(demo.CreateMandate(t.Context(), 100, terms, "m2")).Text()
	daemontest.Must(t)(demo.RevokeMandate(t.Context(), revoked))
	order := client.OrderTerms{
		To: 200, Amount: 3_00, Every: "month", On: "31", At: "06:30", Zone: "Europe/Berlin",
		From: "2099-01-01", // it is never due while a test runs
	}
	daemontest.Must(t)(demo.CreateOrder(t.Context(), 100, order, "o1"))
	cancelled := daemontest.Must(t)(demo.CreateOrder(t.Context(), 100, order, "o2")).Text()
	daemontest.Must(t)(demo.CancelOrder(t.Context(), cancelled))
	paid := index(daemontest.Must(t)(demo.Transfer(t.Context(), 100, 200, 8_00, "paid")))
	daemontest.Must(t)(demo.Reverse(t.Context(), paid, 3_00, "back"))
}

// tampersOfPayments are tampers with mandates, standing orders and reversals.
var tampersOfPayments = []tamper{
	{"the cap of a mandate", `UPDATE mandates SET total = total + 1`, "mandate m"},
	{"the most at once", `UPDATE mandates SET "each" = "each" + 1`, "mandate m"},
	{"what was collected", `UPDATE mandates SET spent = 0 WHERE spent > 0`, "mandate m"},
	{"the period that it counts for", `UPDATE mandates SET counted = counted - 1`, "mandate m"},
	{"the creditor", `UPDATE mandates SET creditor = 'user:mallory'`, "mandate m"},
	{"the debtor", `UPDATE mandates SET debtor = 'user:mallory'`, "mandate m"},
	{"the account of a mandate", `UPDATE mandates SET account = '300'`, "mandate m"},
	{"when a mandate ends", `UPDATE mandates SET ends = now()`, "mandate m"},
	{
		"a mandate that was revoked", `UPDATE mandates SET revoked = false WHERE revoked`,
		"mandate m",
	},
	{
		"a mandate gone", `DELETE FROM mandates WHERE NOT revoked`,
		"is in the journal and has no record",
	},
	{
		"a mandate more",
		`INSERT INTO mandates SELECT id + 1, account, debtor, creditor, memo, "each", total, period, begins, ends, 0, 0, false FROM mandates WHERE NOT revoked`, "is not what the journal says",
	},
	{
		"the next date of an order",
		`UPDATE orders SET next = next + interval '1 day' WHERE next IS NOT NULL`,
		"standing order o",
	},
	{
		"a cancelled order", `UPDATE orders SET cancelled = false, next = '2099-01-31' WHERE cancelled`,
		"standing order o",
	},
	{"the amount of an order", `UPDATE orders SET amount = amount + 1`, "standing order o"},
	{"the account that is paid", `UPDATE orders SET payee = '300'`, "standing order o"},
	{"how often", `UPDATE orders SET every = 1, day = 0`, "standing order o"},
	{"how many were paid", `UPDATE orders SET paid = paid + 1`, "standing order o"},
	{
		"an order gone", `DELETE FROM orders WHERE next IS NOT NULL`,
		"is in the journal and has no record",
	},
	{"a reversal gone", `DELETE FROM reversals`, "is in the journal and has no record"},
	{"the amount of a reversal", `UPDATE reversals SET amount = amount - 1`, "reversal of entry"},
	{"the entry of a reversal", `UPDATE reversals SET entry = entry - 1`, "reversal of entry"},
	{
		"an account without its agreements",
		`UPDATE accounts SET agreements = '{}', creditors = '{}' WHERE name = '100'`,
		"account 100 is not what the journal says",
	},
	{
		"the creditor in an account",
		`UPDATE accounts SET creditors[1] = 'user:mallory' WHERE name = '100'`,
		"account 100 is not what the journal says",
	},
	{
		"the end in an account",
		`UPDATE accounts SET agreements[2] = 4102444800 WHERE name = '100'`,
		"account 100 is not what the journal says",
	},
}

// TestFsckNamesWhatWasPaidInBetween changes a mandate or a reversal of a running server, makes use
// of that, and changes it back.
func TestFsckNamesWhatWasPaidInBetween(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	for _, tt := range []struct {
		name, before, after, says string
		act                       func(*testing.T, *market, string, string)
	}{
		{
			"the cap of a mandate", `UPDATE mandates SET total = 90000`,
			`UPDATE mandates SET total = 1000, spent = least(spent, 1000)`, "answers MANDATE_EXCEEDED",
			func(t *testing.T, m *market, mandate, _ string) {
				daemontest.Must(t)(m.gas[0].Collect(t.Context(), mandate, 11_00, 300, ""))
			},
		},
		{
			"what was collected", `UPDATE mandates SET spent = 0`, `UPDATE mandates SET spent = 1000`,
			"answers MANDATE_EXCEEDED",
			func(t *testing.T, m *market, mandate, _ string) {
				daemontest.Must(t)(m.gas[0].Collect(t.Context(), mandate, 10_00, 300, ""))
			},
		},
		{
			"the creditor", `UPDATE mandates SET creditor = 'user:alice'`,
			`UPDATE mandates SET creditor = 'service:gas'`, "user:alice collected by mandate",
			func(t *testing.T, m *market, mandate, _ string) {
				daemontest.Must(t)(m.alice[0].Collect(t.Context(), mandate, 1, 200, ""))
			},
		},
		{
			"what was reversed", `DELETE FROM reversals`, ``, "reverses more than entry",
			func(t *testing.T, m *market, _, paid string) {
				daemontest.Must(t)(m.alice[0].Reverse(t.Context(), paid, 5_00, ""))
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			store := daemontest.Database(t)
			h := startOn(t, filepath.Join(t.TempDir(), "atm-data"), store)
			m := newMarket(t, h)
			paid := index(daemontest.Must(t)(m.demo[0].Transfer(t.Context(), 100, 200, 8_00, "paid")))
			daemontest.Must(t)(m.alice[0].Reverse(t.Context(), paid, 5_00, "back"))
			mandate := daemontest.Must(t)(m.demo[0].CreateMandate(t.Context(), 100,
				client.MandateTerms{Creditor: "service:gas", Total: 10_00, Period: "month"},
				"mandate")).Text()
			daemontest.Must(t)(m.gas[0].Collect(t.Context(), mandate, 5_00, 300, "first"))
			db := databaseName(t, store)
			daemontest.Postgres(t).SQL(t, db, tt.before)
			tt.act(t, m, mandate, paid)
			if tt.after != "" {
				daemontest.Postgres(t).SQL(t, db, tt.after)
			}
			if err := h.Stop(); err != nil {
				t.Fatal(err)
			}
			problems := strings.Join(checked(t, offline.Folder{Data: h.Data, Store: store}), "\n")
			if !strings.Contains(problems, tt.says) {
				t.Errorf("nothing says %q: %q", tt.says, problems)
			}
		})
	}
}
