//go:build unix

package daemon_test

import (
	"fmt"
	"slices"
	"testing"

	"example.com/atm"
	"example.com/atm/cmd/internal/daemontest"
)

// TestHoldsAreListedPageByPage lists the holds of several accounts, with pages that end within
// an account and between two accounts.
func TestHoldsAreListedPageByPage(t *testing.T) {
	t.Parallel()
	h := daemontest.Start(t, nil)
	operator, demo := h.As(t, "operator"), h.As(t, "demo")
	var made []string
	for _, number := range []string{"100", "101", "7000"} {
		if number != "100" {
			daemontest.Must(t)(operator.Call(t.Context(), string(atm.AccountOpen), number,
				"user:demo", "50"))
		}
		for i := range 3 {
			a := daemontest.Must(t)(demo.Call(t.Context(), string(atm.Authorize), number,
				fmt.Sprint(i+1)))
			made = append(made, a.Result.(string))
		}
	}
	daemontest.Must(t)(demo.Call(t.Context(), string(atm.Release), made[4]))
	made = slices.Delete(made, 4, 5)
	for limit := 1; limit <= len(made)+1; limit++ {
		var listed []string
		pages := 0
		for cursor := ""; ; pages++ {
			page := daemontest.Must(t)(operator.Call(t.Context(), string(atm.HoldList), cursor,
				limit)).Result.(map[string]any)
			items, _ := page["holds"].([]any)
			if len(items) > limit {
				t.Errorf("a page of %d has %d holds", limit, len(items))
			}
			for _, item := range items {
				listed = append(listed, item.(map[string]any)["hold"].(string))
			}
			if cursor, _ = page["next"].(string); cursor == "" || pages > 2*len(made) {
				break
			}
		}
		if !slices.Equal(listed, made) {
			t.Errorf("pages of %d list %v, not %v", limit, listed, made)
		}
	}
	for _, cursor := range []string{"x", "100 h", "h4", "100 4"} {
		if a, err := operator.Call(t.Context(), string(atm.HoldList), cursor); err != nil ||
			a.Code != atm.CursorInvalid {
			t.Errorf("cursor %q: %+v, %v", cursor, a, err)
		}
	}
}
