package server

import (
	"encoding/json"
	"testing"

	"example.com/atm"
)

// FuzzNotice reads bytes as the body of a webhook. What is read is also what another reader of JSON
// finds in it, so nobody can show a notice to a filter that this server reads in another way.
func FuzzNotice(f *testing.F) {
	for _, body := range []string{
		`{"account": 100, "text": "x"}`, `{"text": "\u00e9", "account": "200"}`, `{}`, `[]`, `null`, ``,
		`{"account": 1, "account": 2, "text": "x"}`, `{"Account": 1, "text": "x"}`,
		`{"account": 1e2, "text": "x"}`, `{"account": 1, "text": "x"} {}`, `{"account": {}, "text": []}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := parseNotice(body)
		if err != nil {
			return
		}
		var other map[string]any
		if err := json.Unmarshal(body, &other); err != nil {
			t.Fatalf("%q was read: %v", body, err)
		}
		account, _ := json.Marshal(other["account"])
		want := string(account)
		if n.Account.Kind == atm.String {
			want = other["account"].(string)
		}
		if len(other) != 2 || other["text"] != any(n.Text) || !isDigits(n.Account.Text) ||
			len(n.Account.Text) < 15 && n.Account.Text != want {
			t.Errorf("%q is %+v here, and %v there", body, n, other)
		}
	})
}
