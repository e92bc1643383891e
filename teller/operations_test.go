package teller

import "testing"

func TestEveryMethodIsCarriedOutInOneWay(t *testing.T) {
	operations := operations()
	for name, op := range operations {
		ways := 0
		for _, has := range []bool{op.book != nil, op.rule != nil, op.read != nil} {
			if has {
				ways++
			}
		}
		if ways != 1 {
			t.Errorf("%s needs a line in bookings, in rules or in reads, and in one of them alone",
				name)
		}
	}
	for name := range rules {
		if operations[name] == nil {
			t.Errorf("rules has %s, which is no method", name)
		}
	}
	for name := range reads {
		if operations[name] == nil {
			t.Errorf("reads has %s, which is no method", name)
		}
	}
}
