package statement

import (
	"fmt"
	"strings"
	"time"

	"example.com/atm"
)

const (
	chartDays               = 90      // that a chart shows
	chartWidth, chartHeight = 540, 96 // in units of the drawing

	oneDay = 24 * time.Hour

	// Span is how far a chart goes back.
	Span = chartDays * oneDay
)

// A Chart is the balance of an account over time: as a line for the eye, and as rows for those
// who do not see it.
type Chart struct {
	Points        string // of the line, as SVG has them
	Lowest, Upper atm.Amount
	Days          []Close
}

// A Close is the balance at the end of a day.
type Close struct {
	Day     string
	Balance atm.Amount
}

// Chart draws the balance at the end of each of the last days. The statement is of the Span.
func (s *Statement) Chart(now time.Time) Chart {
	balance := s.Opening
	if len(s.Movements) > 0 && s.Next != "" { // there are older movements in this time
		first := s.Movements[len(s.Movements)-1]
		balance = first.Balance - first.Amount
	}
	var c Chart
	oldest := len(s.Movements) - 1 // of those that are not in a day yet
	for i := range chartDays + 1 {
		at := now.UTC().AddDate(0, 0, i-chartDays)
		end := at.Truncate(oneDay).Add(oneDay)
		for oldest >= 0 && s.Movements[oldest].Time.Before(end) {
			balance = s.Movements[oldest].Balance
			oldest--
		}
		c.Days = append(c.Days, Close{at.Format(time.DateOnly), balance})
	}
	c.Lowest, c.Upper = c.Days[0].Balance, c.Days[0].Balance
	for _, d := range c.Days {
		c.Lowest, c.Upper = min(c.Lowest, d.Balance), max(c.Upper, d.Balance)
	}
	spread := max(1, float64(c.Upper-c.Lowest))
	var b strings.Builder
	for i, d := range c.Days {
		x := float64(i) * chartWidth / chartDays
		y := chartHeight - 4 - float64(d.Balance-c.Lowest)*(chartHeight-8)/spread
		fmt.Fprintf(&b, "%.1f,%.1f ", x, y)
	}
	c.Points = strings.TrimSpace(b.String())
	return c
}
