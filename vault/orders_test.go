package vault

import (
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault/calendar"
)

// TestZoneThatChangesMakesNoSecondPayment has a due date that was worked out before the zone gave
// up daylight saving: it is at eleven now, and the order would be due again at twelve.
func TestZoneThatChangesMakesNoSecondPayment(t *testing.T) {
	for _, moved := range []time.Duration{-time.Hour, 0, time.Hour} {
		due := noon.Add(moved)
		from, to := mine("100", 1000), mine("200", 0)
		from.Agreements = []Agreement{{ID: 7}}
		o := Order{
			ID: 7, Account: from.Name, Debtor: from.Owner, To: to.Name, Amount: 10, Next: due,
			Schedule: calendar.Schedule{Every: calendar.Day, At: 12 * 60},
		}
		var l Loaded
		l.Accounts.Found = map[Name]*Account{from.Name: &from, to.Name: &to}
		l.Orders.Found = map[OrderID]*Order{o.ID: &o}
		b := NewBooks(Keys{}, l)
		b.Now = due
		rule := PayOrder{Order: o.ID, Due: due}
		b.begin(rule.Keys)
		if status := rule.Decide(b); status.Code != atm.OK {
			t.Fatal(status)
		}
		paid, _ := b.Order(o.ID)
		if want := noon.AddDate(0, 0, 1); !paid.Next.Equal(want) {
			t.Errorf("paid at %v, the order is due again at %v, not %v", due, paid.Next, want)
		}
	}
}
