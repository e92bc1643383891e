package atm_test

import (
	"fmt"

	"example.com/atm"
)

// An amount is read from its text, so that no cent appears or vanishes on the way.
func ExampleParseAmount() {
	fmt.Println(atm.ParseAmount("0.1"))
	fmt.Println(atm.ParseAmount("0.001"))
	// Output:
	// 0.10 OK
	// 0.00 AMOUNT_PRECISION
}
