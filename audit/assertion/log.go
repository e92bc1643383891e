package assertion

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"

	"example.com/atm"
	"example.com/atm/audit"
)

// A Log checks the assertions in the entries of a log, which it is told of in order.
type Log struct {
	// Checked counts the assertions that are good. Unknown counts those of passkeys that were
	// added before the log began, or whose key is too long for an entry: nobody can check them
	// with the log alone.
	Checked, Unknown int64

	passkeys map[string]passkey // by id
}

type passkey struct {
	subject string
	key     []byte // nil when it is in no entry
	removed bool
}

// Entry learns from an entry, and checks its assertion if it has one. It begins again with the
// entry of index 0.
func (l *Log) Entry(index int64, leaf []byte) error {
	if index == 0 {
		*l = Log{passkeys: make(map[string]passkey)}
	}
	// Few entries are about passkeys, and reading one takes as long as hashing many.
	if !bytes.Contains(leaf, []byte(`"assertion":`)) && !bytes.Contains(leaf, []byte(`"passkey":`)) {
		return nil
	}
	entry, err := audit.ParseEntry(leaf)
	if err != nil || entry.Caller == nil {
		return nil // a newer program has written it, or nobody; that its bytes are whole is known
	}
	if entry.Assertion != nil {
		return l.check(entry)
	}
	if entry.Status != nil && entry.Status.Code == atm.OK && entry.ReplayOf < 0 {
		l.learn(entry)
	}
	return nil
}

func (l *Log) learn(entry *audit.Entry) {
	args := make(map[string]string, len(entry.Args))
	for _, arg := range entry.Args {
		args[arg.Name] = arg.Value
	}
	switch id := args["passkey"]; entry.Operation {
	case atm.CertEnroll, atm.PasskeyAdd:
		key, err := base64.StdEncoding.DecodeString(args["key"])
		if err != nil {
			key = nil // it was too long, and the entry has its hash
		}
		l.passkeys[id] = passkey{subject: entry.Caller.Subject, key: key}
	case atm.PasskeyRemove, atm.UserPasskeyRemove:
		if p, known := l.passkeys[id]; known {
			p.removed = true
			l.passkeys[id] = p
		}
	}
}

func (l *Log) check(entry *audit.Entry) error {
	p, known := l.passkeys[entry.Assertion.Passkey]
	switch {
	case known && p.subject != entry.Caller.Subject:
		return fmt.Errorf("the passkey is not one of %s", entry.Caller.Subject)
	case known && p.removed:
		return errors.New("the passkey had been removed")
	case !known || p.key == nil:
		l.Unknown++
		return nil
	}
	shown := entry.Shown()
	if _, err := Check(entry.Assertion, p.key, shown[:]); err != nil {
		return err
	}
	l.Checked++
	return nil
}
