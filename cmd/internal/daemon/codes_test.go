//go:build unix

package daemon_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// TestEveryCodeIsAnsweredAndRecorded gets every code of the contract over the wire, and finds
// each in the audit log.
func TestEveryCodeIsAnsweredAndRecorded(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	demo, operator := h.As(t, "demo"), h.As(t, "operator")
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "200", "user:demo"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "300", "user:demo"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.freeze", "300"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "400", "user:demo"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.close", "400"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "500", "user:demo",
		"1000000000000"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "600", "user:demo", "100"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.limit", "600", "10", "15", 3))
	for i := range 89 { // so that 10^12 dollars more exceed the largest balance, 2^53-1 cents
		daemontest.Must(t)(demo.Deposit(t.Context(), 500, atm.MaxAmount,
			atm.RequestID("fill "+strconv.Itoa(i))))
	}
	hold := daemontest.Must(t)(demo.Authorize(t.Context(), 100, 5000, 0, "hold")).Text()
	expired := daemontest.Must(t)(demo.Call(t.Context(), "authorize", 100, "1.00", 1)).Text()
	daemontest.Must(t)(demo.Withdraw(t.Context(), 600, 900, "limits 1"))
	id := atm.RequestID("used")
	daemontest.Must(t)(demo.Deposit(t.Context(), 100, 1, id))
	old := atm.RequestID("01890000-0000-7000-8000-000000000000") // of 2023
	of100 := map[string]any{"account": "100"}

	seen := make(map[atm.Code]bool)
	for _, tt := range []struct {
		want   atm.Code
		call   func() (*client.Answer, error)
		reason string // the whole reason, if the contract promises it
	}{
		{atm.OK, func() (*client.Answer, error) { return demo.Inquiry(t.Context(), 100) }, ""},
		{atm.AccountNotFound, func() (*client.Answer, error) {
			return demo.Deposit(t.Context(), 999, 1, "a")
		}, "Account 999 was not found"},
		{atm.AccountNotFound, func() (*client.Answer, error) {
			return demo.Withdraw(t.Context(), 999, 1, "b")
		}, "Account 999 was not found"},
		{atm.AccountNotFound, func() (*client.Answer, error) {
			return demo.Transfer(t.Context(), 100, 999, 1, "c")
		}, "Account 999 was not found"},
		{atm.AccountNotFound, func() (*client.Answer, error) {
			return demo.Statement(t.Context(), 999, client.Range{})
		}, "Account 999 was not found"},
		{atm.AccountNotFound, func() (*client.Answer, error) {
			return demo.Inquiry(t.Context(), 999)
		}, "Unknown account 999"},
		{atm.AccountNotFound, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "inquiry", "abc")
		}, "Unknown account abc"},
		{atm.AccountExists, func() (*client.Answer, error) {
			return operator.Call(t.Context(), "admin.account.open", "100")
		}, ""},
		{atm.AccountFrozen, func() (*client.Answer, error) {
			return demo.Deposit(t.Context(), 300, 1, "d")
		}, ""},
		{atm.AccountClosed, func() (*client.Answer, error) {
			return demo.Deposit(t.Context(), 400, 1, "e")
		}, ""},
		{atm.AccountNotEmpty, func() (*client.Answer, error) {
			return operator.Call(t.Context(), "admin.account.close", "100")
		}, ""},
		{atm.InsufficientFunds, func() (*client.Answer, error) {
			return demo.Withdraw(t.Context(), 100, 100_000_00, "f")
		}, "Insufficient Funds"},
		{atm.AmountInvalid, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "deposit", 100, "1e3")
		}, ""},
		{atm.AmountInvalid, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "authorize", 100, "1", 0)
		}, ""},
		{atm.AmountNotPositive, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "deposit", 100, -5)
		}, ""},
		{atm.AmountPrecision, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "deposit", 100, "0.001")
		}, ""},
		{atm.AmountTooLarge, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "deposit", 100, "1000000000000.01")
		}, ""},
		{atm.BalanceTooLarge, func() (*client.Answer, error) {
			return demo.Deposit(t.Context(), 500, atm.MaxAmount, "g")
		}, ""},
		{atm.SameAccount, func() (*client.Answer, error) {
			return demo.Transfer(t.Context(), 100, 100, 1, "h")
		}, ""},
		{atm.MemoInvalid, func() (*client.Answer, error) {
			return demo.Transfer(t.Context(), 100, 200, 1, "memo", client.Memo("two\nrows"))
		}, ""},
		{atm.LimitPerOperation, func() (*client.Answer, error) {
			return demo.Withdraw(t.Context(), 600, 1001, "i")
		}, ""},
		{atm.LimitDailyAmount, func() (*client.Answer, error) {
			return demo.Withdraw(t.Context(), 600, 601, "j")
		}, ""},
		{atm.OK, func() (*client.Answer, error) {
			return demo.Withdraw(t.Context(), 600, 1, "k")
		}, ""},
		{atm.OK, func() (*client.Answer, error) {
			return demo.Withdraw(t.Context(), 600, 1, "l")
		}, ""},
		{atm.LimitDailyCount, func() (*client.Answer, error) {
			return demo.Withdraw(t.Context(), 600, 1, "m")
		}, ""},
		{atm.HoldNotFound, func() (*client.Answer, error) {
			return demo.Capture(t.Context(), "h1", 1, "n")
		}, ""},
		{atm.HoldAmountExceeded, func() (*client.Answer, error) {
			return demo.Capture(t.Context(), hold, 5001, "o")
		}, ""},
		{atm.OK, func() (*client.Answer, error) {
			return demo.Capture(t.Context(), hold, 0, "p")
		}, ""},
		{atm.HoldNotPending, func() (*client.Answer, error) {
			return demo.Release(t.Context(), hold, "q")
		}, ""},
		{atm.IdempotencyConflict, func() (*client.Answer, error) {
			return demo.Deposit(t.Context(), 100, 2, id)
		}, ""},
		{atm.IdempotencyKeyExpired, func() (*client.Answer, error) {
			return demo.Deposit(t.Context(), 100, 2, old)
		}, ""},
		{atm.PermissionDenied, func() (*client.Answer, error) {
			return operator.Deposit(t.Context(), 100, 2, "r")
		}, ""},
		{atm.PermissionDenied, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "admin.account.limit", 100, "1")
		}, ""},
		{atm.CursorInvalid, func() (*client.Answer, error) {
			return demo.Statement(t.Context(), 100, client.Range{Cursor: "200.1"})
		}, ""},
		{atm.CursorInvalid, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "statement", 100, map[string]any{"limit": 0})
		}, ""},
		{atm.FeedNotFound, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "feed.show", "books")
		}, ""},
		{atm.FeedInvalid, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "feed.add", "books", "https://10.0.0.1/", of100)
		}, ""},
		{atm.FeedInvalid, func() (*client.Answer, error) { // an oracle for the maker of an entry
			return demo.Call(t.Context(), "feed.add", "books", "https://books.invalid/",
				map[string]any{"account": "100", "subject": "user:alice"})
		}, "A subscription to an account names no other caller than you"},
		{atm.OK, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "feed.add", "books", "https://books.invalid/", of100)
		}, ""},
		{atm.FeedExists, func() (*client.Answer, error) {
			return demo.Call(t.Context(), "feed.add", "books", "https://books.invalid/", of100)
		}, ""},
	} {
		a, err := tt.call()
		if err != nil || a.Code != tt.want || tt.reason != "" && a.Reason != tt.reason ||
			(a.Reason == "") != a.OK() || a.Receipt == "" {
			t.Errorf("want %s %q: %+v, %v", tt.want, tt.reason, a, err)
			continue
		}
		seen[tt.want] = true
	}
	time.Sleep(2 * time.Second) // a hold of one second ends at the next full second
	a, err := demo.Capture(t.Context(), expired, 1, "expired")
	if err != nil || a.Code != atm.HoldExpired {
		t.Errorf("%+v, %v", a, err)
	}
	seen[atm.HoldExpired] = true
	// a fault
	h.Post(t, daemontest.HTTPClient(t, h.TLS(t, "demo")), daemontest.Call("inquiry"), nil)
	seen[atm.Fault] = true

	entries := h.Entries(t)
	for code := range seen {
		if daemontest.Count(entries, func(e *audit.Entry) bool {
			return e.Status != nil && e.Status.Code == code
		}) == 0 {
			t.Errorf("%s is in no entry", code)
		}
	}
	// None of the three can be stored: UNAVAILABLE is covered by
	// TestNothingIsWrittenIntoTheDiskReserve, and OUTCOME_UNKNOWN and INTERNAL need a failing disk.
	for _, code := range strings.Fields("OK ACCOUNT_NOT_FOUND ACCOUNT_EXISTS ACCOUNT_FROZEN " +
		"ACCOUNT_CLOSED ACCOUNT_NOT_EMPTY INSUFFICIENT_FUNDS " +
		"AMOUNT_INVALID AMOUNT_NOT_POSITIVE AMOUNT_PRECISION AMOUNT_TOO_LARGE BALANCE_TOO_LARGE " +
		"SAME_ACCOUNT MEMO_INVALID LIMIT_PER_OPERATION " +
		"LIMIT_DAILY_AMOUNT LIMIT_DAILY_COUNT HOLD_NOT_FOUND HOLD_NOT_PENDING HOLD_EXPIRED " +
		"HOLD_AMOUNT_EXCEEDED IDEMPOTENCY_CONFLICT FAULT " +
		"IDEMPOTENCY_KEY_EXPIRED PERMISSION_DENIED CURSOR_INVALID FEED_NOT_FOUND FEED_EXISTS " +
		"FEED_INVALID") {
		if !seen[atm.Code(code)] {
			t.Errorf("nothing was answered %s", code)
		}
	}
}
