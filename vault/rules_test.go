package vault

import (
	"math"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault/zone"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A world is what a store has when a rule is decided.
type world struct {
	accounts []Account
	holds    []Hold
	grants   []Grant
}

// decide decides a rule at noon, and returns the answer and the books after it. A rule that
// forgot a key, or moves what it must not, fails the test, and so do changes of balances that
// do not sum to zero.
func (w world) decide(t *testing.T, rule Rule) (atm.Status, *Books) {
	t.Helper()
	var l Loaded
	l.Accounts.Found = make(map[Name]*Account)
	for _, a := range w.accounts {
		l.Accounts.Found[a.Name] = &a
	}
	l.Holds.Found = make(map[HoldID]*Hold)
	for _, h := range w.holds {
		l.Holds.Found[h.ID] = &h
	}
	l.Grants.Found = make(map[string]*Grant)
	for _, g := range w.grants {
		l.Grants.Found[g.ID] = &g
	}
	b := NewBooks(Keys{}, l)
	b.Now, b.Head.Size = noon, 50
	b.begin(rule.Keys)
	status := rule.Decide(b)
	if err := b.Failed(); err != nil {
		t.Fatalf("%T: %v", rule, err)
	}
	if b.tally.moved != 0 {
		t.Errorf("%T makes %s out of nothing", rule, b.tally.moved)
	}
	if status.Code != atm.OK && b.Wrote() {
		t.Errorf("%T is refused and changes %v", rule, b.effect.touched)
	}
	return status, b
}

// mine is an account of user:demo with a balance.
func mine(n Name, balance atm.Amount) Account {
	return Account{Name: n, Owner: "user:demo", Version: 3, Balance: balance}
}

func with(a Account, change func(*Account)) Account {
	change(&a)
	return a
}

var demo = Party{Owner: "user:demo"}

const till Name = "cash:user:demo"

// A ruleCase is a rule and what it answers.
type ruleCase struct {
	name   string
	world  []Account
	rule   Rule
	code   atm.Code
	result any // of an answer that is OK
}

func testRules(t *testing.T, cases []ruleCase) {
	t.Helper()
	for _, tt := range cases {
		status, _ := world{accounts: tt.world}.decide(t, tt.rule)
		if status.Code != tt.code || tt.code == atm.OK && status.Result != tt.result {
			t.Errorf("%s: %s %q %v, want %s %v", tt.name, status.Code, status.Reason, status.Result,
				tt.code, tt.result)
		}
	}
}

func frozen(a *Account) { a.Standing = Frozen }
func closed(a *Account) { a.Standing = Closed }

func TestDepositAnswersEachCase(t *testing.T) {
	put := Deposit{Party: demo, Account: "100", Cash: till, Amount: 250, Tell: true}
	silent, anybody := put, put
	silent.Tell, anybody.Party = false, Party{}
	testRules(t, []ruleCase{
		{"an account", []Account{mine("100", 1000)}, put, atm.OK, "12.50"},
		{"without the balance", []Account{mine("100", 1000)}, silent, atm.OK, ""},
		{"no account", nil, put, atm.AccountNotFound, nil},
		{
			"another's",
			[]Account{{Name: "100", Owner: "user:eve", Version: 1}},
			put,
			atm.AccountNotFound, nil,
		},
		{
			"another's, for a teller",
			[]Account{{Name: "100", Owner: "user:eve", Version: 1}},
			anybody, atm.OK, "2.50",
		},
		{"frozen", []Account{with(mine("100", 1000), frozen)}, put, atm.AccountFrozen, nil},
		{"closed", []Account{with(mine("100", 0), closed)}, put, atm.AccountClosed, nil},
		{"full", []Account{mine("100", atm.MaxBalance-249)}, put, atm.BalanceTooLarge, nil},
		{"just full", []Account{mine("100", 0)}, Deposit{
			Party: demo, Account: "100", Cash: till,
			Amount: atm.MaxBalance,
		}, atm.OK, ""},
		{"no more cash", []Account{mine("100", 0), {Name: till, Version: 1, Balance: math.MinInt64 +
			249}}, put, atm.BalanceTooLarge, nil},
	})
}

func TestWithdrawAnswersEachCase(t *testing.T) {
	take := Withdraw{Party: demo, Account: "100", Cash: till, Amount: 250, Tell: true}
	held := func(expires time.Time) func(*Account) {
		return func(a *Account) { a.Pending = []Pending{{ID: 7, Amount: 800, Expires: expires}} }
	}
	testRules(t, []ruleCase{
		{"an account", []Account{mine("100", 1000)}, take, atm.OK, "7.50"},
		{"all of it", []Account{mine("100", 250)}, take, atm.OK, "0.00"},
		{"a cent too much", []Account{mine("100", 249)}, take, atm.InsufficientFunds, nil},
		{
			"what is held",
			[]Account{with(mine("100", 1000), held(noon.Add(time.Second)))},
			take,
			atm.InsufficientFunds, nil,
		},
		{"what was held", []Account{with(mine("100", 1000), held(noon))}, take, atm.OK, "7.50"},
		{"no account", nil, take, atm.AccountNotFound, nil},
		{"frozen", []Account{with(mine("100", 1000), frozen)}, take, atm.AccountFrozen, nil},
		{"closed", []Account{with(mine("100", 0), closed)}, take, atm.AccountClosed, nil},
		{"too much cash", []Account{mine("100", 1000), {
			Name: till, Version: 1,
			Balance: math.MaxInt64 - 249,
		}}, take, atm.BalanceTooLarge, nil},
	})
}

func TestTransferAnswersEachCase(t *testing.T) {
	give := Transfer{Party: demo, From: "100", To: "200", Amount: 250, Tell: true}
	eve := Account{Name: "200", Owner: "user:eve", Version: 1, Balance: 5}
	testRules(t, []ruleCase{
		{"to another's", []Account{mine("100", 1000), eve}, give, atm.OK, "7.50"},
		{"from another's", []Account{eve, mine("100", 1000)}, Transfer{
			Party: demo, From: "200",
			To: "100", Amount: 1,
		}, atm.AccountNotFound, nil},
		{"to itself", []Account{mine("100", 1000)}, Transfer{
			Party: demo, From: "100", To: "100",
			Amount: 1,
		}, atm.SameAccount, nil},
		{"to nowhere", []Account{mine("100", 1000)}, give, atm.AccountNotFound, nil},
		{"too much", []Account{mine("100", 249), eve}, give, atm.InsufficientFunds, nil},
		{
			"from a frozen one",
			[]Account{with(mine("100", 1000), frozen), eve},
			give,
			atm.AccountFrozen, nil,
		},
		{
			"to a frozen one",
			[]Account{mine("100", 1000), with(eve, frozen)},
			give,
			atm.AccountFrozen, nil,
		},
		{
			"to a closed one",
			[]Account{mine("100", 1000), with(eve, closed)},
			give,
			atm.AccountClosed, nil,
		},
		{
			"to a full one",
			[]Account{mine("100", 1000), mine("200", atm.MaxBalance)},
			give,
			atm.BalanceTooLarge, nil,
		},
	})
}

func TestInquiryAnswersEachCase(t *testing.T) {
	ask := Inquiry{Party: demo, Account: "100"}
	testRules(t, []ruleCase{
		{"an account", []Account{mine("100", 1000)}, ask, atm.OK, "10.00"},
		{"frozen", []Account{with(mine("100", 1000), frozen)}, ask, atm.OK, "10.00"},
		{"closed", []Account{with(mine("100", 0), closed)}, ask, atm.AccountClosed, nil},
		{"no account", nil, ask, atm.AccountNotFound, nil},
	})
}

func TestLimitsBoundWhatLeavesAnAccount(t *testing.T) {
	limited := func(l Limits, s Spent) []Account {
		return []Account{with(mine("100", 1000), func(a *Account) { a.Limits, a.Spent = l, s })}
	}
	today := zone.Day(noon, "")
	take := Withdraw{Party: demo, Account: "100", Cash: till, Amount: 250, Tell: true}
	testRules(t, []ruleCase{
		{
			"within all",
			limited(Limits{PerOperation: 250, DailyAmount: 250, DailyCount: 1}, Spent{}),
			take, atm.OK, "7.50",
		},
		{
			"too much at once", limited(Limits{PerOperation: 249}, Spent{}), take,
			atm.LimitPerOperation, nil,
		},
		{
			"too much today", limited(Limits{DailyAmount: 400}, Spent{today, 151, 1}), take,
			atm.LimitDailyAmount, nil,
		},
		{
			"as much yesterday", limited(Limits{DailyAmount: 400}, Spent{today - 1, 151, 1}), take,
			atm.OK, "7.50",
		},
		{
			"too often today", limited(Limits{DailyCount: 2}, Spent{today, 2, 2}), take,
			atm.LimitDailyCount, nil,
		},
		{
			"as often yesterday",
			limited(Limits{DailyCount: 2}, Spent{today - 1, 2, 2}), take, atm.OK,
			"7.50",
		},
		{
			"not at all", limited(Limits{DailyCount: NoneMay}, Spent{}), take,
			atm.LimitDailyCount, nil,
		},
		{
			"what comes in", limited(Limits{DailyCount: NoneMay}, Spent{}),
			Deposit{Party: demo, Account: "100", Cash: till, Amount: 1},
			atm.OK, "",
		},
		{"a hold", limited(Limits{PerOperation: 249}, Spent{}), Authorize{
			Party:   demo,
			Account: "100", Amount: 250, Life: time.Hour,
		}, atm.LimitPerOperation, nil},
		{"before midnight in Auckland", limited(Limits{DailyCount: 1, Zone: "Pacific/Auckland"},
			Spent{today, 1, 1}), take, atm.OK, "7.50"},
		{
			"a clock that has gone back over midnight",
			limited(Limits{DailyAmount: 400}, Spent{today + 1, 151, 1}), take,
			atm.LimitDailyAmount, nil,
		},
	})
	for name, bad := range map[string]Limits{
		"less than nothing": {PerOperation: -1}, "no such zone": {Zone: "Moon/Tycho"},
		"a zone of the machine": {Zone: "Local"},
	} {
		w := world{accounts: limited(Limits{}, Spent{})}
		if s, _ := w.decide(t, SetLimits{
			Account: "100",
			Limits:  bad,
		}); s.Code != atm.AmountInvalid {
			t.Errorf("%s: %s", name, s.Code)
		}
	}
}

func TestWhatWasSpentTodayStaysSpentInAnotherZone(t *testing.T) {
	take := Withdraw{Party: demo, Account: "100", Cash: till, Amount: 250}
	a := with(mine("100", 1000), func(a *Account) { a.Limits = Limits{DailyAmount: 250} })
	_, b := world{accounts: []Account{a}}.decide(t, take)
	// At noon in UTC it is tomorrow in Auckland, and before noon of the same day in Honolulu.
	for _, name := range []string{"Pacific/Auckland", "", "Pacific/Honolulu", "Pacific/Auckland"} {
		set := SetLimits{Account: "100", Limits: Limits{DailyAmount: 250, Zone: name}}
		_, b = world{accounts: []Account{b.Account("100")}}.decide(t, set)
		s, _ := world{accounts: []Account{b.Account("100")}}.decide(t, take)
		if s.Code != atm.LimitDailyAmount {
			t.Errorf("after the zone became %q: %s", name, s.Code)
		}
	}
}

func TestStandingChangesAsFarAsItMay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		from    Standing
		balance atm.Amount
		to      Standing
		code    atm.Code
	}{
		{"freeze", Open, 5, Frozen, atm.OK},
		{"freeze again", Frozen, 5, Frozen, atm.OK},
		{"unfreeze", Frozen, 5, Open, atm.OK},
		{"close", Open, 0, Closed, atm.OK},
		{"close what has money", Open, 5, Closed, atm.AccountNotEmpty},
		{"close again", Closed, 0, Closed, atm.OK},
		{"open what is closed", Closed, 0, Open, atm.AccountClosed},
	} {
		a := with(mine("100", tt.balance), func(a *Account) { a.Standing = tt.from })
		s, b := world{accounts: []Account{a}}.decide(t, SetStanding{"100", tt.to})
		if s.Code != tt.code {
			t.Errorf("%s: %s %s", tt.name, s.Code, s.Reason)
		}
		if changes := b.Account("100").Version > a.Version; changes != (s.Code == atm.OK &&
			tt.from != tt.to) {
			t.Errorf("%s: the account has changed: %t", tt.name, changes)
		}
	}
	if s, _ := (world{}).decide(t, SetStanding{"100", Frozen}); s.Code != atm.AccountNotFound {
		t.Error(s)
	}
}

func TestAccountOpensOnce(t *testing.T) {
	s, b := world{}.decide(t, OpenAccount{Account: "100", Owner: "user:demo", Opening: 500})
	if s.Code != atm.OK || b.Account("100").Balance != 500 || b.Account(Equity).Balance != -500 {
		t.Errorf("%+v: %+v", s, b.Account("100"))
	}
	for name, tt := range map[string]struct {
		accounts []Account
		opening  atm.Amount
		code     atm.Code
	}{
		"there":  {[]Account{mine("100", 0)}, 0, atm.AccountExists},
		"closed": {[]Account{with(mine("100", 0), closed)}, 0, atm.AccountExists},
		"full":   {nil, atm.MaxBalance + 1, atm.BalanceTooLarge},
	} {
		if s, _ := (world{accounts: tt.accounts}).decide(t, OpenAccount{
			Account: "100",
			Opening: tt.opening,
		}); s.Code != tt.code {
			t.Errorf("%s: %s", name, s.Code)
		}
	}
}
