package daemon_test

import (
	"testing"
	"time"

	"example.com/atm"
)

// arenaPerAddress is how many connections the server of the attacks allows from one address.
const arenaPerAddress = 64

// attackMemory asks for more memory than one peer may have.
func (a *arena) attackMemory(t *testing.T) {
	t.Run("connections of one address", func(t *testing.T) {
		from, most := a.address(t.Name()), arenaPerAddress*max(1, replicas)
		for range most + 1 {
			if _, err := a.dial(t, from, nil); err != nil {
				return
			}
		}
		t.Errorf("more than %d connections", most)
	})
	t.Run("a page of an account with many holds", func(t *testing.T) {
		mallory := a.client(t, a.mallory)
		for range 60 {
			hold := must(t)(mallory.Authorize(t.Context(), 300, 1, time.Hour, atm.RequestID(atm.NewUUID(time.Now())))).Text()
			must(t)(mallory.Release(t.Context(), hold, atm.RequestID(atm.NewUUID(time.Now()))))
		}
		page, _ := must(t)(mallory.Call(t.Context(), "statement", 300, map[string]any{"limit": 1})).Result.(map[string]any)
		if next, _ := page["next"].(string); next == "" {
			t.Errorf("one page looks at all changes: %v", page)
		}
	})
}
