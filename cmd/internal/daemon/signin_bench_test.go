//go:build unix

package daemon_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

// BenchmarkSignIn sends a small request, which touches no account and has no entry in the log,
// with each way to sign in over a kept connection, and to a bare net/http server that answers
// with the same bytes. Each round has one request of each, so that noise affects all of them.
// The results are medians, and their ratios to the bare request.
func BenchmarkSignIn(b *testing.B) {
	h := daemontest.Start(b, func(o *daemon.Options) { o.NonceTTL = time.Hour })
	daemontest.WithAlice(b, h)
	question := daemontest.Call("system.methodSignature", "inquiry")
	demo := daemontest.HTTPClient(b, h.TLS(b, "demo"))
	resp, answer := h.Post(b, demo, question, nil)
	if resp.StatusCode != http.StatusOK {
		b.Fatal(resp.Status)
	}
	nobody := h.TLS(b, "demo")
	nobody.GetClientCertificate = nil
	alice := daemontest.HTTPClient(b, nobody)
	challenge, _ := h.Post(b, alice, question, nil)
	token := daemontest.Must(b)(h.As(b, "operator").Call(b.Context(), "admin.token.issue",
		"user:alice", "*",
		"3600"))
	text, _ := token.Result.(map[string]any)["token"].(string)

	bare := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request,
	) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/xml")
		io.WriteString(w, answer)
	}))
	bare.TLS = &tls.Config{MinVersion: tls.VersionTLS13}
	bare.StartTLS()
	defer bare.Close()
	anybody := bare.Client()

	ways := []struct {
		name string
		ask  func(n int)
	}{
		{"bare", func(int) {
			req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, bare.URL,
				strings.NewReader(question))
			if err != nil {
				b.Fatal(err)
			}
			resp, err := anybody.Do(req)
			if err != nil {
				b.Fatal(err)
			}
			defer resp.Body.Close()
			io.Copy(io.Discard, resp.Body)
		}},
		{"certificate", func(int) { h.Ask(b, demo, question, "") }},
		{"digest", func(n int) { h.Ask(b, alice, question, digestOf(b, challenge, n)) }},
		{"token", func(int) { h.Ask(b, alice, question, "Bearer "+text) }},
	}
	took := make([][]time.Duration, len(ways))
	round := 0
	for b.Loop() {
		round++
		for i, way := range ways {
			from := time.Now()
			way.ask(round)
			took[i] = append(took[i], time.Since(from))
		}
	}
	medians := make([]float64, len(ways))
	for i, way := range ways {
		slices.Sort(took[i])
		medians[i] = float64(took[i][len(took[i])/2])
		b.ReportMetric(medians[i]/1e3, way.name+"-µs")
		if i > 0 {
			b.ReportMetric(medians[i]/medians[0], way.name+"/bare")
		}
	}
	b.ReportMetric(0, "ns/op")
}
