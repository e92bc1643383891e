//go:build unix

package daemon_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"example.com/atm/audit/export"
	"example.com/atm/cmd/internal/daemontest"
)

// TestLogIsExportedInTheFormsOfAtmctl saves what a filter finds, in each form, the oldest entry
// first.
func TestLogIsExportedInTheFormsOfAtmctl(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	client := h.As(t, "demo")
	for range 600 { // more than one page
		daemontest.Must(t)(client.Call(t.Context(), "inquiry", 100))
	}
	otto := visitorWith(t, h, "user:otto", "auditor")
	for _, form := range export.Forms {
		text := otto.see(http.StatusOK,
			"/console/log/export?operation=inquiry&who=user:demo&form="+form)
		want := 600
		if form == "csv" {
			want++ // the names of the columns
		}
		if got := strings.Count(text, "\n"); got != want {
			t.Errorf("%s has %d lines, want %d:\n%.300s", form, got, want, text)
		}
	}
	last := int64(-1)
	lines := otto.see(http.StatusOK, "/console/log/export?who=user:demo&form=jsonl")
	for line := range strings.Lines(lines) {
		var row struct {
			Index int64           `json:"index"`
			Entry json.RawMessage `json:"entry"`
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil || row.Index <= last {
			t.Fatalf("%s after entry %d: %v", line, last, err)
		}
		last = row.Index
	}
	for path, code := range map[string]int{
		"log/export?form=pdf": 422, "log/export": 422, "log/export?form=csv&since=soon": 422,
		"log/rows": 422, "log?since=24h&until=2100-01-01": 200, "log?since=soon": 422,
	} {
		otto.see(code, "/console/"+path)
	}
	demo := visitorAs(t, h, "demo")
	for _, path := range []string{"log/export?form=csv", "log/rows?after=0", "log/reconcile"} {
		shows(t, demo.see(http.StatusForbidden, "/console/"+path), "You may not do this.")
	}
}

// TestFilterOfTheLogIsItsURL gives each member of a filter: each is a chip that leads to the list
// without it, stands in the form, and in the command line. Markup in them stays text.
func TestFilterOfTheLogIsItsURL(t *testing.T) {
	t.Parallel()
	h := consoleServer(t)
	otto := visitorWith(t, h, "user:otto", "auditor")
	text := otto.see(http.StatusOK, "/console/log?account=100&who=%3Cb%3Ex%27&operation=deposit&"+
		"event=op&status=OK&code=OK&since=2026-01-01&until=2100-01-01")
	if strings.Contains(text, "<b>") {
		t.Errorf("the page shows markup:\n%s", text)
	}
	if got := strings.Count(text, `class="chip"`); got != 8 {
		t.Errorf("there are %d chips", got)
	}
	shows(t, text, "No entry fits.", `value="2026-01-01"`,
		`--who '<b>x'\''' --operation deposit --event op --status OK --code OK`,
		"?account=100&code=OK&event=op&operation=deposit&since=2026-01-01&status=OK&"+
			"until=2100-01-01")
}
