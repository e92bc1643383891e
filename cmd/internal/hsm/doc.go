// Package hsm signs by keys in hardware modules, through PKCS #11. It needs cgo and the build tag
// pkcs11. Without them, Open returns ErrNone.
package hsm

import "errors"

// ErrNone reports a program that was built without PKCS #11.
var ErrNone = errors.New("this program was built without PKCS #11: build it with -tags pkcs11 " +
	"and CGO_ENABLED=1")
