package output

import (
	"slices"
	"testing"
)

func TestNarrowTableLeavesTheLastColumnsOut(t *testing.T) {
	// Index, time, event, amount (a number), address and reason: 5 gaps and 70 columns.
	widths := []int{5, 20, 10, 6, 9, 20}
	for _, tt := range []struct {
		screen int
		want   []int // 0 for a hidden column
	}{
		{80, []int{5, 20, 10, 6, 9, 20}},
		{70, []int{5, 20, 10, 6, 9, 10}},
		{50, []int{5, 15, 8, 6, 8, 0}},
		{40, []int{5, 15, 8, 6, 0, 0}},
	} {
		table := &Table{columns: make([]column, len(widths))}
		excess := (len(widths)-1)*len(gap) - tt.screen
		for i, w := range widths {
			table.columns[i] = column{width: w, number: i == 3}
			excess += w
		}
		table.fit(excess)
		var got []int
		for _, c := range table.columns {
			if c.hidden {
				c.width = 0
			}
			got = append(got, c.width)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("on %d columns: %v, not %v", tt.screen, got, tt.want)
		}
	}
}
