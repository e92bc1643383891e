package dynstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/codec"
	"example.com/atm/vault/dynstore/chain"
	"example.com/atm/vault/dynstore/table"
	"example.com/atm/vault/history"
	"example.com/atm/vault/secrets"
)

// accounts are the kind of the accounts. Each is stored with the spine of its history. Customers'
// accounts and the bank's own ones have shards of their own, so that the first can be listed in
// order of number.
type accounts struct{}

const (
	inAccounts = "account"
	inInternal = "internal"
)

func (accounts) of(r *vault.Records) any { return &r.Accounts }
func (accounts) isDerived() bool         { return true }
func (accounts) sort(r *vault.Records) {
	slices.SortFunc(r.Accounts, func(a, b vault.Account) int {
		return bytes.Compare(codec.AccountKey(a.Name), codec.AccountKey(b.Name))
	})
}

func (accounts) isBeside() bool { return false }
func (accounts) pks() []string {
	return append(shardPKs(inAccounts, manyShards), shardPKs(inInternal, fewShards)...)
}

// keyOfAccount is the key of the item of an account.
func keyOfAccount(n vault.Name) table.Key {
	key := codec.AccountKey(n)
	if codec.IsNumbered(key) {
		return shardKey(inAccounts, numberSK(key[1:]), manyShards)
	}
	return shardKey(inInternal, textSK(key[1:]), fewShards)
}

func (accounts) keys(asked *vault.Keys) []table.Key { return accountKeys(asked.Accounts) }

func accountKeys(names []vault.Name) []table.Key {
	keys := make([]table.Key, len(names))
	for i, n := range names {
		keys[i] = keyOfAccount(n)
	}
	return keys
}

// load reads those that keys name, and those of the other records.
func (accounts) load(t *transaction, asked *vault.Keys) {
	names := t.loaded.AppendTheirs(slices.Clip(asked.Accounts), asked)
	t.loaded.Accounts.Found = make(map[vault.Name]*vault.Account, len(names))
	for _, name := range names {
		if _, loaded := t.spines[name]; loaded {
			continue
		}
		a, spine, err := openAccount(t.store.keys, name, t.found[keyOfAccount(name)])
		if err != nil {
			t.loaded.Accounts.Note(name, err)
			continue
		}
		t.spines[name] = chunk.History{Version: a.Version, Places: spine}
		if a.Version > 0 {
			t.loaded.Accounts.Found[name] = &a
		}
	}
}

// openAccount reads the item of an account; nil is one that does not exist, of version 0.
func openAccount(k *secrets.Keys, name vault.Name, item *table.Item) (vault.Account, chunk.Spine,
	error,
) {
	if item == nil {
		return vault.Account{Name: name}, nil, nil
	}
	return decodeAccount(k, name, item.Data)
}

func decodeAccount(k *secrets.Keys, name vault.Name, data []byte) (vault.Account, chunk.Spine,
	error,
) {
	a, spine, err := codec.DecodeAccount(codec.AccountKey(name), data)
	if err != nil {
		return a, nil, fmt.Errorf("account %s: %w", name, err)
	}
	holder, err := k.Open(secrets.Holder, string(name), []byte(a.Holder))
	a.Holder = string(holder)
	return a, spine, err
}

func accountItem(k *secrets.Keys, a vault.Account, spine chunk.Spine) table.Item {
	a.Holder = string(k.Seal(secrets.Holder, string(a.Name), []byte(a.Holder)))
	return table.Item{Key: keyOfAccount(a.Name), Data: codec.EncodeAccount(&a, spine)}
}

func (accounts) write(k *secrets.Keys, r *vault.Records, spines history.Spines) []chain.Write {
	writes := make([]chain.Write, len(r.Accounts))
	for i := range r.Accounts {
		a := &r.Accounts[i]
		writes[i].Item = accountItem(k, *a, spines.Of(a.Name, a.Version))
		writes[i].Kept = true
	}
	return writes
}

// accountOf reads the account of an item, or of what it was.
func accountOf(k *secrets.Keys, i *table.Item, data []byte) (vault.Account, chunk.Spine, error) {
	name, err := accountNameOf(i.Key)
	if err != nil {
		return vault.Account{}, nil, err
	}
	return decodeAccount(k, name, data)
}

// accountNameOf reads the key of an account.
func accountNameOf(key table.Key) (name vault.Name, err error) {
	if bytes, wrong := numberOf(key.SK); wrong == nil && len(bytes) == 8 {
		name, err = codec.AccountName(append(codec.NumberKey(0)[:1:1], bytes...))
		if err == nil && keyOfAccount(name) == key {
			return name, nil
		}
	}
	text, err := textOf(key.SK, nil)
	name = vault.Name(text)
	if err == nil && keyOfAccount(name) != key {
		err = codec.ErrForm
	}
	if err != nil {
		return "", fmt.Errorf("account, key %s: %w", key.SK, err)
	}
	return name, nil
}

func (accounts) read(k *secrets.Keys, i *table.Item, data []byte, r *vault.Records) error {
	a, _, err := accountOf(k, i, data)
	if err == nil {
		r.Accounts = append(r.Accounts, a)
	}
	return err
}

func (accounts) verify(ctx context.Context, k *secrets.Keys, i *table.Item, c *checker) {
	a, spine, err := accountOf(k, i, i.Data)
	if err != nil {
		c.problems.Add("%v", err)
		return
	}
	c.read.Account(&a, spine, func(id vault.HoldID) (vault.Hold, error) {
		item, err := c.store.table.Get(ctx, holds.keyOf(id))
		switch {
		case err != nil:
			return vault.Hold{}, err
		case item == nil:
			return vault.Hold{}, errors.New("there is none")
		}
		return codec.DecodeHold(id, item.Data)
	})
}
