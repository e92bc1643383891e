package payments

import (
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
)

// Whatever stands in the way of a payment from one account to another one.
var obstacles = []struct {
	name                   string
	before                 func(b *bank, from, to vault.Name)
	reverse, collect, paid atm.Code // paid is "" when it is tried again
}{
	{"there is nothing", func(*bank, vault.Name, vault.Name) {}, atm.OK, atm.OK, atm.OK},
	{
		"the payer is frozen", func(b *bank, from, _ vault.Name) { b.stand(from, vault.Frozen) },
		atm.AccountFrozen, atm.AccountFrozen, "",
	},
	{
		"the receiver is frozen", func(b *bank, _, to vault.Name) { b.stand(to, vault.Frozen) },
		atm.AccountFrozen, atm.AccountFrozen, "",
	},
	{
		"the payer is closed", func(b *bank, from, _ vault.Name) { b.stand(from, vault.Closed) },
		atm.AccountClosed, atm.AccountClosed, atm.AccountClosed,
	},
	{
		"the receiver is closed", func(b *bank, _, to vault.Name) { b.stand(to, vault.Closed) },
		atm.AccountClosed, atm.AccountClosed, atm.AccountClosed,
	},
	{
		"the payer's money is held", func(b *bank, from, _ vault.Name) { b.hold(from) },
		atm.OK, atm.InsufficientFunds, "",
	},
	{
		"the receiver's money is held", func(b *bank, _, to vault.Name) { b.hold(to) },
		atm.InsufficientFunds, atm.OK, atm.OK,
	},
	{
		"an amount is limited", limited(vault.Limits{PerOperation: 99}), atm.OK,
		atm.LimitPerOperation, "",
	},
	{"a day is limited", limited(vault.Limits{DailyAmount: 99}), atm.OK, atm.LimitDailyAmount, ""},
	{
		"a number is limited", limited(vault.Limits{DailyCount: vault.NoneMay}), atm.OK,
		atm.LimitDailyCount, "",
	},
	{
		"the payer has all that fits", func(b *bank, from, _ vault.Name) { b.fill(from) },
		atm.BalanceTooLarge, atm.OK, atm.OK,
	},
	{
		"the receiver has all that fits", func(b *bank, _, to vault.Name) { b.fill(to) }, atm.OK,
		atm.BalanceTooLarge, "",
	},
}

// limited limits both accounts: limits bound what an owner spends, and no reversal.
func limited(l vault.Limits) func(*bank, vault.Name, vault.Name) {
	return func(b *bank, from, to vault.Name) {
		for _, n := range []vault.Name{from, to} {
			b.must(atm.AccountLimit, vault.SetLimits{Account: n, Limits: l})
		}
	}
}

// stand gives an account a standing. One that is to be closed is emptied.
func (b *bank) stand(n vault.Name, s vault.Standing) {
	b.t.Helper()
	if s == vault.Closed {
		b.must(atm.Withdraw, vault.Withdraw{Account: n, Cash: cash, Amount: b.balance(n)})
	}
	b.must(atm.AccountFreeze, vault.SetStanding{Account: n, Standing: s})
}

// hold holds all but 99 cents of an account.
func (b *bank) hold(n vault.Name) {
	b.t.Helper()
	b.must(atm.Authorize, vault.Authorize{
		Account: n, Amount: b.balance(n) - 99, Life: time.Hour,
	})
}

// fill gives an account as much as it can have.
func (b *bank) fill(n vault.Name) {
	b.t.Helper()
	b.must(atm.Deposit, vault.Deposit{
		Account: n, Cash: cash, Amount: atm.MaxBalance - b.balance(n),
	})
}

// testExpired spends money that was held until a while ago. A check of the store finds nothing
// wrong with it, though the hold stands in the record of the account.
func testExpired(t *testing.T, b *bank) {
	b.open("1", "user:a", 1000)
	b.open("2", gas, 0)
	moved := b.pay("1", "2", 500)
	b.hold("2")
	b.refused(atm.Reverse, vault.Reverse{Movement: moved}, atm.InsufficientFunds)
	b.setClock(b.now().Add(time.Hour))
	b.must(atm.Reverse, vault.Reverse{Movement: moved})
	if a := b.account("2"); a.Balance != 0 || len(a.Pending) != 1 {
		t.Errorf("%+v", a)
	}
}

// testObstacles reverses, collects and pays where something stands in the way: what is refused
// moves nothing.
func testObstacles(t *testing.T, b *bank) {
	number := atm.AccountID(0)
	for _, tt := range obstacles {
		for op, want := range map[atm.Operation]atm.Code{
			atm.Reverse: tt.reverse, atm.Collect: tt.collect, atm.OrderPay: tt.paid,
		} {
			from, to := vault.Numbered(number+1), vault.Numbered(number+2)
			number += 2
			b.open(from, "user:a", 1000)
			b.open(to, gas, 1000)
			moved, o := b.pay(from, to, 100), b.order(from, to, 100)
			id := b.mandate(from, vault.MandateTerms{Each: 100})
			b.setClock(o.Next)
			tt.before(b, from, to)
			rule := map[atm.Operation]vault.Rule{
				atm.Reverse:  vault.Reverse{Party: vault.Party{Owner: gas}, Movement: moved},
				atm.Collect:  vault.Collect{Mandate: id, Creditor: gas, To: to, Amount: 100},
				atm.OrderPay: vault.PayOrder{Order: o.ID, Due: o.Next},
			}[op]
			moves := atm.Amount(100)
			switch {
			case want != atm.OK:
				moves = 0
			case op == atm.Reverse:
				moves = -100
			}
			a, z := b.balance(from)-moves, b.balance(to)+moves
			b.refused(op, rule, want)
			if b.balance(from) != a || b.balance(to) != z {
				t.Errorf("%s when %s: the accounts have %s and %s, not %s and %s", op, tt.name,
					b.balance(from), b.balance(to), a, z)
			}
		}
	}
}
