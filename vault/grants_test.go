package vault

import (
	"testing"
	"time"

	"example.com/atm"
)

func TestGrantBoundsWhatIsDoneUnderIt(t *testing.T) {
	grant := Grant{
		ID: "g", Grantor: "user:demo", Grantee: "service:shop", Accounts: []Name{"100"},
		Operations: []atm.Operation{atm.Withdraw, atm.Inquiry}, Cap: 500, Spent: 200,
		Expires: noon.Add(time.Second),
	}
	under := func(change func(*Grant)) []Grant {
		g := grant
		change(&g)
		return []Grant{g}
	}
	whole := []Grant{grant}
	withdraw := func(n atm.Amount) Granted {
		return Granted{
			Spender: Withdraw{Party: demo, Account: "100", Cash: till, Amount: n},
			Grant:   "g", Grantee: "service:shop", Operation: atm.Withdraw,
		}
	}
	stranger, transfer := withdraw(1), withdraw(1)
	stranger.Grantee, transfer.Operation = "service:other", atm.Transfer
	look := withdraw(0)
	look.Spender, look.Operation = Inquiry{Party: demo, Account: "100"}, atm.Inquiry
	for _, tt := range []struct {
		name   string
		grants []Grant
		rule   Granted
		code   atm.Code
		spent  atm.Amount
	}{
		{"what is left", whole, withdraw(300), atm.OK, 500},
		{"a cent too much", whole, withdraw(301), atm.GrantExceeded, 200},
		{"nothing spent", whole, look, atm.OK, 200},
		{"another grantee", whole, stranger, atm.PermissionDenied, 200},
		{"another operation", whole, transfer, atm.PermissionDenied, 200},
		{"another account", under(func(g *Grant) {
			g.Accounts = []Name{"200"}
		}), withdraw(1), atm.PermissionDenied, 200},
		{"over", under(func(g *Grant) {
			g.Expires = noon
		}), withdraw(1), atm.PermissionDenied, 200},
		{"no grant", nil, withdraw(1), atm.PermissionDenied, 0},
		{"refused itself", under(func(g *Grant) {
			g.Cap = 99999
		}), withdraw(5000), atm.InsufficientFunds, 200},
	} {
		w := world{accounts: []Account{mine("100", 1000)}, grants: tt.grants}
		s, b := w.decide(t, tt.rule)
		if g, _ := b.Grant("g"); s.Code != tt.code || g.Spent != tt.spent {
			t.Errorf("%s: %s %s, spent %s", tt.name, s.Code, s.Reason, g.Spent)
		}
	}
}

func TestGrantIsOfAccountsThatItsGiverReaches(t *testing.T) {
	create := func(accounts ...Name) CreateGrant {
		return CreateGrant{Party: demo, Grant: Grant{ID: "g", Accounts: accounts, Cap: 5}}
	}
	w := world{accounts: []Account{mine("100", 0), with(mine("200", 0), frozen)}}
	for _, tt := range []struct {
		rule Rule
		code atm.Code
	}{
		{create("100"), atm.OK},
		{create("100", "300"), atm.AccountNotFound},
		{create("100", "200"), atm.AccountFrozen},
	} {
		s, b := w.decide(t, tt.rule)
		if g, made := b.Grant("g"); s.Code != tt.code || made != (tt.code == atm.OK) {
			t.Errorf("%+v: %s, made %+v", tt.rule, s.Code, g)
		}
	}
}

func TestGrantIsRevokedByItsGiverAlone(t *testing.T) {
	w := world{grants: []Grant{{ID: "g", Grantor: "user:demo"}}}
	for owner, code := range map[string]atm.Code{
		"user:demo": atm.OK, "": atm.OK, "user:eve": atm.AccountNotFound,
	} {
		if s, _ := w.decide(t, RevokeGrant{Party{owner}, "g"}); s.Code != code {
			t.Errorf("%q: %s", owner, s.Code)
		}
	}
}
