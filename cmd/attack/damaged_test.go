//go:build unix

package attack_test

import (
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemontest"
)

// movement matches a complete call that moves money of account 100, in the forms of the
// captured clients.
var movement = regexp.MustCompile(
	`^(?:<\?xml [^<>]*\?>)?\s*<methodCall>\s*<methodName>(deposit|withdraw)</methodName>\s*<params>` +
		`\s*<param>\s*<value>\s*<int>\s*0*100\s*</int>\s*</value>\s*</param>` +
		`\s*<param>\s*<value>\s*<double>\s*([0-9.]+)\s*</double>\s*</value>\s*</param>\s*</params>\s*</methodCall>\s*$`)

// TestDamagedRequestsMoveWhatTheySay truncates the captured deposits and withdrawals at each
// byte, flips each of their bits, and sends all results. Money moves only if the damaged text
// is still a complete call, and by the amount in that text.
func TestDamagedRequestsMoveWhatTheySay(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1_000_000_00,
		"float"))
	files, err := filepath.Glob("../../xmlrpc/testdata/requests/*.[dw]*.xml")
	if err != nil {
		t.Fatal(err)
	}
	var damaged []string
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !movement.Match(body) {
			continue
		}
		for n := range body {
			damaged = append(damaged, string(body[:n]))
			for bit := range 8 {
				turned := []byte(string(body))
				turned[n] ^= 1 << bit
				damaged = append(damaged, string(turned))
			}
		}
	}
	if len(damaged) < 15_000 {
		t.Fatalf("only %d damaged requests", len(damaged))
	}

	var mu sync.Mutex
	want, moved, answers := atm.Amount(1_001_000_00), 0, make(map[string]int)
	work := make(chan string)
	var wg sync.WaitGroup
	for range 16 {
		c := daemontest.HTTPClient(t, h.TLS(t, "demo"))
		wg.Go(func() {
			for body := range work {
				resp, text := h.Post(t, c, body, nil)
				mu.Lock()
				switch {
				case resp.StatusCode != 200:
					answers["HTTP error"]++
				case strings.Contains(text, "<name>faultCode</name>"):
					answers["fault"]++
				case strings.Contains(text, "<name>status</name><value><string>ERROR</string>"):
					answers["ERROR"]++
				default:
					answers["OK"]++
					call := movement.FindStringSubmatch(body)
					if call == nil {
						t.Errorf("%q was carried out: %s", body, text)
						break
					}
					amount, ok := nearestCent(call[2])
					if !ok {
						t.Errorf("%q moved money", body)
					}
					if call[1] == "withdraw" {
						amount = -amount
					}
					want += amount
					moved++
				}
				mu.Unlock()
			}
		})
	}
	for _, body := range damaged {
		work <- body
	}
	close(work)
	wg.Wait()

	if a := daemontest.Must(t)(h.As(t, "demo").Inquiry(t.Context(),
		daemontest.Account)); a.Text() != want.String() {
		t.Errorf("balance %s, want %s", a.Text(), want)
	}
	t.Logf("%d damaged requests: %v", len(damaged), answers)
	entries := h.Entries(t)
	// and the float
	if got := daemontest.Count(entries, func(e *audit.Entry) bool {
		return len(e.State) > 0 && e.Event == audit.EventOp
	}); got != moved+1 {
		t.Errorf("%d entries moved money, want %d", got, moved+1)
	}
}

// nearestCent reads a double as the cent within 0.0001 cent of it.
func nearestCent(text string) (atm.Amount, bool) {
	dollars, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, false
	}
	cents := new(big.Rat).Mul(dollars, big.NewRat(100, 1))
	nearest, ok := new(big.Int).SetString(cents.FloatString(0), 10)
	if !ok {
		return 0, false
	}
	off := new(big.Rat).Sub(cents, new(big.Rat).SetInt(nearest))
	return atm.Amount(nearest.Int64()), off.Abs(off).Cmp(big.NewRat(1, 10_000)) <= 0
}
