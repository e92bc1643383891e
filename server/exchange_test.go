package server

import (
	"encoding/json"
	"testing"

	"example.com/atm/auth"
)

// FuzzDetails reads details that a stranger wrote: what is taken is one grant,
// and means the same when it is written again.
func FuzzDetails(f *testing.F) {
	f.Add(`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"20.00"}]`)
	f.Add(`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"20.00"}]x`)
	f.Add(`[{"TYPE":"atm_grant","accounts":null,"actions":[""],"cap":"1"},{}]`)
	f.Fuzz(func(t *testing.T, text string) {
		d, ok := parseDetails(text)
		if !ok {
			return
		}
		if d.Type != auth.GrantType || len(d.Accounts) == 0 || len(d.Actions) == 0 || d.Cap == "" {
			t.Errorf("%q was taken", text)
		}
		again, err := json.Marshal([]*details{d})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := parseDetails(string(again)); !ok {
			t.Errorf("%s was not taken", again)
		}
	})
}
