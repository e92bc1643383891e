//go:build unix

package daemon_test

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemontest"
)

// TestReferencePagesSayWhatTheServerSays compares the pages about methods and metrics with the
// output of a server. With ATM_UPDATE=1 it writes the pages.
func TestReferencePagesSayWhatTheServerSays(t *testing.T) {
	daemontest.Single(t, "each replica counts what it did itself")
	h := daemontest.Start(t, nil)
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, "x"))
	operator := daemontest.HTTPClient(t, h.TLS(t, "operator"))
	ask := func(method string, args ...string) string {
		resp, text := h.Post(t, operator, daemontest.Call(method, args...), nil)
		if resp.StatusCode != 200 || strings.Contains(text, "<fault>") {
			t.Fatalf("%s: %s %s", method, resp.Status, text)
		}
		return text
	}
	values := regexp.MustCompile(`<string>([^<]*)</string>`)
	texts := func(text string) (list []string) {
		for _, found := range values.FindAllStringSubmatch(text, -1) {
			list = append(list, unescape.Replace(found[1]))
		}
		return list
	}

	var methods bytes.Buffer
	methods.WriteString("# Methods\n\nWhat `system.listMethods`, `system.methodSignature` and " +
		"`system.methodHelp` say. The first type of a signature is that of the\nanswer. " +
		"[protocol.md](../protocol.md) has the rest.\n")
	for _, name := range texts(ask("system.listMethods")) {
		fmt.Fprintf(&methods, "\n## %s\n\n", name)
		signature := ask("system.methodSignature", name)
		for one := range strings.SplitSeq(signature, "</array></value>") {
			if types := texts(one); len(types) > 0 {
				fmt.Fprintf(&methods, "    %s %s(%s)\n", types[0], name,
					strings.Join(types[1:], ", "))
			}
		}
		fmt.Fprintf(&methods, "\n%s\n",
			strings.TrimSpace(strings.Join(texts(ask("system.methodHelp", name)), " ")))
	}
	compare(t, "../../../docs/reference/methods.md", methods.Bytes())

	_, text := h.Get(t, "/metrics")
	var metrics bytes.Buffer
	metrics.WriteString("# Metrics\n\nWhat `/metrics` has, beside those of Go and of the " +
		"process.\n\n| metric | type | |\n|---|---|---|\n")
	types := make(map[string]string)
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (atm_\S+) (\S+)$`).FindAllStringSubmatch(
		text, -1) {
		types[found[1]] = found[2]
	}
	help := regexp.MustCompile(`(?m)^# HELP (atm_\S+) (.*)$`).FindAllStringSubmatch(text, -1)
	slices.SortFunc(help, func(a, b []string) int { return strings.Compare(a[1], b[1]) })
	for _, found := range help {
		fmt.Fprintf(&metrics, "| `%s` | %s | %s |\n", found[1], types[found[1]], found[2])
	}
	compare(t, "../../../docs/reference/metrics.md", metrics.Bytes())
}

var unescape = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&quot;", `"`, "&#34;", `"`, "&#39;",
	"'", "&amp;", "&")

// compare compares a page of the documentation with its expected content.
func compare(t *testing.T, file string, want []byte) {
	t.Helper()
	if os.Getenv("ATM_UPDATE") != "" {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(have, want) {
		t.Errorf("%s is old (%v): ATM_UPDATE=1 go test ./cmd/... -run "+
			"TestReferencePagesSayWhatTheServerSays writes it anew",
			file, err)
	}
}
