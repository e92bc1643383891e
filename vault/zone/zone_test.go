package zone_test

import (
	"testing"

	"example.com/atm/vault/zone"
)

func TestZoneHasOneName(t *testing.T) {
	for name, want := range map[string]bool{
		"": true, "UTC": true, "Europe/Berlin": true, "America/Argentina/ComodRivadavia": true,
		"Europe/./Berlin": false, "Europe//Berlin": false, "./Europe/Berlin": false,
		"Europe/Berlin/": false, "Europe/../Europe/Berlin": false, "/Europe/Berlin": false,
		"Local": false, "Europe/Atlantis": false,
	} {
		if got := zone.Known(name); got != want {
			t.Errorf("%q is known: %v", name, got)
		}
	}
}
