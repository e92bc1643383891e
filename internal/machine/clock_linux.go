package machine

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock state and status of adjtimex(2) for a clock that is not synchronised.
const (
	timeError = 5    // TIME_ERROR
	unsynced  = 0x40 // STA_UNSYNC
)

// ReadClock asks the kernel for the state of its clock. ok is false if the kernel does not
// report it.
func ReadClock() (c Clock, ok bool) {
	var t unix.Timex // without modes, the call changes nothing
	state, err := unix.Adjtimex(&t)
	if err != nil {
		return Clock{}, false
	}
	return Clock{
		Synchronised: state != timeError && t.Status&unsynced == 0,
		MaxError:     time.Duration(t.Maxerror) * time.Microsecond,
	}, true
}
