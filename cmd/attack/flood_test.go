//go:build unix

package attack_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemontest"
)

// TestFloodOfFailedSignInsHidesNothing sends ten failed sign-ins, or a hundred with ATM_SOAK,
// from each of a thousand networks while another client deposits. The log grows within its
// bound, counts every failure, and has every deposit.
func TestFloodOfFailedSignInsHidesNothing(t *testing.T) {
	t.Parallel()
	const networks, at, deposits = 1000, 50, 100
	each := 10
	if os.Getenv("ATM_SOAK") != "" {
		each = 100
	}
	h := daemontest.Start(t, nil)
	tls := h.TLS(t, "demo")
	begun := time.Now()
	work := make(chan int)
	var wg sync.WaitGroup
	for range at {
		wg.Go(func() {
			for n := range work {
				transport := &http.Transport{
					TLSClientConfig: tls,
					DialContext: (&net.Dialer{
						LocalAddr: &net.TCPAddr{IP: net.IPv4(127, byte(1+n/250), byte(n%250), 1)},
					}).DialContext,
				}
				c := &http.Client{Transport: transport}
				for range each {
					resp, _ := h.Post(t, c, daemontest.Call("inquiry", "100"),
						func(r *http.Request) {
							r.Header.Set("Authorization", "Bearer forged")
						})
					if resp.StatusCode != http.StatusUnauthorized {
						t.Errorf("a forged token: %s", resp.Status)
					}
				}
				transport.CloseIdleConnections()
			}
		})
	}
	wg.Go(func() {
		c := h.As(t, "demo")
		for i := range deposits {
			if a, err := c.Deposit(t.Context(), daemontest.Account, 1,
				atm.RequestID(fmt.Sprint(i))); err != nil || !a.OK() {
				t.Errorf("%+v, %v", a, err)
			}
		}
	})
	for n := range networks {
		work <- n
	}
	close(work)
	wg.Wait()
	minutes := int(time.Since(begun)/time.Minute) + 2

	entries := h.Entries(t)
	single := daemontest.Count(entries, func(e *audit.Entry) bool {
		return e.Event == audit.EventAuthFail
	})
	summaries, counted := 0, int64(0)
	for _, e := range entries {
		if e.Event == audit.EventAuthFailSummary {
			summaries++
			counted += e.Summary.N
		}
	}
	if got := int64(single) + counted; got != int64(networks*each) {
		t.Errorf("%d failures are in the log, want %d", got, networks*each)
	}
	// 1024 pairs of network and reason are counted separately within a minute, each with five
	// entries and a summary. All others are counted together.
	if bound := minutes * 1025 * 6; single+summaries > bound {
		t.Errorf("%d entries about failures, the bound is %d", single+summaries, bound)
	}
	if got := daemontest.Count(entries, func(e *audit.Entry) bool {
		return e.Operation == atm.Deposit && e.Status.Code == atm.OK
	}); got != deposits {
		t.Errorf("%d of %d deposits are in the log", got, deposits)
	}
	t.Logf("%d failed sign-ins: %d entries, %d summaries, %d entries in all", networks*each, single,
		summaries, len(entries))
}
