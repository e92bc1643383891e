package auth_test

import (
	"crypto"
	"crypto/elliptic"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/auth"
	"github.com/golang-jwt/jwt/v5"
)

// withGroups is a rig whose provider lets groups act in roles. user:demo is a customer and a teller
// here.
func withGroups(t *testing.T) (*providerRig, func(groups any) (*atm.Caller, error)) {
	t.Helper()
	h := newProviderRig(t)
	key := ecKey(t, elliptic.P256())
	h.publish(t, map[string]crypto.Signer{"k": key})
	h.directory.Update(map[string]auth.Member{
		"user:demo": {Roles: []atm.Role{atm.Customer, atm.Teller}},
	})
	if err := h.issuers.Update([]auth.Issuer{h.issuer(func(i *auth.Issuer) {
		i.Groups = "groups"
		i.Roles = map[string][]atm.Role{
			"people": {atm.Customer}, "branch": {atm.Teller, atm.Customer}, "ops": {atm.Operator},
		}
	})}); err != nil {
		t.Fatal(err)
	}
	return h, func(groups any) (*atm.Caller, error) {
		return h.try(t, jwt.SigningMethodES256, key, map[string]any{"kid": "k"},
			h.claims(func(c jwt.MapClaims) {
				if c["groups"] = groups; groups == nil {
					delete(c, "groups")
				}
			}))
	}
}

func TestGroupsNarrowTheRolesThatSomebodyHas(t *testing.T) {
	_, try := withGroups(t)
	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprint("g", i)
	}
	for _, tt := range []struct {
		groups any
		want   []atm.Role
	}{
		{[]string{"people"}, []atm.Role{atm.Customer}},
		{"people", []atm.Role{atm.Customer}},
		{[]string{"branch"}, []atm.Role{atm.Customer, atm.Teller}},
		{[]string{"people", "branch", "people"}, []atm.Role{atm.Customer, atm.Teller}},
		{[]string{"people", "ops"}, []atm.Role{atm.Customer}}, // not an operator here
		{append(many, "people"), []atm.Role{atm.Customer}},
		{[]string{"ops"}, nil},
		{[]string{"People", "people ", "/people", "peoples", ""}, nil},
		{"people branch", nil},
		{[]string{}, nil},
		{nil, nil},
		{"", nil},
		{[]any{"people", 1}, nil},
		{[]any{[]string{"people"}}, nil},
		{map[string]any{"people": true}, nil},
		{map[string]any{"branch": []string{"people"}}, nil},
		{true, nil},
		{slices.Repeat([]string{"g"}, 1001), nil},
	} {
		caller, err := try(tt.groups)
		switch refused := (*auth.Error)(nil); {
		case tt.want == nil && !errors.As(err, &refused):
			t.Errorf("%v: %v, %v", tt.groups, caller, err)
		case tt.want != nil && (err != nil || !slices.Equal(caller.Roles, tt.want)):
			t.Errorf("%v: %+v, %v", tt.groups, caller, err)
		}
	}
}

// TestGroupGivesNoRoleThatSomebodyLost takes the role from a teller here, whatever the group says.
func TestGroupGivesNoRoleThatSomebodyLost(t *testing.T) {
	h, try := withGroups(t)
	h.directory.Update(map[string]auth.Member{"user:demo": {Roles: []atm.Role{atm.Auditor}}})
	if caller, err := try([]string{"people", "branch", "ops"}); !errors.Is(err, auth.ErrNoRole) {
		t.Errorf("%+v, %v", caller, err)
	}
}

func TestRolesOfGroupsAreWhole(t *testing.T) {
	h := newProviderRig(t)
	many := make(map[string][]atm.Role)
	for i := range 1001 {
		many[fmt.Sprint(i)] = []atm.Role{atm.Teller}
	}
	for name, bad := range map[string]func(*auth.Issuer){
		"roles of no claim": func(i *auth.Issuer) { i.Groups = "" },
		"a claim alone":     func(i *auth.Issuer) { i.Roles = nil },
		"a role of none":    func(i *auth.Issuer) { i.Roles["a"] = []atm.Role{"root"} },
		"a group of none":   func(i *auth.Issuer) { i.Roles["a"] = nil },
		"a nameless group":  func(i *auth.Issuer) { i.Roles[""] = []atm.Role{atm.Teller} },
		"a space too many":  func(i *auth.Issuer) { i.Roles["a "] = []atm.Role{atm.Teller} },
		"too many":          func(i *auth.Issuer) { i.Roles = many },
	} {
		if err := h.issuers.Update([]auth.Issuer{h.issuer(func(i *auth.Issuer) {
			i.Groups, i.Roles = "groups", map[string][]atm.Role{"branch": {atm.Teller}}
			bad(i)
		})}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestIDTokenIsGoodFromTheCommandLineAlone sends ID tokens of other clients of the provider.
func TestIDTokenIsGoodFromTheCommandLineAlone(t *testing.T) {
	h := newProviderRig(t)
	key := ecKey(t, elliptic.P256())
	h.publish(t, map[string]crypto.Signer{"k": key})
	use := func(c *auth.CommandLine) {
		t.Helper()
		if err := h.issuers.Update([]auth.Issuer{h.issuer(func(i *auth.Issuer) {
			i.CommandLine, i.Login = c, &auth.Login{ClientID: "atm-console"}
		})}); err != nil {
			t.Fatal(err)
		}
	}
	try := func(claims jwt.MapClaims) (*atm.Caller, error) {
		return h.try(t, jwt.SigningMethodES256, key, map[string]any{"kid": "k"},
			h.claims(func(c jwt.MapClaims) {
				delete(c, "jti")
				for name, value := range claims {
					c[name] = value
				}
			}))
	}
	use(&auth.CommandLine{ClientID: "atm-cli", Token: auth.IDToken})
	for _, tt := range []struct {
		name   string
		claims jwt.MapClaims
		good   bool
	}{
		{"its own", jwt.MapClaims{"aud": "atm-cli"}, true},
		{"its own, in a list", jwt.MapClaims{"aud": []string{"atm-cli"}, "azp": "atm-cli"}, true},
		{"of several, by it", jwt.MapClaims{"aud": []string{"x", "atm-cli"}, "azp": "atm-cli"}, true},
		{"of several", jwt.MapClaims{"aud": []string{"x", "atm-cli"}}, false},
		{"by another", jwt.MapClaims{"aud": "atm-cli", "azp": "x"}, false},
		{"by nobody", jwt.MapClaims{"aud": "atm-cli", "azp": ""}, false},
		{"of the console", jwt.MapClaims{"aud": "atm-console"}, false},
		{"of another client", jwt.MapClaims{"aud": "x", "azp": "atm-cli"}, false},
		{"an access token", jwt.MapClaims{"aud": "atm"}, true},
	} {
		if caller, err := try(tt.claims); (err == nil) != tt.good {
			t.Errorf("%s: %+v, %v", tt.name, caller, err)
		}
	}
	one, err := try(jwt.MapClaims{"aud": "atm-cli", "nonce": "1"})
	other, err2 := try(jwt.MapClaims{"aud": "atm-cli", "nonce": "2"})
	if err != nil || err2 != nil || !strings.HasPrefix(one.ID, "sha256:") || one.ID == other.ID ||
		!strings.HasSuffix(one.Revocation, one.ID) {
		t.Errorf("without an id they are %+v and %+v, %v, %v", one, other, err, err2)
	}
	use(&auth.CommandLine{ClientID: "atm-cli", Token: auth.AccessToken})
	if caller, err := try(jwt.MapClaims{"aud": "atm-cli"}); err == nil {
		t.Errorf("an ID token where access tokens are sent: %+v", caller)
	}
	for name, bad := range map[string]auth.CommandLine{
		"no client":        {Token: auth.IDToken},
		"no kind of token": {ClientID: "atm-cli", Token: "refresh"},
		"no openid":        {ClientID: "atm-cli", Token: auth.IDToken, Scope: []string{"email"}},
		"no URI":           {ClientID: "atm-cli", Token: auth.AccessToken, Resource: "atm"},
	} {
		if err := h.issuers.Update([]auth.Issuer{h.issuer(func(i *auth.Issuer) {
			i.CommandLine = &bad
		})}); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
