//go:build unix

package daemon_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemontest"
)

// TestTellerFindsAccountsAndSeesTheTill finds an account by each thing that a teller may know of
// it, and counts what the teller moved, however often a form was sent.
func TestTellerFindsAccountsAndSeesTheTill(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	operator := h.As(t, "operator")
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "user:alice", "customer"))
	daemontest.Must(t)(operator.Call(t.Context(), "admin.account.open", "200", "user:alice", "50",
		`Alice <script>alert(1)</script> Smith`))
	tina := visitorWith(t, h, "user:tina", "teller")
	both := visitorWith(t, h, "user:olga", "teller operator")

	if to, _ := tina.follow("/console/desk?find=200"); to != "/console/accounts/200" {
		t.Errorf("the number leads to %s", to)
	}
	for _, find := range []string{"alice", "user:alice", "smith", "Alice"} {
		text := tina.see(http.StatusOK, "/console/desk?find="+find)
		shows(t, text, "/console/accounts/200", "user:alice")
		if strings.Contains(text, "<script>alert") || strings.Contains(text, "Freeze") {
			t.Errorf("the desk of a teller shows\n%s", text)
		}
	}
	shows(t, tina.see(http.StatusOK, "/console/desk?find=bob"), "No account is held by “bob”")
	shows(t, both.see(http.StatusOK, "/console/desk?find=alice"), "Freeze",
		"/console/admin/accounts/freeze?account=200")
	shows(t, both.see(http.StatusOK, "/console/accounts/200"), "Freeze")
	shows(t, tina.see(http.StatusOK, "/console/accounts/200"), "Alice <script>")
	alice := visitorWith(t, h, "user:alice", "customer")
	shows(t, alice.see(http.StatusOK, "/console/accounts/200"), "Alice <script>")
	auditor := visitorWith(t, h, "user:ada", "auditor")
	if text := auditor.see(http.StatusOK, "/console/accounts/200"); strings.Contains(text,
		"script&gt;") {
		t.Errorf("an auditor sees who holds an account:\n%s", text)
	}
	visitorAs(t, h, "demo").see(http.StatusForbidden, "/console/desk?find=alice")

	shows(t, tina.see(http.StatusOK, "/console/desk"), "You have moved nothing today.")
	day := time.Now().UTC().Format(time.DateOnly)
	for _, form := range []string{
		"act=deposit&amount=20&request_id=d1", "act=deposit&amount=20&request_id=d1",
		"act=deposit&amount=1.50&request_id=d2", "act=withdraw&amount=5&request_id=w1",
		"act=withdraw&amount=5000&request_id=w2",
		"act=transfer&to=100&amount=3&request_id=t1",
	} {
		code, text := page(t, h, tina.c, "/console/accounts/200/act", form, nil)
		if code != http.StatusSeeOther {
			t.Fatalf("%s is answered with %d\n%s", form, code, text)
		}
	}
	text := tina.see(http.StatusOK, "/console/desk")
	if time.Now().UTC().Format(time.DateOnly) != day {
		return // it was midnight meanwhile, and what was moved is of yesterday
	}
	shows(t, text, `<td>deposit</td><td class="money">2</td><td class="money">$21.50</td>`,
		`<td>transfer</td><td class="money">1</td><td class="money">$3.00</td>`,
		`<td>withdraw</td><td class="money">1</td><td class="money">$5.00</td>`,
		`<td class="money">+16.50</td>`, "Refused: 1")
	if text := both.see(http.StatusOK, "/console/desk"); strings.Contains(text, "$21.50") {
		t.Error("the till of one teller is another's")
	}
}
