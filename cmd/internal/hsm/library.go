//go:build pkcs11

package hsm

import (
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"
)

// A library is a module that the process has loaded. A module is initialised once in a process,
// however many of its keys are open.
type library struct {
	*pkcs11.Ctx
	path string
	keys int // guarded by libraries.mu; those that are open
}

var libraries = struct {
	mu     sync.Mutex
	loaded map[string]*library // guarded by mu; by path
}{loaded: make(map[string]*library)}

// initialise returns the module in a file. The caller has to release it.
func initialise(path string) (*library, error) {
	libraries.mu.Lock()
	defer libraries.mu.Unlock()
	if l := libraries.loaded[path]; l != nil {
		l.keys++
		return l, nil
	}
	l := &library{Ctx: pkcs11.New(path), path: path, keys: 1}
	if l.Ctx == nil {
		return nil, errors.New("it is not there, or no PKCS #11 module")
	}
	if err := l.Initialize(); err != nil {
		l.Destroy()
		return nil, err
	}
	libraries.loaded[path] = l
	return l, nil
}

func (l *library) release() {
	libraries.mu.Lock()
	defer libraries.mu.Unlock()
	if l.keys--; l.keys > 0 {
		return
	}
	delete(libraries.loaded, l.path)
	_ = l.Finalize() // an error says that it has ended already
	l.Destroy()
}

// slot returns the slot of the one token with a label.
func (l *library) slot(label string) (found uint, err error) {
	slots, err := l.GetSlotList(true)
	if err != nil {
		return 0, err
	}
	n := 0
	for _, slot := range slots {
		info, err := l.GetTokenInfo(slot)
		if err != nil {
			return 0, err
		}
		if info.Label == label {
			found = slot
			n++
		}
	}
	if n != 1 {
		return 0, fmt.Errorf("the module has %d tokens of that name, not exactly one", n)
	}
	return found, nil
}
