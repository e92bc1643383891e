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
