package vault

import "example.com/atm"

// A Reversal is what was given back of the money that an entry moved.
type Reversal struct {
	Of     JournalIndex
	Amount atm.Amount // of all reversals together
}

// A Movement is what an entry moved.
type Movement struct {
	Index    JournalIndex
	From, To Name
	Amount   atm.Amount

	// Paid says that it paid the owner of To: such a movement its receiver may reverse.
	Paid bool
}

// Reverse gives back what an entry moved, or a part of it, along the legs it came. The answer
// is the amount that was given back.
//
// A party may reverse what it was paid. Limits do not count: they bound what an owner spends.
type Reverse struct {
	Party
	Movement Movement
	Amount   atm.Amount // zero for all that is left
}

// Keys implements Rule.
func (r Reverse) Keys(k *Keys) {
	k.accounts(r.Movement.From, r.Movement.To)
	k.Reversals = append(k.Reversals, r.Movement.Index)
}

// NoEntry answers for an entry that does not exist, or does not concern the caller: nobody
// learns which.
func NoEntry() atm.Status { return refuse(atm.EntryNotFound, "There is no such entry") }

// NotReversible answers for an entry that nothing can undo.
func NotReversible(reason string) atm.Status { return refuse(atm.NotReversible, reason) }

// Decide implements Rule.
func (r Reverse) Decide(b *Books) atm.Status {
	m := &r.Movement
	holder, receiver := b.Account(m.To), b.Account(m.From) // as it goes back
	switch {
	case !r.Reaches(holder) && !r.Reaches(receiver):
		return NoEntry()
	case r.Owner != "" && (!r.Reaches(holder) || !m.Paid):
		return NotReversible("You can give back what you were paid, and nothing else")
	}
	for _, a := range []Account{holder, receiver} {
		if a.Name.Internal() {
			continue
		}
		if no, fine := (Party{}).usable(a); !fine {
			return no
		}
	}
	before, _ := b.Reversal(m.Index)
	left := m.Amount - before.Amount
	amount := r.Amount
	if amount == 0 {
		amount = left
	}
	switch {
	case left == 0:
		return refuse(atm.ReversalExceeded, "All of it has been reversed")
	case amount > left:
		return refuse(atm.ReversalExceeded, "Of it "+left.String()+" can be reversed")
	case !holder.Name.Internal() && amount > holder.Available(b.Now):
		return insufficient
	case holder.Name.Internal() && !depth(holder, amount), !fits(receiver, amount):
		return TooLarge(receiver.Name)
	}
	b.reversals.Put(m.Index, Reversal{Of: m.Index, Amount: before.Amount + amount})
	b.move(holder, receiver, amount)
	b.effect.reverses = b.InLog(m.Index)
	return ok(amount.String())
}
