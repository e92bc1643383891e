package daemon_test

import "testing"

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
}
