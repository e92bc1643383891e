package replay

import (
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/requestid"
)

// requests are the request ids that entries answered within requestid.Life.
type requests struct {
	byTail map[requestid.Tail]answered
	today  int64 // day of the newest entry
}

type answered struct {
	index vault.JournalIndex
	at    int64         // in seconds since 1970: of these there are as many as requests in a week
	key   requestid.Key // without a time in it
}

func (a *answered) day() int64 { return requestid.Day(time.Unix(a.at, 0)) }

// fits reports whether k can be the key of the id. Whether there is a time in it, and which, is
// not in the entry; but no id is answered that is older than requestid.Life, and none is made up
// by a clock that is years ahead.
func (a *answered) fits(k requestid.Key) bool {
	const day = 24 * time.Hour
	after := k.Minted().Sub(time.Unix(a.at, 0))
	return k == a.key || after >= -requestid.Life-day && after <= 5*365*day
}

// keptFrom is the first day whose request ids a store has to keep. newest is the time of the
// newest entry.
func keptFrom(newest time.Time) int64 { return requestid.Day(newest.Add(-requestid.Life)) }

// An answer is the request id that an entry answered, if there is one.
type answer struct {
	key requestid.Key
	is  bool
}

// answerOf looks for the request id that an entry answered. It depends on nothing else.
func answerOf(e *audit.Entry) (a answer) {
	if e.Status != nil && e.Status.Code.Remembered() {
		a.key, a.is = requestid.KeyOf(e)
	}
	return a
}

// entry notes an entry as the answer to a request id.
func (r *requests) entry(problems *check.Problems, index vault.JournalIndex, e *audit.Entry,
	a answer, newest time.Time,
) {
	kept := keptFrom(newest)
	if today := requestid.Day(newest); today != r.today {
		r.today = today
		for tail, first := range r.byTail {
			if first.day() < kept {
				delete(r.byTail, tail)
			}
		}
	}
	if !a.is {
		return
	}
	tail := a.key.Tail()
	first, twice := r.byTail[tail]
	if twice && e.Status.Code == atm.IdempotencyKeyExpired {
		return // the journal did not keep the first answer
	}
	if twice && first.day() >= kept {
		problems.Add("entry %d: %s of %s was carried out again: entry %d answered its request "+
			"id already",
			index, e.Operation, e.Caller.Subject, first.index)
	}
	r.byTail[tail] = answered{index, e.Time.Unix(), a.key}
}

// check holds a request id of a store against the journal.
func (r *requests) check(problems *check.Problems, row *vault.KeptRequest, newest time.Time) {
	tail := row.Key.Tail()
	first, is := r.byTail[tail]
	switch {
	case row.Day < keptFrom(newest) && !is:
		return // it is over, and not swept away yet
	case !is:
		problems.Add("request id %s is that of no journal entry", row.Key)
		return
	case !first.fits(row.Key):
		problems.Add("request id %s is not that of journal entry %d", row.Key, first.index)
	case first.index != row.Index:
		problems.Add("request id %s leads to journal entry %d; it was answered in %d", row.Key,
			row.Index, first.index)
	case row.Day != first.day():
		problems.Add("request id %s is recorded as answered on day %d; the journal says %d",
			row.Key, row.Day, first.day())
	}
	delete(r.byTail, tail)
}

// end tells of answers to request ids that the store does not have.
func (r *requests) end(problems *check.Problems, newest time.Time) {
	kept := keptFrom(newest)
	for _, first := range r.byTail {
		if first.day() >= kept {
			problems.Add("the request id that journal entry %d answered has no record", first.index)
		}
	}
}
