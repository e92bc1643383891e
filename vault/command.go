package vault

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/flood"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
)

// A Command is one operation, ready to be decided.
type Command struct {
	Event     audit.Event
	Operation atm.Operation
	Args      []audit.Arg
	Caller    *atm.Caller // nil for what the program itself records
	Request   requestid.Hashed
	Rule      Rule
	Warrants  []people.Warrant // all of them must be true

	// Then are decided right after it, in the same transaction, if it is OK, each with an
	// entry of its own and none with a request id. When one of them is refused none of all
	// that happens, and the command is refused with its answer.
	Then []Command

	// Assertion is what a passkey signed to confirm the command; nil for none.
	Assertion *atm.Assertion

	// Note completes the entry of an event that is no operation; optional.
	Note func(*audit.Entry)
}

// idempotent reports whether c is answered by what its request id was
// answered with before. An answer that is not remembered does not look for
// one either: a caller that lost a permission must not be shown an old success.
func (c *Command) idempotent() bool {
	if c.Request.Key == (requestid.Key{}) {
		return false
	}
	r, refusal := c.Rule.(Refusal)
	return !refusal || r.Code.Remembered()
}

// AppendKeys adds what c needs to k.
func (c *Command) AppendKeys(k *Keys) {
	c.Rule.Keys(k)
	k.Visit(c.Caller)
	for i := range c.Warrants {
		c.Warrants[i].Keys(&k.Keys)
	}
	for i := range c.Then {
		c.Then[i].AppendKeys(k)
	}
	if c.idempotent() {
		k.Requests = append(k.Requests, c.Request.Key)
	}
}

// An UndoneError reports a command of which one that was to follow it was refused.
type UndoneError struct {
	index  int // among those that were to follow
	status atm.Status
}

// Error implements error.
func (e *UndoneError) Error() string { return "refused as a whole: " + e.status.Reason }

// DecideAll decides c and what follows it. After an *UndoneError the books are of no use.
func (c *Command) DecideAll(b *Books, denials *flood.DenialBatch) (atm.Status, error) {
	b.tally.decided++
	status, err := c.decide(b, denials)
	if err != nil || status.Code != atm.OK {
		return status, err
	}
	for i := range c.Then {
		next, err := c.Then[i].decide(b, denials)
		if err != nil {
			return status, err
		}
		if next.Code != atm.OK {
			return status, &UndoneError{i, next}
		}
	}
	return status, nil
}

// Undo makes c a command that is refused because of one that was to follow it.
func (c *Command) Undo(e *UndoneError) {
	c.Rule = Refuse(e.status.Code, "Row "+strconv.Itoa(e.index+1)+": "+e.status.Reason)
	c.Then = nil
}

// decide answers c, and leaves the changes and the entry in the books. A denial has no entry
// when denials says so, and no receipt then.
func (c *Command) decide(b *Books, denials *flood.DenialBatch) (atm.Status, error) {
	b.begin(c.AppendKeys)
	if err := b.damaged(); err != nil {
		return b.unreadable(err), nil
	}
	answer, first, err := c.answer(b)
	if err = errors.Join(err, b.Failed()); err != nil {
		if b.Wrote() { // the whole transaction must not be, and the others are decided again
			return atm.Status{}, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		return b.unreadable(err), nil
	}
	if answer.Code == "" {
		return answer, nil // there was nothing to do
	}
	if answer.Code == atm.PermissionDenied && c.Caller != nil && !denials.Note(b.Now, c.Caller) {
		return answer, nil
	}
	b.People.Visited(c.Caller)
	entry := &b.entry
	*entry = audit.Entry{
		ID:        atm.NewUUID(b.Now),
		Time:      b.Now,
		Event:     c.Event,
		Operation: c.Operation,
		Args:      c.Args,
		State:     b.effect.touched,
		Expires:   b.effect.expires,
		Reverses:  b.effect.reverses,
		Debtor:    b.effect.debtor,
		Next:      b.effect.next,
		Caller:    c.Caller,
		Request:   c.Request.Digest,
		Minted:    c.Request.Minted,
		ReplayOf:  -1,
		Assertion: c.Assertion,
	}
	if c.Operation != "" {
		b.answer = answer
		entry.Status = &b.answer
	}
	if first != nil {
		entry.ReplayOf, entry.Assertion = b.InLog(first.Index), nil
		b.tally.replays++
	}
	if c.Note != nil {
		c.Note(entry)
	}
	begin := len(b.leaves)
	if b.leaves, err = entry.Append(b.leaves); err != nil {
		// The transaction must not be. Alone, this command is answered INTERNAL, and others go on.
		return atm.Status{}, fmt.Errorf("%w: entry of %s: %w", ErrRefused, c.Event, err)
	}
	leaf := b.leaves[begin:len(b.leaves):len(b.leaves)]
	b.effect.keep()
	index, sum := b.append(leaf, b.effect.touched)
	if first != nil {
		return answer, nil // with the receipt of the first time
	}
	answer.Receipt = audit.Receipt(b.InLog(index), sum)
	if c.idempotent() && answer.Code.Remembered() && b.requests.Peek(c.Request.Key) == nil {
		b.remember(c.Request.Key, index, leaf)
	}
	return answer, nil
}

// answer finds the status dict for c, and the entry it was first given in
// when c is a replay.
func (c *Command) answer(b *Books) (atm.Status, *Remembered, error) {
	if no, over := b.People.Absent(c.Caller); over {
		return no, nil, nil
	}
	for i := range c.Warrants {
		if no, refused := c.Warrants[i].Refused(b.People); refused {
			return no, nil, nil
		}
	}
	// All grants of one grantor have the same subject, but under one grant the caller is not
	// shown what was answered under another.
	if r, granted := c.Rule.(Granted); granted {
		if _, allowed := r.allowed(b); !allowed {
			return notGranted, nil, nil
		}
	}
	if c.idempotent() {
		if first := b.requests.Peek(c.Request.Key); first != nil && first.Leaf == nil {
			return refuse(atm.IdempotencyKeyExpired, fmt.Sprintf("The request id was answered by "+
				"entry %d, which is not kept here any more", b.InLog(first.Index))), nil, nil
		} else if first != nil {
			return c.replay(b, *first)
		}
		if !c.Request.Minted.IsZero() && b.Now.Sub(c.Request.Minted) > requestid.Life {
			return refuse(atm.IdempotencyKeyExpired, "The request id is older than seven days"),
				nil, nil
		}
	}
	return c.Rule.Decide(b), nil, nil
}

// replay answers c with the status dict of its first time, unless c means
// something else.
func (c *Command) replay(b *Books, first Remembered) (atm.Status, *Remembered, error) {
	entry, err := audit.ParseEntry(first.Leaf)
	if err != nil {
		return atm.Status{}, nil, fmt.Errorf("entry %d: %w", first.Index, err)
	}
	if !c.Request.Key.Answered(entry) {
		return atm.Status{}, nil, fmt.Errorf("entry %d is not the answer to request id %s",
			first.Index, c.Request.Key)
	}
	if entry.Status == nil || entry.Operation != c.Operation || !slices.Equal(entry.Args,
		audit.Written(c.Args)) {
		return refuse(atm.IdempotencyConflict, "The request id was used for another request"),
			nil, nil
	}
	status := *entry.Status
	status.Receipt = audit.Receipt(b.InLog(first.Index), merkle.LeafHash(first.Leaf))
	return status, &first, nil
}
