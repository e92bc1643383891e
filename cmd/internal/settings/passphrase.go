package settings

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"example.com/atm/cmd/internal/ask"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/durable"
)

// maxSecret is the longest secret that is read, in bytes.
const maxSecret = 4 << 10

// Passphrase is Secret for the passphrase of the vault's key.
func Passphrase(file, prompt string) func() ([]byte, error) {
	return Secret(file, prompt, "a passphrase is needed: see --vault-passphrase-file")
}

// Secret returns a function that reads a secret from file, which nobody else may be able to
// read, or from standard input if file is "-". Without a file it asks on the terminal, without
// echo; if there is no terminal, it returns missing as an error of usage. It asks once,
// however often it is called.
func Secret(file, prompt, missing string) func() ([]byte, error) {
	return sync.OnceValues(func() ([]byte, error) {
		var text []byte
		var err error
		switch terminal := ask.Possible(); {
		case file != "" && file != "-":
			text, err = durable.ReadSecret(file)
		case terminal:
			text, err = ask.Secret(prompt)
		case file == "-":
			text, err = io.ReadAll(io.LimitReader(os.Stdin, maxSecret))
		default:
			err = exit.Usagef("%s", missing)
		}
		if err != nil {
			return nil, err
		}
		if text = bytes.TrimRight(text, "\r\n"); len(text) == 0 {
			return nil, fmt.Errorf("the %s is empty", strings.ToLower(prompt[:1])+prompt[1:])
		}
		return text, nil
	})
}

// NewPassphrase is Passphrase for a new passphrase: on a terminal it asks twice, because
// nothing is echoed.
func NewPassphrase(file, prompt string) ([]byte, error) {
	text, err := Passphrase(file, prompt)()
	if err != nil || file != "" && file != "-" || !ask.Possible() {
		return text, err
	}
	again, err := ask.Secret("The same again")
	if err == nil && !bytes.Equal(text, again) {
		err = exit.Usagef("the two differ: nothing is changed")
	}
	return text, err
}
