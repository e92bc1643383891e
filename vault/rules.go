package vault

import (
	"math"

	"example.com/atm"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
)

// A Rule decides one operation. Keys adds the records that the rule needs to k.
// Decide gives the answer and makes the changes. A refusal is an answer like any
// other and moves no money; it changes nothing, but for the due date of a standing
// order, which has failed then. The ledger adds the receipt.
//
// A rule is a function of its arguments and the books alone, and the time is that of the
// books: no clock, no random number, no setting, no store. Replay decides it again years
// later, from the arguments in its entry, and must come to the same answer and the same
// changes.
type Rule interface {
	Keys(k *Keys)
	Decide(b *Books) atm.Status
}

// A PeopleRule is a rule about people, which sees their side of the books alone.
type PeopleRule struct{ people.Rule }

// People returns a rule about people as one that the ledger decides.
func People(rule people.Rule) PeopleRule { return PeopleRule{rule} }

// Keys implements Rule.
func (r PeopleRule) Keys(k *Keys) { r.Rule.Keys(&k.Keys) }

// Decide implements Rule.
func (r PeopleRule) Decide(b *Books) atm.Status { return r.Rule.Decide(b.People) }

// A FeedRule is a rule about the subscriptions of an owner. That to an account is for a party
// that reaches it.
type FeedRule struct {
	feeds.Rule
	Party
	Account Name // empty for none
}

// Keys implements Rule.
func (r FeedRule) Keys(k *Keys) {
	k.Feeds = append(k.Feeds, r.Of())
	if r.Account != "" {
		k.accounts(r.Account)
	}
}

// Decide implements Rule.
func (r FeedRule) Decide(b *Books) atm.Status {
	if r.Account != "" && !r.Reaches(b.Account(r.Account)) {
		return NotFound(string(r.Account))
	}
	return r.Rule.Decide(b.Feeds)
}

func ok(result any) atm.Status {
	if result == nil {
		result = "" // as it is read back from an entry
	}
	return atm.Status{Code: atm.OK, Result: result}
}

func refuse(code atm.Code, reason string) atm.Status {
	return atm.Status{Code: code, Reason: reason, Result: ""}
}

// NotFound answers an operation on an account that does not exist, or is not
// the caller's: nobody learns which.
func NotFound(account string) atm.Status {
	return refuse(atm.AccountNotFound, "Account "+account+" was not found")
}

// BadCursor answers a page or a range that makes no sense.
func BadCursor(reason string) atm.Status { return refuse(atm.CursorInvalid, reason) }

// Unknown is NotFound in the words that inquiry has had since 2013.
func Unknown(account string) atm.Status {
	return refuse(atm.AccountNotFound, "Unknown account "+account)
}

// A Party says whose accounts a rule may use: those of Owner, or every
// account when Owner is empty.
type Party struct{ Owner string }

// Reaches reports whether a exists and p may use it.
func (p Party) Reaches(a Account) bool {
	return a.Version > 0 && (p.Owner == "" || p.Owner == a.Owner)
}

// usable reports why a may not take part in a movement.
func (p Party) usable(a Account) (atm.Status, bool) {
	switch {
	case !p.Reaches(a):
		return NotFound(string(a.Name)), false
	case a.Standing == Closed:
		return accountClosed(a), false
	case a.Standing == Frozen:
		return refuse(atm.AccountFrozen, "Account "+string(a.Name)+" is frozen"), false
	}
	return atm.Status{}, true
}

// fits reports whether a can take amount more. The bank's own accounts are
// bounded by their type alone, and so is a sum over them: what they lose,
// customers hold.
func fits(a Account, amount atm.Amount) bool {
	if a.Name.Internal() {
		return a.Balance <= math.MaxInt64-amount
	}
	return a.Balance <= atm.MaxBalance-amount
}

// depth reports whether the internal account a can lose amount more.
func depth(a Account, amount atm.Amount) bool { return a.Balance >= math.MinInt64+amount }

// TooLarge answers for an account that cannot hold as much.
func TooLarge(n Name) atm.Status {
	return refuse(atm.BalanceTooLarge, "Balance of account "+string(n)+" would be too large")
}

// Inquiry tells the balance of an account.
type Inquiry struct {
	Party
	Account Name
}

// Keys implements Rule.
func (r Inquiry) Keys(k *Keys) { k.accounts(r.Account) }

// Decide implements Rule.
func (r Inquiry) Decide(b *Books) atm.Status {
	a := b.Account(r.Account)
	switch {
	case !r.Reaches(a):
		return Unknown(string(r.Account))
	case a.Standing == Closed:
		return accountClosed(a)
	}
	return ok(a.Balance.String())
}

// Deposit moves Amount from the cash account Cash to Account.
type Deposit struct {
	Party
	Account Name
	Cash    Name
	Amount  atm.Amount
	Tell    bool // the caller may know the balance
}

// Keys implements Rule.
func (r Deposit) Keys(k *Keys) { k.accounts(r.Account, r.Cash) }

// Decide implements Rule.
func (r Deposit) Decide(b *Books) atm.Status {
	a, cash := b.Account(r.Account), b.Account(r.Cash)
	if no, fine := r.usable(a); !fine {
		return no
	}
	if !fits(a, r.Amount) || !depth(cash, r.Amount) {
		return TooLarge(r.Account)
	}
	b.move(cash, a, r.Amount)
	return tell(b, r.Account, r.Tell)
}

// Withdraw moves Amount from Account to the cash account Cash.
type Withdraw struct {
	Party
	Account Name
	Cash    Name
	Amount  atm.Amount
	Tell    bool // the caller may know the balance
}

// Keys implements Rule.
func (r Withdraw) Keys(k *Keys) { k.accounts(r.Account, r.Cash) }

// Decide implements Rule.
func (r Withdraw) Decide(b *Books) atm.Status {
	a, cash := b.Account(r.Account), b.Account(r.Cash)
	if no, fine := r.usable(a); !fine {
		return no
	}
	if no, fine := a.spend(r.Amount, b.Now); !fine {
		return no
	}
	if r.Amount > a.Available(b.Now) {
		return insufficient
	}
	if !fits(cash, r.Amount) {
		return TooLarge(r.Cash)
	}
	b.move(a, cash, r.Amount)
	return tell(b, r.Account, r.Tell)
}

// insufficient has the words of 2013.
var insufficient = refuse(atm.InsufficientFunds, "Insufficient Funds")

// Transfer moves Amount from one account to another. The party is whose
// accounts it may be taken from; it may go to every account.
type Transfer struct {
	Party
	From, To Name
	Amount   atm.Amount
	Tell     bool // the caller may know the balance
}

// Keys implements Rule.
func (r Transfer) Keys(k *Keys) { k.accounts(r.From, r.To) }

// Decide implements Rule.
func (r Transfer) Decide(b *Books) atm.Status {
	from, to := b.Account(r.From), b.Account(r.To)
	if no, fine := r.usable(from); !fine {
		return no
	}
	if r.From == r.To {
		return refuse(atm.SameAccount, "The accounts of a transfer must be two")
	}
	if no, fine := (Party{}).usable(to); !fine {
		return no
	}
	if no, fine := from.spend(r.Amount, b.Now); !fine {
		return no
	}
	if r.Amount > from.Available(b.Now) {
		return insufficient
	}
	if !fits(to, r.Amount) {
		return TooLarge(r.To)
	}
	b.move(from, to, r.Amount)
	return tell(b, r.From, r.Tell)
}

func tell(b *Books, n Name, may bool) atm.Status {
	if !may {
		return ok("")
	}
	return ok(b.Account(n).Balance.String())
}

// A Refusal answers without looking at any account: what was asked is wrong
// in itself, or not allowed.
type Refusal atm.Status

// Refuse returns a refusal.
func Refuse(code atm.Code, reason string) Refusal { return Refusal(refuse(code, reason)) }

// Keys implements Rule.
func (Refusal) Keys(*Keys) {}

// Decide implements Rule.
func (r Refusal) Decide(*Books) atm.Status { return atm.Status(r) }

// Report answers OK with a result that was known before.
type Report struct{ Result any }

// Keys implements Rule.
func (Report) Keys(*Keys) {}

// Decide implements Rule.
func (r Report) Decide(*Books) atm.Status { return ok(r.Result) }
