// Package hsm finds keys that never leave a module, by PKCS #11. It needs cgo
// and the build tag pkcs11; without them it says so.
package hsm

import "errors"

// ErrNone reports a program that was built without PKCS #11.
var ErrNone = errors.New("this program was built without PKCS #11: build it with -tags pkcs11")
