package vault

import (
	"testing"
	"time"

	"example.com/atm"
)

func TestAuthorizeSetsMoneyAside(t *testing.T) {
	w := world{accounts: []Account{mine("100", 1000)}}
	s, b := w.decide(t, Authorize{Party: demo, Account: "100", Amount: 400, Life: time.Minute})
	a := b.Account("100")
	if s.Result != "h50" || a.Balance != 1000 || a.Available(noon) != 600 ||
		a.Available(noon.Add(time.Minute)) != 1000 {
		t.Errorf("%+v: %+v", s, a)
	}
	for name, tt := range map[string]struct {
		account Account
		code    atm.Code
	}{
		"too little": {mine("100", 399), atm.InsufficientFunds},
		"frozen":     {with(mine("100", 1000), frozen), atm.AccountFrozen},
		"another's":  {Account{Name: "100", Version: 1, Balance: 1000}, atm.AccountNotFound},
		"too many holds": {with(mine("100", 1000), func(a *Account) {
			a.Pending = make([]Pending, maxPending)
			for i := range a.Pending {
				a.Pending[i] = Pending{ID: HoldID(i + 1), Expires: noon.Add(time.Hour)}
			}
		}), atm.LimitDailyCount},
	} {
		if s, _ := (world{accounts: []Account{tt.account}}).decide(t, Authorize{
			Party:   demo,
			Account: "100", Amount: 400, Life: time.Minute,
		}); s.Code != tt.code {
			t.Errorf("%s: %s %s", name, s.Code, s.Reason)
		}
	}
}

func TestHoldIsCapturedOrReleasedOnce(t *testing.T) {
	pending := with(mine("100", 1000), func(a *Account) {
		a.Pending = []Pending{{ID: 7, Amount: 400, Expires: noon.Add(time.Second)}}
	})
	expired := with(pending, func(a *Account) {
		a.Pending = []Pending{{ID: 7, Amount: 400, Expires: noon}}
	})
	hold := func(s HoldState) []Hold {
		return []Hold{{ID: 7, Account: "100", Amount: 400, State: s}}
	}
	capture := func(n atm.Amount) Rule {
		return Capture{Party: demo, Hold: 7, Amount: n, Cash: till}
	}
	release := Release{Party: demo, Hold: 7}
	eve := Party{Owner: "user:eve"}
	for _, tt := range []struct {
		name    string
		account Account
		holds   []Hold
		rule    Rule
		code    atm.Code
		balance atm.Amount
	}{
		{"all of it", pending, hold(HoldPending), capture(0), atm.OK, 600},
		{"a part", pending, hold(HoldPending), capture(150), atm.OK, 850},
		{"too much", pending, hold(HoldPending), capture(401), atm.HoldAmountExceeded, 1000},
		{"release", pending, hold(HoldPending), release, atm.OK, 1000},
		{"captured before", pending, hold(HoldCaptured), capture(0), atm.HoldNotPending, 1000},
		{"released before", pending, hold(HoldReleased), release, atm.HoldNotPending, 1000},
		{"expired", expired, hold(HoldPending), capture(0), atm.HoldExpired, 1000},
		{
			"money that left when it had expired, before the clock went back",
			with(pending, func(a *Account) { a.Balance = 399 }), hold(HoldPending), capture(0),
			atm.HoldExpired, 399,
		},
		{
			"gone from the account", mine("100", 1000), hold(HoldPending), release,
			atm.HoldExpired, 1000,
		},
		{"no hold", pending, nil, capture(0), atm.HoldNotFound, 1000},
		{
			"another's", pending, hold(HoldPending),
			Release{Party: eve, Hold: 7},
			atm.HoldNotFound, 1000,
		},
		{"frozen", with(pending, frozen), hold(HoldPending), capture(0), atm.AccountFrozen, 1000},
		{"frozen, released", with(pending, frozen), hold(HoldPending), release, atm.OK, 1000},
	} {
		s, b := world{accounts: []Account{tt.account}, holds: tt.holds}.decide(t, tt.rule)
		balance := tt.account.Balance
		if a := b.accounts.Peek("100"); a != nil {
			balance = a.Balance
		}
		if s.Code != tt.code || balance != tt.balance {
			t.Errorf("%s: %s %s, and %s are left", tt.name, s.Code, s.Reason, balance)
		}
		if h, _ := b.Hold(7); s.Code == atm.OK && h.State == HoldPending {
			t.Errorf("%s: the hold is pending still", tt.name)
		}
	}
}
