package statement_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/statement"
)

func TestChartHasTheBalanceAtTheEndOfEachDay(t *testing.T) {
	now := time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	s := &statement.Statement{
		Opening: 1000, Closing: 700,
		Movements: []statement.Movement{ // the newest first
			{Time: ago(0), Amount: -100, Balance: 700},
			{Time: ago(2), Amount: -500, Balance: 800},
			{Time: ago(2).Add(-time.Hour), Amount: 300, Balance: 1300},
		},
	}
	chart := s.Chart(now)
	var got []atm.Amount
	for _, day := range chart.Days[len(chart.Days)-4:] {
		got = append(got, day.Balance)
	}
	if fmt.Sprint(got) != "[10.00 8.00 8.00 7.00]" {
		t.Errorf("the last days end with %v", got)
	}
	if first, last := chart.Days[0], chart.Days[len(chart.Days)-1]; first.Balance != s.Opening ||
		last.Day != "2026-03-10" {
		t.Errorf("the chart goes from %v to %v", first, last)
	}
	if chart.Lowest != 700 || chart.Upper != 1000 ||
		len(strings.Fields(chart.Points)) != len(chart.Days) {
		t.Errorf("the chart has bounds %v and %v, and points %s", chart.Lowest, chart.Upper,
			chart.Points)
	}
	// With older movements in the time, the balance before those shown is not the opening one.
	s.Next = "100.7"
	s.Movements = s.Movements[:1]
	if first := s.Chart(now).Days[0]; first.Balance != 800 {
		t.Errorf("before the movements that are shown the balance is %v", first.Balance)
	}
}

func TestReceiverGivesBackPaymentsAndATellerAnyMovement(t *testing.T) {
	for _, tt := range []struct {
		operation        string
		amount, reversed atm.Amount
		customer, teller atm.Amount // what they can give back
	}{
		{"transfer", 500, 0, 500, 500},
		{"transfer", -500, 0, 0, 500},
		{"transfer", 500, 200, 300, 300},
		{"transfer", 500, 500, 0, 0},
		{"order.pay", 500, 0, 500, 500},
		{"order.pay", -500, 0, 0, 500},
		{"deposit", 500, 0, 0, 500},
		{"withdraw", -500, 100, 0, 400},
		{"capture", -500, 0, 0, 500},
		{"collect", 500, 0, 0, 500},
		{"reverse", 500, 0, 0, 0},
		{"admin.account.open", 500, 0, 0, 0},
	} {
		m := &statement.Movement{
			Operation: tt.operation, Amount: tt.amount, Reversed: tt.reversed,
		}
		if got := [2]atm.Amount{m.Left(false), m.Left(true)}; got != [2]atm.Amount{
			tt.customer, tt.teller,
		} {
			t.Errorf("%s of %v, of which %v is reversed: %v", tt.operation, tt.amount,
				tt.reversed, got)
		}
	}
}

func TestReversedMovementLeadsToItsNewestReversal(t *testing.T) {
	row := func(index int64, reverses any) atm.Record {
		return atm.Record{{Name: "index", Value: index}, {Name: "reverses", Value: reverses}}
	}
	s := statement.Read(atm.Status{Result: atm.Record{{Name: "entries", Value: []atm.Record{
		row(9, int64(4)), row(8, int64(4)), row(6, int64(2)), row(4, ""), row(3, ""),
	}}}})
	for i, want := range []int64{0, 0, 0, 9, 0} {
		if got := s.Movements[i].ReversedBy; got != want {
			t.Errorf("entry %d is reversed by %d, want %d", s.Movements[i].Index, got, want)
		}
	}
}

func TestStatementHasTheTimeSinceWhichItIsComplete(t *testing.T) {
	for text, want := range map[string]time.Time{
		"": {}, "2026-05-01T12:00:00.000000Z": time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC),
	} {
		s := statement.Read(atm.Status{Result: atm.Record{{Name: "since", Value: text}}})
		if !s.Since.Equal(want) {
			t.Errorf("%q is read as %s", text, s.Since)
		}
	}
}
