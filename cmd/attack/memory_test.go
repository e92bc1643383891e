//go:build unix

package attack_test

import (
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/daemontest"
)

// arenaPerAddress is how many connections the server under attack allows from one address.
const arenaPerAddress = 64

// attackMemory requests more memory than one peer may have.
func (a *arena) attackMemory(t *testing.T) {
	t.Run("connections of one address", func(t *testing.T) {
		from, most := a.address(t.Name()), arenaPerAddress*max(1, daemontest.Replicas)
		// Silent connections cost a busy machine the least, and count from the start. The server
		// closes them after the timeout for headers.
		for end := time.Now().Add(time.Minute); ; {
			var silent []net.Conn
			for range most {
				conn, err := (&net.Dialer{LocalAddr: from}).DialContext(t.Context(), "tcp4", a.Addr)
				if err != nil {
					t.Fatal(err)
				}
				silent = append(silent, conn)
			}
			_, err := a.dial(t, from, nil)
			for _, conn := range silent {
				conn.Close()
			}
			if err != nil {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("more than %d connections", most)
			}
		}
	})
	t.Run("statements larger than an answer", func(t *testing.T) {
		mallory := daemontest.HTTPClient(t, a.config(a.mallory))
		for range 5 {
			calls := make([][]string, 100)
			for i := range calls {
				calls[i] = []string{[]string{"deposit", "withdraw"}[i%2], "300", "0.01"}
			}
			if resp, text := a.Post(t, mallory, daemontest.Multicall(calls...),
				nil); strings.Contains(text,
				"ERROR") {
				t.Fatalf("%s %.300s", resp.Status, text)
			}
		}
		resp, text := a.Post(t, mallory, strings.Replace(daemontest.Statements("300", 54),
			">deposit<",
			">inquiry<", 1), nil)
		if len(text) > 2<<20 || !strings.Contains(text, "ANSWER_TOO_LARGE") {
			t.Errorf("%s, an answer of %d bytes", resp.Status, len(text))
		}
	})
	t.Run("bodies before their sender is known", func(t *testing.T) {
		most := 32 * max(1, daemontest.Replicas) // from one address
		from := a.address(t.Name())
		request := func() string {
			at := attack{header: []string{a.digestHeader(digestFields{
				user: "nobody",
				qop:  "auth-int",
			}, a.nonce(t, a.address(t.Name())))}}
			return at.bytes()
		}
		for end := time.Now().Add(time.Minute); ; {
			text := request()
			var open sync.WaitGroup
			var refused atomic.Bool
			for range most + 4 { // each without its last byte
				open.Go(func() {
					if code, _ := a.exchange(t, from, nil,
						text[:len(text)-1]); code == http.StatusServiceUnavailable {
						refused.Store(true)
					}
				})
			}
			if open.Wait(); refused.Load() {
				break
			}
			if time.Now().After(end) {
				t.Fatal("one address may have any number of bodies on their way")
			}
		}
	})
	t.Run("a page of an account with many holds", func(t *testing.T) {
		mallory := a.client(t, a.mallory)
		for range 60 {
			hold := daemontest.Must(t)(mallory.Authorize(t.Context(), 300, 1, time.Hour,
				atm.RequestID(atm.NewUUID(time.Now())))).Text()
			daemontest.Must(t)(mallory.Release(t.Context(), hold,
				atm.RequestID(atm.NewUUID(time.Now()))))
		}
		page, _ := daemontest.Must(t)(mallory.Call(t.Context(), "statement", 300,
			map[string]any{"limit": 1})).Result.(map[string]any)
		if next, _ := page["next"].(string); next == "" {
			t.Errorf("one page looks at all changes: %v", page)
		}
	})
}
