//go:build unix

package daemon_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/cmd/internal/daemontest"
)

// TestExchangedTokenHasNoMoreThanItsGrant has a service exchange a customer's token for a
// grant, and then attempt operations that the grant does not allow.
func TestExchangedTokenHasNoMoreThanItsGrant(t *testing.T) {
	h := daemontest.Start(t, nil)
	operator := h.As(t, "operator")
	daemontest.WithAlice(t, h)
	daemontest.Must(t)(operator.Call(t.Context(), "admin.user.add", "service:billing", "service"))
	billing := h.Issue(t, "service:billing")
	c := daemontest.HTTPClient(t, billing)
	tokenFor := func(subject, scope string) string {
		t.Helper()
		record, _ := daemontest.Must(t)(operator.Call(t.Context(), "admin.token.issue",
			subject, scope,
			"600")).Result.(map[string]any)
		text, _ := record["token"].(string)
		return text
	}
	const details = `[{"type":"atm_grant","accounts":["200"],"actions":["withdraw"],"cap":"20.00"}]`
	form := func(change func(url.Values)) url.Values {
		v := url.Values{
			"grant_type":            {"urn:ietf:params:oauth:grant-type:token-exchange"},
			"subject_token":         {tokenFor("user:alice", "inquiry withdraw")},
			"subject_token_type":    {"urn:ietf:params:oauth:token-type:access_token"},
			"authorization_details": {details},
		}
		if change != nil {
			change(v)
		}
		return v
	}
	resp, answer := h.Token(t, c, form(nil), nil)
	grant, _ := answer["access_token"].(string)
	if resp.StatusCode != 200 || grant == "" ||
		answer["issued_token_type"] != "urn:ietf:params:oauth:token-type:access_token" ||
		answer["expires_in"] != 300.0 {
		t.Fatalf("%s %v", resp.Status, answer)
	}
	with := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+grant) }
	for _, tt := range []struct{ method, account, amount, want string }{
		{"withdraw", "200", "15", "<string>OK<"},
		{"withdraw", "200", "6", "GRANT_EXCEEDED"},
		{"withdraw", "100", "1", "PERMISSION_DENIED"},
		{"deposit", "200", "1", "PERMISSION_DENIED"},
	} {
		if _, text := h.Post(t, c, daemontest.Call(tt.method, tt.account, tt.amount),
			with); !strings.Contains(text, tt.want) {
			t.Errorf("%+v: %s", tt, text)
		}
	}
	// A grant expires no later than the token that it was exchanged for.
	if _, answer := h.Token(t, c, form(func(v url.Values) {
		v.Set("seconds", "3600")
	}), nil); answer["expires_in"].(float64) > 600 {
		t.Errorf("%v", answer)
	}
	set := func(name, value string) func(url.Values) {
		return func(v url.Values) { v.Set(name, value) }
	}
	for name, tt := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"no token": {set("subject_token", ""), "invalid_request"},
		"another kind of token": {set("subject_token_type",
			"urn:ietf:params:oauth:token-type:id_token"), "invalid_request"},
		"another kind asked for": {set("requested_token_type",
			"urn:ietf:params:oauth:token-type:refresh_token"), "invalid_request"},
		"an actor's token":     {set("actor_token", "x"), "invalid_request"},
		"a life that is none":  {set("seconds", "-1"), "invalid_request"},
		"a token that is none": {set("subject_token", "x.y.z"), "invalid_request"},
		"a token of the grant": {set("subject_token", grant), "invalid_request"},
		"one's own token": {
			set("subject_token", tokenFor("service:billing", "*")),
			"invalid_request",
		},
		"another's account": {set("authorization_details", strings.Replace(details, "200",
			"100", 1)), "invalid_grant"},
		"out of scope": {set("authorization_details",
			strings.Replace(details, "withdraw", "deposit", 1)), "invalid_scope"},
		"no details": {
			set("authorization_details", ""),
			"invalid_authorization_details",
		},
		"two grants": {set("authorization_details", strings.Replace(details, "}]",
			"},{}]", 1)), "invalid_authorization_details"},
		"another type": {set("authorization_details",
			strings.Replace(details, "atm_grant", "payment", 1)), "invalid_authorization_details"},
		"another's account as well": {set("authorization_details", strings.Replace(details, `"200"`,
			`"200","100"`, 1)), "invalid_grant"},
		"an account that is none": {set("authorization_details", strings.Replace(details, `"200"`,
			`"200","x"`, 1)), "invalid_authorization_details"},
		"an unknown member": {set("authorization_details", strings.Replace(details, `"cap"`,
			`"x":1,"cap"`, 1)), "invalid_authorization_details"},
		"more behind the details": {
			set("authorization_details", details+"[]"),
			"invalid_authorization_details",
		},
		"a cap that is none": {set("authorization_details", strings.Replace(details, "20.00",
			"lots", 1)), "invalid_grant"},
		"a cap of nothing": {set("authorization_details", strings.Replace(details, "20.00",
			"0", 1)), "invalid_grant"},
		"details that are no array": {
			set("authorization_details", details[1:len(details)-1]),
			"invalid_authorization_details",
		},
	} {
		resp, answer := h.Token(t, c, form(tt.change), nil)
		if resp.StatusCode != http.StatusBadRequest || answer["error"] != tt.want {
			t.Errorf("%s: %s %v, want %s", name, resp.Status, answer, tt.want)
		}
	}
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	if resp, _ := h.Token(t, daemontest.HTTPClient(t, nobody), form(nil),
		nil); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("nobody: %s", resp.Status)
	}
	// The grant was made by the owner of the token, with that token.
	if n := daemontest.Count(h.Entries(t), func(e *audit.Entry) bool {
		return e.Operation == "admin.grant.create" && e.Caller.Subject == "user:alice" &&
			e.Caller.Method == "jwt" && e.Status.Code == "OK"
	}); n != 2 {
		t.Errorf("%d grants", n)
	}
}
