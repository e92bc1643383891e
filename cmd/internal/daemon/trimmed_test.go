//go:build unix

package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/documents"
)

// TestTrimmedServerSaysSinceWhenItHasEntries asks a server that archives for what its journal does
// not have any more. An entry comes from the archive; lists and statements say since when they are
// complete, and a subscription cannot begin before.
func TestTrimmedServerSaysSinceWhenItHasEntries(t *testing.T) {
	daemontest.Once(t)
	away := filepath.Join(t.TempDir(), "archive")
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), quickly(away))
	_, receipts := deposits(t, h, begins(t, h, 256))
	first, _, _ := strings.Cut(receipts[0], " ")
	demo := h.As(t, "demo")
	const all = "2020-01-01T00:00:00Z"

	page := daemontest.Must(t)(demo.Statement(t.Context(), daemontest.Account, client.Range{
		From: all,
	}))
	record, _ := page.Result.(map[string]any)
	since, _ := record["since"].(string)
	if _, err := atm.ParseTime(since); err != nil {
		t.Fatalf("the statement is since %q", since)
	}
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339) // what is kept goes on changing
	if a := daemontest.Must(t)(demo.Statement(t.Context(), daemontest.Account, client.Range{
		From: later,
	})); a.Result.(map[string]any)["since"] != nil {
		t.Errorf("a statement from later: %v", a.Result)
	}
	for _, proved := range []bool{false, true} {
		_, err := documents.Fetch(t.Context(), demo, daemontest.Account, "", "", documents.CSV,
			proved)
		if err == nil || !strings.Contains(err.Error(), "has the movements since 20") {
			t.Errorf("a document of all movements: %v", err)
		}
		if _, err := documents.Fetch(t.Context(), demo, daemontest.Account, later, "",
			documents.CSV, proved); err != nil {
			t.Errorf("a document from later: %v", err)
		}
	}
	a, err := demo.Call(t.Context(), string(atm.FeedAdd), "mine", "https://example.com/",
		map[string]any{"account": "100", "from": first})
	if err != nil || a.Code != atm.CursorInvalid || !strings.Contains(a.Reason, "first one is") {
		t.Errorf("a subscription from before: %+v, %v", a, err)
	}
	a, err = demo.Call(t.Context(), string(atm.Reverse), first)
	if err != nil || a.Code != atm.NotReversible || !strings.Contains(a.Reason, "you were paid") {
		t.Errorf("a reversal of the first deposit: %+v, %v", a, err)
	}
	daemontest.Must(t)(demo.Call(t.Context(), string(atm.Receipt), first))
}
