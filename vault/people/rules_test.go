package people

import (
	"slices"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault/record"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// booksOf are the books at noon of a rule that asks for what it needs.
func booksOf(t *testing.T, ask func(*Keys), users []User, revoked []Revocation) *Books {
	t.Helper()
	var l Loaded
	l.Users.Found = make(map[string]*User)
	for _, u := range users {
		l.Users.Found[u.Subject] = &u
	}
	l.Revocations.Found = make(map[string]*Revocation)
	for _, r := range revoked {
		l.Revocations.Found[r.Name] = &r
	}
	keys := new(Keys)
	ask(keys)
	b, _ := NewBooks(&record.Tx{Now: noon}, keys, l, new(Records))
	t.Cleanup(func() {
		if err := b.Failed(); err != nil {
			t.Error(err)
		}
	})
	return b
}

var (
	eve      = User{Subject: "user:eve", Roles: []atm.Role{atm.Customer}}
	disabled = User{Subject: "user:eve", Roles: []atm.Role{atm.Customer}, Disabled: true}
	operator = User{Subject: "user:eve", Roles: []atm.Role{atm.Operator}}
	other    = User{Subject: "user:bob", Roles: []atm.Role{atm.Operator}}
)

func TestRuleAboutPeopleAnswersEachCase(t *testing.T) {
	earlier, later := noon.Add(-time.Hour), noon.Add(-time.Minute)
	all := []Revocation{{ofSubject("user:eve"), earlier}}
	teller := []atm.Role{atm.Teller}
	enrol := Enrol{Subject: "user:eve", Default: atm.Customer}
	invited := func(roles []atm.Role, issued time.Time, known bool) Rule {
		return Invited{
			Enrol: Enrol{Subject: "user:eve", Roles: roles}, ID: "i", Issued: issued,
			Known: known,
		}
	}
	demote := Enrol{Subject: "user:eve", Roles: teller}
	for _, tt := range []struct {
		name    string
		users   []User
		revoked []Revocation
		rule    Rule
		code    atm.Code
	}{
		{"a newcomer", nil, nil, enrol, atm.OK},
		{
			"expected to be new",
			[]User{eve},
			nil,
			Enrol{Subject: "user:eve", Expect: ExpectNew},
			atm.AccountExists,
		},
		{
			"expected to be known", nil, nil,
			Enrol{Subject: "user:eve", Expect: ExpectKnown},
			atm.AccountNotFound,
		},
		{"invited", nil, nil, invited(teller, later, false), atm.OK},
		{
			"invited, and disabled",
			[]User{disabled},
			nil, invited(nil, later, true),
			atm.PermissionDenied,
		},
		{
			"invited before all was revoked",
			[]User{eve},
			all, invited(nil, earlier, true),
			atm.PermissionDenied,
		},
		{"invited after all was revoked", []User{eve}, all, invited(nil, later, true), atm.OK},
		{
			"invitation revoked", nil,
			[]Revocation{{TokenRevocation("", "i"), earlier}},
			invited(nil, later, false), atm.PermissionDenied,
		},
		{
			"known since the invitation",
			[]User{eve},
			nil, invited(teller, later, false),
			atm.PermissionDenied,
		},
		{"roles set since the invitation", []User{eve}, []Revocation{{
			RolesRevocation("user:eve"),
			later,
		}}, invited(teller, earlier, true), atm.PermissionDenied},
		{"renewed", []User{eve}, nil, Renewed{Enrol: enrol, Serial: "1", Issued: later}, atm.OK},
		{
			"renewed, certificate revoked",
			[]User{eve},
			[]Revocation{{CertRevocation("1"), later}},
			Renewed{Enrol: enrol, Serial: "1", Issued: later},
			atm.PermissionDenied,
		},
		{"renewed, and disabled", []User{disabled}, nil, Renewed{
			Enrol: enrol, Serial: "1",
			Issued: later,
		}, atm.PermissionDenied},
		{
			"renewed by nobody", nil, nil,
			Renewed{Enrol: enrol, Serial: "1", Issued: later},
			atm.PermissionDenied,
		},
		{"revoke nobody", nil, nil, RevokeSubject{Subject: "user:eve"}, atm.AccountNotFound},
		{
			"revoke somebody invited", nil, nil,
			RevokeSubject{Subject: "user:eve", Invited: true},
			atm.OK,
		},
		{
			"disable nobody", nil, nil,
			SetDisabled{Subject: "user:eve", Disabled: true},
			atm.AccountNotFound,
		},
		{"show nobody", nil, nil, ShowUser{Subject: "user:eve"}, atm.AccountNotFound},
		{"demote the last operator", []User{operator}, nil, KeepsOperator{
			Demoting: demote,
			Others:   []string{"user:eve", "user:bob"},
		}, atm.PermissionDenied},
		{
			"disable the last operator",
			[]User{operator},
			nil,
			KeepsOperator{Demoting: SetDisabled{"user:eve", true}},
			atm.PermissionDenied,
		},
		{"demote one of two", []User{operator, other}, nil, KeepsOperator{
			Demoting: demote,
			Others:   []string{"user:bob"},
		}, atm.OK},
	} {
		b := booksOf(t, tt.rule.Keys, tt.users, tt.revoked)
		if s := tt.rule.Decide(b); s.Code != tt.code || s.Code != atm.OK && b.Wrote() {
			t.Errorf("%s: %s %s, wrote %t", tt.name, s.Code, s.Reason, b.Wrote())
		}
	}
}

func TestSettingRolesRevokesInvitationsOfBefore(t *testing.T) {
	r := Enrol{Subject: "user:eve", Roles: []atm.Role{atm.Teller, atm.Auditor, atm.Teller}}
	b := booksOf(t, func(k *Keys) {
		r.Keys(k)
		k.Revocations = append(k.Revocations, RolesRevocation("user:eve"))
	}, []User{eve}, nil)
	r.Decide(b)
	u, _ := b.User("user:eve")
	at, set := b.Revoked(RolesRevocation("user:eve"))
	if !slices.Equal(u.Roles, []atm.Role{atm.Auditor, atm.Teller}) || !set || !at.Equal(noon) {
		t.Errorf("%+v, revoked %v %t", u, at, set)
	}
}

func TestWarrantIsUntrueOfWhatWasTakenBack(t *testing.T) {
	earlier, later := noon.Add(-time.Hour), noon.Add(-time.Minute)
	hashed := User{Subject: "user:eve", HA1: []byte("ha1")}
	for _, tt := range []struct {
		name    string
		users   []User
		revoked []Revocation
		w       Warrant
		refused bool
	}{
		{"known", []User{eve}, nil, Warrant{}, false},
		{"unknown", nil, nil, Warrant{}, true},
		{"a stranger", nil, nil, Warrant{Named: true, Stranger: true}, false},
		{"disabled", []User{disabled}, nil, Warrant{}, true},
		{
			"revoked",
			[]User{eve},
			[]Revocation{{"jti:1", later}},
			Warrant{Revocation: "jti:1"},
			true,
		},
		{
			"from before all was revoked",
			[]User{eve},
			[]Revocation{{ofSubject("user:eve"), later}},
			Warrant{Issued: earlier},
			true,
		},
		{
			"from after all was revoked",
			[]User{eve},
			[]Revocation{{ofSubject("user:eve"), earlier}},
			Warrant{Issued: later},
			false,
		},
		{"the password", []User{hashed}, nil, Warrant{Verifier: VerifierOf(hashed.HA1)}, false},
		{
			"another password",
			[]User{hashed},
			nil,
			Warrant{Verifier: VerifierOf([]byte("old"))},
			true,
		},
		{"roles", []User{eve}, nil, Warrant{Permits: func([]atm.Role) bool { return false }}, true},
	} {
		tt.w.Subject = "user:eve"
		b := booksOf(t, tt.w.Keys, tt.users, tt.revoked)
		if s, refused := tt.w.Refused(b); refused != tt.refused {
			t.Errorf("%s: refused %t: %s", tt.name, refused, s.Reason)
		}
	}
}
