//go:build unix

package attack_test

import (
	"fmt"
	"html"
	"io"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemontest"
)

// attackMemos writes memos that would forge rows, turn text around, or be markup. The first two
// kinds are refused; markup is text, and looks like text wherever it is shown.
func (a *arena) attackMemos(t *testing.T) {
	var list []attack
	for name, memo := range map[string]string{
		"a row of its own":                 "rent\n2026-05-01T00:00:00Z  deposit  90000.00",
		"a column of its own":              "rent\t90000.00",
		"a next line":                      "rent\u0085deposit",
		"a line separator":                 "rent\u2028deposit",
		"a paragraph separator":            "rent\u2029deposit",
		"a C1 control":                     "\u009b2Jrent",
		"a delete":                         "rent\x7f",
		"an override from right to left":   "rent \u202e00.00009",
		"an embedding from right to left":  "rent \u202b00.00009",
		"an isolate from right to left":    "rent \u2067 00.00009",
		"an isolate that is ended":         "rent \u2069 00.00009",
		"a mark from right to left":        "rent \u200f 9",
		"an Arabic letter mark":            "rent \u061c 9",
		"141 characters":                   strings.Repeat("x", 141),
		"257 bytes":                        strings.Repeat("é", 128) + "x",
		"more than an entry may have":      strings.Repeat("x", 60_000),
		"a request id in front of its row": "\r\nIdempotency-Key: other",
	} {
		for _, call := range [][]string{
			{"withdraw", "300", "0.01", "", memo},
			{"transfer", "300", "200", "0.01", "", memo},
			{"deposit", "300", "0.01", "", memo},
			{"authorize", "300", "0.01", "", "", memo},
		} {
			list = append(list, attack{
				name: name + " in a " + call[0], by: a.mallory, want: 200,
				body: daemontest.Call(call[0], call[1:]...), says: "MEMO_INVALID",
			})
		}
	}
	list = append(list, attack{
		name: "a memo where there is none", by: a.mallory, want: 200, says: "-32602",
		body: daemontest.Call("release", "h1", "", "rent"),
	}, attack{
		name: "a memo of two kinds", by: a.mallory, want: 200, says: "-32602",
		body: "<methodCall><methodName>deposit</methodName><params><param><value>300</value>" +
			"</param><param><value>0.01</value></param><param><value/></param><param><value>" +
			"<struct/></value></param></params></methodCall>",
	}, attack{
		name: "a memo of a zero byte", by: a.mallory, want: 200, says: "-32700",
		body: daemontest.Call("deposit", "300", "0.01", "", "\x00"),
	})
	a.run(t, list)
	t.Run("markup", a.attackByMarkup)
}

// attackByMarkup moves a cent there and back with memos of markup, and reads them as they were
// written.
func (a *arena) attackByMarkup(t *testing.T) {
	memos := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `]]></string><!--`,
		`</string></value></member></struct></value><value><struct>`, `&lt;b&gt;&#60;b>`,
		`{{.}}${alert(1)}`, `=1+1`,
	}
	mallory := a.client(t, a.mallory)
	for i, memo := range memos {
		daemontest.Must(t)(mallory.Deposit(t.Context(), 300, 1, atm.RequestID(fmt.Sprint("in ", i)),
			client.Memo(memo)))
		daemontest.Must(t)(mallory.Withdraw(t.Context(), 300, 1,
			atm.RequestID(fmt.Sprint("out ", i)), client.Memo(memo)))
	}
	page, _ := daemontest.Must(t)(mallory.Statement(t.Context(), 300,
		client.Range{Limit: 2 * len(memos)})).Result.(map[string]any)
	rows, _ := page["entries"].([]any)
	if len(rows) != 2*len(memos) {
		t.Fatalf("the statement has %d rows", len(rows))
	}
	for i, row := range rows {
		r, _ := row.(map[string]any)
		if want := memos[len(memos)-1-i/2]; r["memo"] != want || len(r) != 9 {
			t.Errorf("row %d is %v, and its memo was %q", i, r, want)
		}
	}
	for _, path := range []string{"/console/accounts/300", "/console/accounts/300/statement"} {
		resp, err := mallory.HTTP().Get(mallory.Base() + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 {
			t.Fatalf("%s: %d, %v", path, resp.StatusCode, err)
		}
		if !strings.Contains(html.UnescapeString(string(text)), memos[3]) {
			t.Errorf("%s does not show the memos", path)
		}
		for _, memo := range memos[:4] {
			if strings.Contains(string(text), memo) {
				t.Errorf("%s has the markup %s", path, memo)
			}
		}
	}
}
