package daemon

import (
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"example.com/atm/auth"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/hsm"
	"example.com/atm/internal/durable"
	"example.com/atm/teller"
)

// keys/token.key holds the active key of tokens in PEM (PKCS #8), as other
// programs read it, and behind it the next and the retiring key in blocks of
// their own kinds. The retiring one says since when it is.
const (
	activeBlock, nextBlock, retiringBlock = "PRIVATE KEY", "ATM NEXT TOKEN KEY",
		"ATM RETIRING TOKEN KEY"

	sinceHeader = "Since"
)

// newTokenKeys is the file of a new server.
func newTokenKeys() ([]byte, error) {
	var table auth.KeyTable
	for _, key := range []*crypto.Signer{&table.Active, &table.Next} {
		var err error
		if *key, err = newSigner(); err != nil {
			return nil, err
		}
	}
	return encodeTokenKeys(table)
}

func newSigner() (crypto.Signer, error) { return certs.NewKey() }

func encodeTokenKeys(table auth.KeyTable) ([]byte, error) {
	var text []byte
	for _, k := range []struct {
		block string
		key   crypto.Signer
	}{{activeBlock, table.Active}, {nextBlock, table.Next}, {retiringBlock, table.Retiring}} {
		if k.key == nil {
			continue
		}
		plain, err := certs.EncodeKey(k.key)
		if err != nil {
			return nil, err
		}
		block, _ := pem.Decode(plain)
		block.Type = k.block
		if k.block == retiringBlock {
			block.Headers = map[string]string{sinceHeader: table.Since.UTC().Format(time.RFC3339)}
		}
		text = append(text, pem.EncodeToMemory(block)...)
	}
	return text, nil
}

// tokenKeys are the keys of tokens: the one in a module when the options name
// it, and those of the folder otherwise.
func (h *Server) tokenKeys() (auth.KeyTable, error) {
	if h.opts.TokenKey == "" {
		return readTokenKeys(h.dir.TokenKey())
	}
	return auth.KeyTable{Active: h.tokenKey}, nil
}

// openModule opens the module that has the key of tokens, when the options name
// one.
func (h *Server) openModule() error {
	if h.opts.TokenKey == "" {
		return nil
	}
	var err error
	h.tokenKey, h.module, err = hsm.Open(h.opts.TokenKey)
	if errors.Is(err, hsm.ErrNone) {
		err = fmt.Errorf("%w: %w", datadir.ErrUsage, err)
	}
	return err
}

func readTokenKeys(path string) (auth.KeyTable, error) {
	text, err := durable.ReadSecret(path)
	if err != nil {
		return auth.KeyTable{}, err
	}
	table, err := parseTokenKeys(text)
	if err != nil {
		return auth.KeyTable{}, fmt.Errorf("%s: %w", path, err)
	}
	return table, nil
}

// CheckTokenKeys says what is wrong with a file of keys of tokens.
func CheckTokenKeys(path string) error {
	_, err := readTokenKeys(path)
	return err
}

func parseTokenKeys(text []byte) (auth.KeyTable, error) {
	var table auth.KeyTable
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		place := map[string]*crypto.Signer{
			activeBlock: &table.Active, nextBlock: &table.Next,
			retiringBlock: &table.Retiring,
		}[block.Type]
		if place == nil || *place != nil {
			return auth.KeyTable{}, fmt.Errorf("it holds a block %q too many", block.Type)
		}
		var err error
		if *place, err = certs.ParseKey(pem.EncodeToMemory(&pem.Block{
			Type:  activeBlock,
			Bytes: block.Bytes,
		})); err != nil {
			return auth.KeyTable{}, err
		}
		if block.Type == retiringBlock {
			if table.Since, err = time.Parse(time.RFC3339, block.Headers[sinceHeader]); err != nil {
				return auth.KeyTable{}, fmt.Errorf("a key is retiring since %q, which is no time",
					block.Headers[sinceHeader])
			}
		}
	}
	if table.Active == nil {
		return auth.KeyTable{}, errors.New("it holds no active key")
	}
	return table, nil
}

// rotateTokens makes the next key sign tokens. The table is on the disk before
// the key signs, so that no token is handed out that a crash makes a bad one.
func (h *Server) rotateTokens(force bool) (old, kid string, wait time.Duration, err error) {
	if h.module != nil {
		return "", "", 0, teller.ErrKeyElsewhere
	}
	h.keys.Lock()
	defer h.keys.Unlock()
	table := h.tokens.Keys()
	now := h.now()
	if settled := table.Settled(); !force && now.Before(settled) {
		return "", "", settled.Sub(now), nil
	}
	if table.Next == nil {
		if table.Next, err = newSigner(); err != nil {
			return "", "", 0, err
		}
	}
	fresh, err := newSigner()
	if err != nil {
		return "", "", 0, err
	}
	table = table.Rotated(fresh, now)
	text, err := encodeTokenKeys(table)
	if err != nil {
		return "", "", 0, err
	}
	if err := durable.WriteFile(h.dir.TokenKey(), text, 0o600); err != nil {
		return "", "", 0, err
	}
	if err := h.shareRotated(); err != nil {
		return "", "", 0, err
	}
	old = h.tokens.ActiveKey()
	if err := h.tokens.Adopt(table); err != nil {
		return "", "", 0, err
	}
	return old, h.tokens.ActiveKey(), 0, nil
}
