package auth_test

import (
	"encoding/json"
	"testing"

	"example.com/atm/auth"
)

func TestDetailsAskForAGrantInOneForm(t *testing.T) {
	const good = `[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"20.00"}]`
	if d, ok := auth.ParseDetails(good); !ok || d.Cap != "20.00" || d.Accounts[0] != "200" ||
		d.Actions[0] != "withdraw" {
		t.Fatalf("%+v, %t", d, ok)
	}
	for _, bad := range []string{
		``, `[]`, `{}`, `[{}]`, `[null]`, good + `x`, good + good,
		`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"20.00"},{}]`,
		`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"1","cap":"20.00"}]`,
		`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"CAP":"20.00"}]`,
		`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":20}]`,
		`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":null}]`,
		`[{"type":"atm_grant","accounts":["200",null],"actions":["withdraw"],"cap":"1"}]`,
		`[{"type":"atm_grant","accounts":["200 300"],"actions":["withdraw"],"cap":"1"}]`,
		`[{"type":"atm_grant","accounts":[],"actions":["withdraw"],"cap":"1"}]`,
		`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw deposit"],"cap":"1"}]`,
		`[{"type":"atm_grant","accounts":["200"],"actions":["sudo"],"cap":"1"}]`,
		`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"1","x":1}]`,
		`[{"type":"payment","accounts":["200"],"actions":["withdraw"],"cap":"1"}]`,
	} {
		if d, ok := auth.ParseDetails(bad); ok {
			t.Errorf("%s: %+v", bad, d)
		}
	}
}

// FuzzDetails parses details of strangers. Accepted details mean the same when they are written
// and parsed again.
func FuzzDetails(f *testing.F) {
	f.Add(`[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"20.00"}]`)
	f.Add(`[{"TYPE":"atm_grant","accounts":null,"actions":[""],"cap":"1"},{}]`)
	f.Fuzz(func(t *testing.T, text string) {
		d, ok := auth.ParseDetails(text)
		if !ok {
			return
		}
		again, err := json.Marshal([]*auth.Details{d})
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := auth.ParseDetails(string(again)); !ok {
			t.Errorf("%s was not taken", again)
		}
	})
}
