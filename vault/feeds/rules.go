package feeds

import (
	"errors"
	"regexp"
	"slices"
	"strconv"

	"example.com/atm"
)

var nameForm = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$`)

var errName = errors.New("a name of a subscription is 1 to 32 lower-case letters, digits and " +
	"hyphens within, and not that of an id such as f4711")

// CheckName refuses what is no name of a subscription.
func CheckName(name string) error {
	if _, isID := ParseID(name); isID || !nameForm.MatchString(name) {
		return errName
	}
	return nil
}

// Add makes a subscription. The answer is its id.
type Add struct {
	Owner        string
	Subscription // without ID; From is -1 for what comes after the entry of this rule
}

// Of implements Rule.
func (r Add) Of() string { return r.Owner }

// Decide implements Rule.
func (r Add) Decide(b *Books) atm.Status {
	book, s := b.Book(r.Owner), r.Subscription
	switch {
	case book.Find(s.Name) != nil:
		return refuse(atm.FeedExists, "There is a subscription "+s.Name)
	case len(book.Subscriptions) >= MaxSubscriptions:
		return refuse(atm.LimitDailyCount, "You have "+strconv.Itoa(MaxSubscriptions)+
			" subscriptions")
	}
	here := b.Entry()
	if s.From > here {
		return noEntryYet
	}
	if s.From < 0 {
		s.From = here + 1
	}
	s.ID, s.Chain = ID(here), 1 // a new cursor has no chain, and is to begin with From
	book.Subscriptions = append(book.Subscriptions, s)
	b.put(book)
	return ok(s.ID.String())
}

var noEntryYet = refuse(atm.CursorInvalid, "There is no such entry yet")

// NotFound answers for a subscription that does not exist.
func NotFound(name string) atm.Status {
	return refuse(atm.FeedNotFound, "There is no subscription "+name)
}

// Change changes a subscription that its name or its id tells.
type Change struct {
	Owner, Name string
	Do          Act
}

// An Act is what a Change does to a subscription. It returns the answer, which changes nothing
// unless it is OK.
type Act func(b *Books, s *Subscription) atm.Status

// Of implements Rule.
func (r Change) Of() string { return r.Owner }

// Decide implements Rule.
func (r Change) Decide(b *Books) atm.Status {
	book := b.Book(r.Owner)
	s := book.Find(r.Name)
	if s == nil {
		return NotFound(r.Name)
	}
	before := *s
	status := r.Do(b, s)
	if status.Code == atm.OK && *s != before {
		b.put(book)
	}
	return status
}

// Pause keeps a subscription from being delivered until it is resumed.
func Pause(_ *Books, s *Subscription) atm.Status {
	if s.State == Active {
		s.State = Paused
	}
	return ok("")
}

// Resume lets a subscription be delivered again that was paused or stopped, from where it was. One
// that fails does not wait for its next try.
func Resume(_ *Books, s *Subscription) atm.Status {
	s.State, s.Reason = Active, ""
	s.Resumed++
	return ok("")
}

// Replay delivers again what a subscription selects from an entry on, under a chain of its own.
func Replay(from Position) Act {
	return func(b *Books, s *Subscription) atm.Status {
		if from > b.Entry() {
			return noEntryYet
		}
		s.From = from
		s.Chain++
		return ok("")
	}
}

// Test asks for a test event. The answer is its number.
func Test(_ *Books, s *Subscription) atm.Status {
	s.Tests++
	return ok(strconv.FormatUint(s.Tests, 10))
}

// Rotate replaces the secret of a subscription. The one before signs as well for Overlap. The
// answer is the generation of the new one.
func Rotate(b *Books, s *Subscription) atm.Status {
	s.Generation++
	s.Rotated = b.Now
	return ok(strconv.FormatUint(s.Generation, 10))
}

// Stop stops a subscription, and says why: it cannot be delivered, or may not be any more.
func Stop(reason string) Act {
	return func(_ *Books, s *Subscription) atm.Status {
		if s.State != Stopped {
			s.State, s.Reason = Stopped, reason
		}
		return ok("")
	}
}

// Remove ends a subscription for good.
type Remove struct{ Owner, Name string }

// Of implements Rule.
func (r Remove) Of() string { return r.Owner }

// Decide implements Rule.
func (r Remove) Decide(b *Books) atm.Status {
	book := b.Book(r.Owner)
	s := book.Find(r.Name)
	if s == nil {
		return NotFound(r.Name)
	}
	id := s.ID
	book.Subscriptions = slices.DeleteFunc(book.Subscriptions, func(s Subscription) bool {
		return s.ID == id
	})
	b.put(book)
	return ok("")
}
