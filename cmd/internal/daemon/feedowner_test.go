//go:build unix

package daemon_test

import (
	"crypto/tls"
	"os"
	"strconv"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// show is what an operator is told of a subscription of somebody.
func show(t *testing.T, operator *client.Client, name, owner string) map[string]any {
	t.Helper()
	a := daemontest.Must(t)(operator.Call(t.Context(), "feed.show", name, owner))
	record, _ := a.Result.(map[string]any)
	return record
}

// TestSubscriptionEndsWithTheRightsOfItsOwner takes from an owner what a subscription needs while
// its receiver is away, with an event on its way. The event is not sent when the receiver is back:
// the subscription is stopped, says why, and the audit log has it.
func TestSubscriptionEndsWithTheRightsOfItsOwner(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		options map[string]any
		take    []any // method and arguments, for an operator
	}{
		"when the account is somebody else's": {
			map[string]any{"account": "300"}, []any{"admin.account.set", "300", "user:demo"},
		},
		"when the owner is disabled": {
			map[string]any{"account": "300"}, []any{"admin.user.disable", "user:ada"},
		},
		"when a customer is none any more": {
			map[string]any{"account": "300"}, []any{"admin.user.add", "user:ada", "operator"},
		},
		"when an auditor is none any more": {
			map[string]any{"operation": "deposit"}, []any{"admin.user.add", "user:ada", "customer"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, p := feedServer(t)
			operator := h.As(t, "operator")
			must := daemontest.Must(t)
			role := "customer"
			if test.options["account"] == nil {
				role = "auditor"
			}
			must(operator.Call(t.Context(), "admin.account.open", "300", "user:ada", "50"))
			must(operator.Call(t.Context(), "admin.user.add", "user:ada", role,
				daemontest.AliceSecret))
			ada := byPassword(t, h, "ada")
			p.broken.Store(true)
			must(ada.Call(t.Context(), "feed.add", "mine", p.URL+"/", test.options))
			must(h.As(t, "demo").Transfer(t.Context(), 100, 300, 1, ""))
			must(h.As(t, "demo").Deposit(t.Context(), 100, 1, ""))
			daemontest.AwaitReplicas()
			daemontest.Until(t, func() bool {
				return show(t, operator, "mine", "user:ada")["tries"] != int64(0)
			})
			must(operator.Call(t.Context(), test.take[0].(string), test.take[1:]...))
			daemontest.AwaitReplicas()
			p.broken.Store(false)
			must(operator.Call(t.Context(), "feed.resume", "mine", "user:ada"))
			daemontest.Until(t, func() bool {
				return show(t, operator, "mine", "user:ada")["state"] == "stopped"
			})
			reason, _ := show(t, operator, "mine", "user:ada")["reason"].(string)
			if !strings.Contains(reason, "may not see") {
				t.Errorf("it says %q", reason)
			}
			must(h.As(t, "demo").Transfer(t.Context(), 100, 300, 1, ""))
			stopped := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
				return e.Event == audit.EventFeedStopped
			})
			if stopped != 1 {
				t.Errorf("%d entries say that it was stopped", stopped)
			}
			for len(p.events) > 0 {
				t.Errorf("it was sent: %s", (<-p.events).body)
			}
		})
	}
}

// byPassword is somebody who signs in with the password of WithAlice.
func byPassword(t *testing.T, h *daemontest.Server, user string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{
		Server: "https://" + h.Addr, User: user, Password: daemontest.AliceSecret,
		TLS: &tls.Config{RootCAs: h.TLS(t, "demo").RootCAs, ServerName: "localhost"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCustomerHasTwentySubscriptionsAtMost has a customer ask for many, ten thousand with
// ATM_SOAK.
func TestCustomerHasTwentySubscriptionsAtMost(t *testing.T) {
	t.Parallel()
	asked := 100
	if os.Getenv("ATM_SOAK") != "" {
		asked = 10_000
	}
	h, p := feedServer(t)
	p.broken.Store(true)
	demo := h.As(t, "demo")
	for n := range asked {
		a, err := demo.Call(t.Context(), "feed.add", "number-"+strconv.Itoa(n), p.URL+"/",
			map[string]any{"account": "100"})
		if err != nil {
			t.Fatal(err)
		}
		if want := n < 20; a.OK() != want || !want && (a.Code != atm.LimitDailyCount ||
			!strings.Contains(a.Reason, "20 subscriptions")) {
			t.Fatalf("subscription %d: %+v", n+1, a)
		}
	}
	list := daemontest.Must(t)(demo.Call(t.Context(), "feed.list"))
	record, _ := list.Result.(map[string]any)
	if all, _ := record["subscriptions"].([]any); len(all) != 20 {
		t.Errorf("there are %d: %+v", len(all), list.Result)
	}
}
