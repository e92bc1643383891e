//go:build !linux

package machine

// ReadClock knows nothing of the clock where there is no adjtimex(2).
func ReadClock() (c Clock, ok bool) { return Clock{}, false }
