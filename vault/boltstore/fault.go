package boltstore

import (
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrUnreadable reports a file that the disk does not give back.
var ErrUnreadable = errors.New("the vault cannot be read from the disk")

// firstPage is where memory that can be mapped begins; below are nil pointers.
const firstPage = 4096

// guarded calls use, which reads the file through its memory map. A page that the
// disk does not give back is an error then, and does not end the process.
func guarded(use func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		fault, is := cause.(interface{ Addr() uintptr })
		if !is || fault.Addr() < firstPage { // a mistake of the program
			panic(cause)
		}
		err = fmt.Errorf("%w: fault at %#x", ErrUnreadable, fault.Addr())
	}()
	return use()
}
