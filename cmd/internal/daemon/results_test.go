//go:build unix

package daemon_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/teller/methods"
)

// TestResultsAreAsTheyAreDescribed calls each method whose result the OpenAPI document describes
// field by field, and compares: no field is missing, more than described, or of another type.
func TestResultsAreAsTheyAreDescribed(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	operator, demo := daemontest.HTTPClient(t, h.TLS(t, "operator")), daemontest.HTTPClient(t, h.TLS(t, "demo"))
	tell := func(caller *http.Client, method, body string) any {
		t.Helper()
		resp, dict := h.PostJSON(t, caller, method, body, nil)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s %v", method, body, resp.Status, dict)
		}
		return dict["result"]
	}
	tell(operator, "admin.user.add", `{"subject":"service:gas","roles":"customer service"}`)
	gas := daemontest.HTTPClient(t, h.Issue(t, "service:gas"))
	tell(demo, "mandate.create", `{"account":100,"terms":{"creditor":"service:gas","total":80,"period":"month"}}`)
	tell(gas, "note", `{"account":100,"text":"The price changes."}`)
	tell(demo, "admin.grant.create", `{"account":100,"operations":"withdraw","cap":5,"to":"service:gas"}`)
	hold := tell(demo, "authorize", `{"account":100,"amount":5}`)
	described := make(map[atm.Operation]any)
	for _, m := range methods.All() {
		if m.Result != nil {
			described[m.Name] = m.Result
		}
	}
	look := func(caller *http.Client, method atm.Operation, body string) {
		t.Helper()
		compareShape(t, string(method), described[method], tell(caller, string(method), body))
		delete(described, method)
	}
	look(demo, atm.Whoami, `{}`)
	look(demo, atm.Statement, `{"account":100}`)
	look(demo, atm.MandateList, `{"account":100}`)
	look(demo, atm.Notices, `{"account":100}`)
	look(operator, atm.HoldShow, fmt.Sprintf(`{"hold":%q}`, hold))
	look(operator, atm.HoldList, `{}`)
	look(operator, atm.GrantList, `{}`)
	look(operator, atm.AccountOpen, `{"account":200,"owner":"user:demo"}`)
	order := tell(demo, "order.create",
		`{"account":100,"terms":{"to":200,"amount":25,"every":"month","on":1}}`)
	look(demo, atm.OrderList, `{"account":100}`)
	look(demo, atm.OrderShow, fmt.Sprintf(`{"order":%q}`, order))
	look(operator, atm.AccountShow, `{"account":200}`)
	look(operator, atm.AccountList, `{}`)
	look(operator, atm.AccountLimit, `{"account":200,"daily_count":10}`)
	look(operator, atm.AccountSet, `{"account":200,"owner":"user:demo"}`)
	look(operator, atm.AccountFreeze, `{"account":200}`)
	look(operator, atm.AccountUnfreeze, `{"account":200}`)
	look(operator, atm.AccountClose, `{"account":200}`)
	for method := range described {
		t.Errorf("%s is described and was not called", method)
	}
}

// compareShape compares a result with the example that describes it.
func compareShape(t *testing.T, where string, example, got any) {
	t.Helper()
	switch want := example.(type) {
	case atm.Record:
		fields, _ := got.(map[string]any)
		if len(fields) != len(want) {
			t.Errorf("%s has %v, and is described as %v", where, got, want)
		}
		for _, f := range want {
			if _, is := fields[f.Name]; !is {
				t.Errorf("%s has no %s: %v", where, f.Name, got)
				continue
			}
			compareShape(t, where+"."+f.Name, f.Value, fields[f.Name])
		}
	case []atm.Record:
		rows, _ := got.([]any)
		if len(rows) == 0 {
			t.Errorf("%s is %v: nothing to compare", where, got)
		}
		for _, row := range rows {
			compareShape(t, where, want[0], row)
		}
	case []any:
		var types []string
		for _, one := range want {
			types = append(types, typeOf(one))
		}
		if !strings.Contains(strings.Join(types, " "), typeOf(got)) {
			t.Errorf("%s is %v, none of %v", where, got, types)
		}
	default:
		if typeOf(got) != typeOf(example) {
			t.Errorf("%s is %v, and described as %v", where, got, example)
		}
	}
}

// typeOf is the type of a value in JSON.
func typeOf(v any) string {
	switch v := v.(type) {
	case int64, float64:
		return "number"
	case []string, []any:
		return "array"
	default:
		return fmt.Sprintf("%T", v)
	}
}
