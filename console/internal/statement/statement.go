// Package statement reads the statement of an account, and draws the balance over time.
package statement

import (
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
)

// A Movement is a line of a statement.
type Movement struct {
	Index        int64
	Time         time.Time
	Operation    string
	Amount       atm.Amount
	Balance      atm.Amount
	Counterparty string
	Memo         string
	Reverses     int64      // index of the entry of which it gives money back; 0 for none
	Reversed     atm.Amount // what was given back of it
	ReversedBy   int64      // index of the newest entry that did, if the statement has it
	Undo         string     // URL of the form that gives back what is left; empty for none
	UndoLabel    string     // what a link to it says
}

// Left is what can still be given back of a movement: by its receiver what they were paid, and by
// somebody who may reverse everything what any movement moved.
func (m *Movement) Left(everything bool) atm.Amount {
	switch atm.Operation(m.Operation) {
	case atm.Transfer, atm.OrderPay:
		if !everything && m.Amount < 0 {
			return 0
		}
	case atm.Deposit, atm.Withdraw, atm.Capture, atm.Collect:
		if !everything {
			return 0
		}
	default:
		return 0
	}
	return max(m.Amount, -m.Amount) - m.Reversed
}

// A Statement is the answer of the operation of that name.
type Statement struct {
	Opening, Closing atm.Amount
	Movements        []Movement
	Next             string
	Since            time.Time // the server has no older movements; zero when it has all
}

// Read reads the answer of a statement.
func Read(status atm.Status) (s Statement) {
	record, _ := status.Result.(atm.Record)
	amount := func(r atm.Record, name string) atm.Amount {
		written, _ := r.Get(name).(string)
		return forms.ParseSigned(written)
	}
	s.Opening, s.Closing = amount(record, "opening"), amount(record, "closing")
	s.Next, _ = record.Get("next").(string)
	since, _ := record.Get("since").(string)
	s.Since, _ = atm.ParseTime(since) // zero for an empty one
	entries, _ := record.Get("entries").([]atm.Record)
	for _, e := range entries {
		m := Movement{Amount: amount(e, "amount"), Balance: amount(e, "balance")}
		m.Index, _ = e.Get("index").(int64)
		m.Operation, _ = e.Get("operation").(string)
		m.Counterparty, _ = e.Get("counterparty").(string)
		m.Memo, _ = e.Get("memo").(string)
		m.Reverses, _ = e.Get("reverses").(int64)
		m.Reversed = amount(e, "reversed")
		written, _ := e.Get("time").(string)
		m.Time, _ = atm.ParseTime(written)
		s.Movements = append(s.Movements, m)
	}
	by := make(map[int64]int64)  // the entry that reverses, by the one that it reverses
	for i := range s.Movements { // the newest first
		m := &s.Movements[i]
		if m.ReversedBy = by[m.Index]; m.Reverses > 0 && by[m.Reverses] == 0 {
			by[m.Reverses] = m.Index
		}
	}
	return s
}

// A Day is the movements of one day in UTC, the newest first.
type Day struct {
	Day       string
	Movements []Movement
}

// ByDay divides movements into those of each day.
func ByDay(movements []Movement) (days []Day) {
	for _, m := range movements {
		day := m.Time.UTC().Format(time.DateOnly)
		if len(days) == 0 || days[len(days)-1].Day != day {
			days = append(days, Day{Day: day})
		}
		last := &days[len(days)-1]
		last.Movements = append(last.Movements, m)
	}
	return days
}
