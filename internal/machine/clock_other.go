//go:build !linux

package machine

// ReadClock reports false: there is no adjtimex(2).
func ReadClock() (c Clock, ok bool) { return Clock{}, false }
