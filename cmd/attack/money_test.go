//go:build unix

package attack_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/teller/methods"
)

// afterSending sends bytes and returns everything received until the server closes.
func afterSending(t *testing.T, conn net.Conn, sent string) string {
	t.Helper()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, sent) // the server may have closed already
	answer, _ := io.ReadAll(conn)
	return string(answer)
}

// attackPermissions attempts operations that the caller is not permitted to do.
func (a *arena) attackPermissions(t *testing.T) {
	const denied, missing = "<string>PERMISSION_DENIED</string>",
		"<string>ACCOUNT_NOT_FOUND</string>"
	list := []attack{
		{
			name: "another's balance", by: a.mallory, body: daemontest.Call("inquiry", "100"),
			says: missing,
		},
		{
			name: "another's money", by: a.mallory, body: daemontest.Call("withdraw", "100", "1"),
			says: missing,
		},
		{
			name: "a deposit for another", by: a.mallory, body: daemontest.Call("deposit",
				"100", "1"),
			says: missing,
		},
		{
			name: "a transfer from another", by: a.mallory, body: daemontest.Call("transfer", "100",
				"300", "1"),
			says: missing,
		},
		{
			name: "holding another's money", by: a.mallory, body: daemontest.Call("authorize",
				"100", "1"),
			says: missing,
		},
		{
			name: "another's statement", by: a.mallory, body: daemontest.Call("statement", "100"),
			says: missing,
		},
		{
			name: "another's receipt", by: a.mallory, body: daemontest.Call("receipt", "1"),
			says: "ERROR",
		},
		{
			name: "another's entry", by: a.mallory, body: daemontest.Call("entry", "1"),
			says: "ERROR",
		},
		{
			name: "another's certificate", by: a.mallory, body: daemontest.Call("certificate",
				"100"),
			says: missing,
		},
		{
			name: "a certificate for a service", by: a.billing, body: daemontest.Call("certificate",
				"100"),
			says: denied,
		},
		{
			name: "a receipt of the future", by: a.mallory, body: daemontest.Call("receipt",
				"999999999"),
			says: "ERROR",
		},
		{
			name: "more than there is", by: a.mallory, body: daemontest.Call("withdraw", "300",
				"5.01"),
			says: "INSUFFICIENT_FUNDS",
		},
		{
			name: "a transfer of more than there is", by: a.mallory,
			body: daemontest.Call("transfer", "300",
				"100", "5.01"), says: "INSUFFICIENT_FUNDS",
		},
		{
			name: "what is held", by: a.alice, body: daemontest.Call("withdraw", "200", "50.01"),
			says: "INSUFFICIENT_FUNDS",
		},
		{
			name: "a negative amount", by: a.mallory, body: daemontest.Call("withdraw",
				"300", "-1"),
			says: "AMOUNT_NOT_POSITIVE",
		},
		{
			name: "an amount beyond all numbers", by: a.till, body: daemontest.Call("deposit",
				"300", "1e400"),
			says: "ERROR",
		},
		{
			name: "the account of equity", by: a.till, body: daemontest.Call("withdraw",
				"equity", "1"),
			says: "ERROR",
		},
		{
			name: "an auditor moves money", by: a.auditor, body: daemontest.Call("withdraw",
				"100", "1"),
			says: denied,
		},
		{
			name: "an auditor transfers", by: a.auditor, body: daemontest.Call("transfer", "100",
				"300", "1"),
			says: denied,
		},
		{
			name: "an operator moves money", by: a.operator, body: daemontest.Call("deposit",
				"100", "1"),
			says: denied,
		},
		{
			name: "an operator holds money", by: a.operator, body: daemontest.Call("authorize",
				"100", "1"),
			says: denied,
		},
		{
			name: "an operator looks", by: a.shownAs(t, "user:operator2", "operator"),
			body: daemontest.Call("inquiry", "100"), says: denied,
		},
		{
			name: "a service without a grant", by: a.billing, body: daemontest.Call("withdraw",
				"100", "1"),
			says: denied,
		},
		{
			name: "a service looks without a grant", by: a.billing,
			body: daemontest.Call("inquiry", "100"),
			says: denied,
		},
		{
			name: "a teller gives a grant", by: a.till,
			body: daemontest.Call("admin.grant.create", "100",
				"withdraw", "5", "service:billing"), says: denied,
		},
		{
			name: "a grant on another's account", by: a.mallory,
			body: daemontest.Call("admin.grant.create",
				"100", "withdraw", "5", "service:billing"), says: "ERROR",
		},
		{
			name: "a multicall in a multicall", by: a.mallory,
			body: daemontest.Multicall([]string{"system.multicall"}), says: "<int>-",
		},
		{
			name: "a method with a space", by: a.mallory, body: daemontest.Call("with draw",
				"300", "1"),
			says: "-32600",
		},
		{
			name: "a method of Go", by: a.mallory, body: daemontest.Call("Server.Shutdown"),
			says: "-32601",
		},
		{
			name: "permitted and forbidden in one multicall, " + harmless, by: a.mallory,
			body: daemontest.Multicall([]string{"inquiry", "300"},
				[]string{"withdraw", "100", "1"}),
			says: missing,
		},
	}
	for _, op := range methods.All() {
		if !strings.HasPrefix(string(op.Name), "admin.") || op.Name == atm.GrantCreate {
			continue
		}
		args := make([]string, 0, len(op.Params))
		for _, p := range op.Params {
			if !p.Optional {
				args = append(args, "1")
			}
		}
		for subject, role := range map[string]atm.Role{
			"customer": atm.Customer, "teller": atm.Teller,
			"auditor": atm.Auditor, "service": atm.Service,
		} {
			if auth.Permit(atm.Principal{Roles: []atm.Role{role}}, op.Name) != atm.Nowhere {
				continue
			}
			by := map[string]int{"customer": 0, "teller": 1, "auditor": 2, "service": 3}[subject]
			list = append(list, attack{
				name: fmt.Sprintf("%s as %s", op.Name, subject), by: []*tls.Certificate{
					a.mallory,
					a.till, a.auditor, a.billing,
				}[by],
				body: daemontest.Call(string(op.Name), args...), says: denied,
			})
		}
	}
	for i := range list {
		list[i].want = 200
	}
	a.run(t, list)

	t.Run("no oracle", func(t *testing.T) {
		// The account of another customer is answered like a nonexistent one, except for its number
		// and the receipt.
		number := regexp.MustCompile(
			`\b(100|999)\b|[0-9]+ [A-Za-z0-9+/]{43}=|Date: [^\r]*|Content-Length: [0-9]+`)
		for _, ask := range []func(string) string{
			func(account string) string { return daemontest.Call("inquiry", account) },
			func(account string) string { return daemontest.Call("withdraw", account, "1") },
			func(account string) string { return daemontest.Call("transfer", account, "300", "1") },
			func(account string) string { return daemontest.Call("statement", account) },
			func(account string) string { return daemontest.Call("authorize", account, "1") },
		} {
			var answers []string
			for _, account := range []string{"100", "999"} {
				_, answer := a.exchange(t, a.address(t.Name()), a.mallory,
					(&attack{body: ask(account)}).bytes())
				answers = append(answers, number.ReplaceAllString(answer, "#"))
			}
			if answers[0] != answers[1] {
				t.Errorf("%s\nand\n%s", answers[0], answers[1])
			}
		}
	})
	t.Run("another's request id", func(t *testing.T) {
		// The same request means something else for each subject.
		daemontest.Must(t)(a.client(t, a.till).Deposit(t.Context(), 300, 1, "one id"))
		daemontest.Must(t)(a.client(t, a.till).Withdraw(t.Context(), 300, 1, "and back"))
		_, answer := a.exchange(t, a.address(t.Name()), a.alice,
			(&attack{body: daemontest.Call("deposit", "300", "0.01", "one id")}).bytes())
		if !strings.Contains(answer, missing) {
			t.Error(answer)
		}
	})
	t.Run("another's hold", func(t *testing.T) {
		hold := daemontest.Must(t)(a.client(t, a.alice).Authorize(t.Context(), 200, 1, time.Hour,
			"another hold")).Text()
		for _, method := range []string{"capture", "release"} {
			_, answer := a.exchange(t, a.address(t.Name()), a.mallory,
				(&attack{body: daemontest.Call(method, hold)}).bytes())
			_, unknown := a.exchange(t, a.address(t.Name()), a.mallory,
				(&attack{body: daemontest.Call(method, "no-such-hold")}).bytes())
			if strings.Contains(answer, "<string>OK</string>") ||
				codeIn(answer) != codeIn(unknown) {
				t.Errorf("%s: %s, and of an unknown one %s", method, answer, unknown)
			}
		}
		daemontest.Must(t)(a.client(t, a.alice).Release(t.Context(), hold, "give it back"))
	})
	t.Run("another's grant", a.attackGrants)
}

var codeOf = regexp.MustCompile(`<name>code</name><value><string>([A-Z_]+)<`)

func codeIn(answer string) string {
	found := codeOf.FindStringSubmatch(answer)
	if found == nil {
		return "none"
	}
	return found[1]
}

// shownAs creates a subject with a role and a certificate.
func (a *arena) shownAs(t *testing.T, subject, role string) *tls.Certificate {
	t.Helper()
	daemontest.Must(t)(a.As(t, "operator").Call(t.Context(), "admin.user.add", subject, role))
	return a.of(t, "/"+strings.Replace(subject, ":", "/", 1))
}

// attackGrants uses a grant for operations that it does not allow.
func (a *arena) attackGrants(t *testing.T) {
	grant := daemontest.Must(t)(a.client(t, a.alice).Call(t.Context(), "admin.grant.create", 200,
		"withdraw inquiry", "20.00", "service:billing", 600))
	token, _ := grant.Result.(map[string]any)["token"].(string)
	bearer := []string{"Authorization: Bearer " + token}
	// An answer under one grant is not repeated under another.
	daemontest.Must(t)(a.client(t, a.till).Deposit(t.Context(), 200, 1, "for the grant"))
	first := a.address(t.Name() + " " + harmless)
	if _, answer := a.exchange(t, first, nil,
		(&attack{header: bearer, body: daemontest.Call("withdraw", "200", "0.01",
			"once")}).bytes()); codeIn(
		answer) != "OK" {
		t.Fatal(answer)
	}
	look := daemontest.Must(t)(a.client(t, a.alice).Call(t.Context(), "admin.grant.create", 200,
		"inquiry",
		"1.00", "service:billing", 600))
	other, _ := look.Result.(map[string]any)["token"].(string)
	a.run(t, []attack{{
		name: "the answer of another grant", header: []string{"Authorization: Bearer " + other},
		body: daemontest.Call("withdraw", "200", "0.01", "once"), want: 200,
		says: "PERMISSION_DENIED",
	}})
	a.run(t, []attack{
		{
			name: "more than its cap", header: bearer, body: daemontest.Call("withdraw", "200",
				"20.01"),
			want: 200, says: "GRANT_EXCEEDED",
		},
		{
			name: "another account", header: bearer, body: daemontest.Call("withdraw", "100", "1"),
			want: 200,
			says: "PERMISSION_DENIED",
		},
		{
			name: "another operation", header: bearer, body: daemontest.Call("deposit", "200", "1"),
			want: 200,
			says: "PERMISSION_DENIED",
		},
		{
			name: "a transfer", header: bearer, body: daemontest.Call("transfer", "200",
				"300", "1"),
			want: 200,
			says: "PERMISSION_DENIED",
		},
		{
			name: "a grant of a grant", header: bearer,
			body: daemontest.Call("admin.grant.create", "200",
				"withdraw", "1", "user:mallory"), want: 200, says: "PERMISSION_DENIED",
		},
		{
			name: "by somebody else with a certificate", by: a.mallory, header: bearer,
			body: daemontest.Call("withdraw", "200", "1"), want: 401,
		},
		{
			name: "by its grantor with a certificate", by: a.alice, header: bearer,
			body: daemontest.Call("withdraw", "200", "1"), want: 401,
		},
		{
			name: "more than there is", header: bearer, body: daemontest.Call("withdraw", "200",
				"999999"),
			want: 200, says: "ERROR",
		},
		{
			name: "as a token for another", path: "/token", header: bearer,
			body: "grant_type=client_credentials", want: 400,
		},
	})
}
