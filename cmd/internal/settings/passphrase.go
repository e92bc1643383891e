package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"example.com/atm/internal/durable"
	"golang.org/x/term"
)

// maxPassphrase is the longest passphrase that is read, in bytes.
const maxPassphrase = 4 << 10

// Passphrase returns a function that reads a passphrase from file, which
// nobody else may read, or from standard input when file is "-". Without a
// file it asks on a terminal. It asks once, however often it is called.
func Passphrase(file, prompt string) func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) {
		var text []byte
		var err error
		switch stdin := int(os.Stdin.Fd()); {
		case file == "-":
			text, err = io.ReadAll(io.LimitReader(os.Stdin, maxPassphrase))
		case file != "":
			text, err = durable.ReadSecret(file)
		case term.IsTerminal(stdin):
			fmt.Fprint(os.Stderr, prompt+": ")
			text, err = term.ReadPassword(stdin)
			fmt.Fprintln(os.Stderr)
		default:
			err = errors.New("a passphrase is needed: see --vault-passphrase-file")
		}
		if err != nil {
			return nil, err
		}
		if text = bytes.TrimRight(text, "\r\n"); len(text) == 0 {
			return nil, errors.New("the passphrase is empty")
		}
		return text, nil
	})
}
