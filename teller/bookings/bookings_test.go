package bookings

import (
	"testing"

	"example.com/atm/teller/methods"
)

func TestEveryBookingIsOfAMethod(t *testing.T) {
	for name := range bookings {
		if methods.Of(name) == nil {
			t.Errorf("bookings has %s, which is no method", name)
		}
	}
}
