//go:build unix

package daemon_test

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
)

var assetOfPage = regexp.MustCompile(`(?:href|src)="(/console/assets/[^"]+)"`)

// BenchmarkPages asks for pages of the console and for an inquiry, over one kept connection
// each. Each round has one of each, so that noise affects all of them. The results are medians,
// their ratios to the inquiry, and the bytes of the first page with all that it loads.
func BenchmarkPages(b *testing.B) {
	h := daemontest.Start(b, func(o *daemon.Options) { o.Server.Console = true })
	rpc := daemontest.HTTPClient(b, h.TLS(b, "demo"))
	browser := daemontest.HTTPClient(b, h.TLS(b, "demo"))
	question := daemontest.Call("inquiry", "100")
	get := func(path string) []byte {
		resp, err := browser.Get("https://" + h.Addr + path)
		if err != nil {
			b.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
		return text
	}
	first := get("/console/")
	load := [][]byte{first}
	for _, asset := range assetOfPage.FindAllSubmatch(first, -1) {
		load = append(load, get(string(asset[1])))
	}
	bytes := 0
	for _, part := range load {
		bytes += len(part)
	}
	acts := []struct {
		name string
		do   func()
	}{
		{"inquiry", func() { h.Ask(b, rpc, question, "") }},
		{"home", func() { get("/console/") }},
		{"account", func() { get("/console/accounts/100") }},
		{"style", func() { get("/console/assets/console.css") }},
	}
	took := make([][]time.Duration, len(acts))
	for b.Loop() {
		for i, act := range acts {
			from := time.Now()
			act.do()
			took[i] = append(took[i], time.Since(from))
		}
	}
	inquiry := 0.0
	for i, act := range acts {
		slices.Sort(took[i])
		median := float64(took[i][len(took[i])/2])
		b.ReportMetric(median/1e3, act.name+"-µs")
		if i == 0 {
			inquiry = median
		} else {
			b.ReportMetric(median/inquiry, act.name+"/inquiry")
		}
	}
	b.ReportMetric(float64(bytes), "first-page-bytes")
	b.ReportMetric(0, "ns/op")
}
