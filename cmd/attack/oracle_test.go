//go:build unix

package attack_test

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemontest"
)

// TestUnknownUserTakesAsLongAsAWrongPassword signs in as an unknown user and with a wrong
// password, by Digest and at the token endpoint. The answers are the same bytes, except for
// date and nonce. With ATM_SOAK the test also prints how long a thousand of each take, sent
// alternately.
func TestUnknownUserTakesAsLongAsAWrongPassword(t *testing.T) {
	h := daemontest.Start(t, nil)
	daemontest.WithAlice(t, h)
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.user.add", "user:dora",
		"customer",
		daemontest.AliceSecret, "token"))
	a := &arena{
		Server: h, roots: h.TLS(t, "demo").RootCAs, domain: h.Name,
		names: make(map[string]string),
	}
	varies := regexp.MustCompile(`Date: [^\r]*|nonce="[^"]*"`)

	nonce := a.nonce(t, nil)
	digest := func(user string) attack {
		return attack{
			body: daemontest.Call("inquiry", "200"),
			header: []string{a.digestHeader(digestFields{
				user:     user,
				password: "incorrect horse battery staple",
			}, nonce)},
		}
	}
	secret := func(user string) attack {
		return attack{path: "/token", body: "grant_type=client_credentials&client_id=" + user +
			"&client_secret=incorrect+horse+battery"}
	}
	for way, of := range map[string]func(string) attack{"digest": digest, "secret": secret} {
		known, unknown := of(map[string]string{"digest": "alice", "secret": "dora"}[way]),
			of("nobd")
		rounds := 3
		if os.Getenv("ATM_SOAK") != "" {
			rounds = 1000
		}
		var took [2][]time.Duration
		n := 0
		for range rounds {
			var answers [2]string
			for i, at := range []attack{known, unknown} {
				n++
				// no caller is throttled
				from := &net.TCPAddr{IP: net.IPv4(127, 2, byte(n/50), byte(1+n%50))}
				conn, err := a.dial(t, from, nil)
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				answers[i] = varies.ReplaceAllString(afterSending(t, conn, at.bytes()), "#")
				took[i] = append(took[i], time.Since(begin))
				conn.Close()
			}
			if answers[0] != answers[1] || !strings.HasPrefix(answers[0], "HTTP/1.1 401 ") {
				t.Fatalf("%s: a wrong password\n%s\nsomebody unknown\n%s", way, answers[0],
					answers[1])
			}
		}
		for i, who := range []string{"a wrong password", "somebody unknown"} {
			slices.Sort(took[i])
			quartile := func(q int) string {
				return fmt.Sprint(took[i][len(took[i])*q/4].Round(100 * time.Nanosecond))
			}
			t.Logf("%s, %s: median of %d %s, quartiles %s and %s", way, who, len(took[i]),
				quartile(2), quartile(1), quartile(3))
		}
	}
}
