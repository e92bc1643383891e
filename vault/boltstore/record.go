package boltstore

import (
	"encoding/binary"
	"errors"
	"strconv"

	"example.com/atm"
	"example.com/atm/vault"
)

// Every record begins with the version of its form.
const (
	formLeaf    = 1
	formAccount = 1
	formUser    = 1
)

// Keys of customers' accounts come before those of the house's own.
const (
	prefixNumber = 1
	prefixName   = 2
)

func accountKey(n vault.Name) []byte {
	if number, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return numberKey(number)
	}
	return append([]byte{prefixName}, n...)
}

func numberKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixNumber}, number)
}

func accountName(key []byte) (vault.Name, error) {
	switch {
	case len(key) == 9 && key[0] == prefixNumber:
		return vault.Numbered(atm.AccountID(binary.BigEndian.Uint64(key[1:]))), nil
	case len(key) > 1 && key[0] == prefixName:
		return vault.Name(key[1:]), nil
	}
	return "", errors.New("key of an account of no known form")
}

func journalKey(index int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(index)) }

func requestKey(day uint32, key vault.RequestKey) []byte {
	return append(binary.BigEndian.AppendUint32(nil, day), key[:]...)
}

var errRecord = errors.New("record of no known form")

func encodeLeaf(leaf []byte) []byte { return append([]byte{formLeaf}, leaf...) }

func decodeLeaf(v []byte) ([]byte, error) {
	if len(v) < 2 || v[0] != formLeaf {
		return nil, errRecord
	}
	return v[1:], nil
}

func encodeAccount(a *vault.Account) []byte {
	v := append(make([]byte, 0, 32+len(a.Owner)), formAccount, byte(a.Standing))
	v = binary.AppendUvarint(v, a.Version)
	v = binary.AppendVarint(v, int64(a.Balance))
	return append(v, a.Owner...)
}

func decodeAccount(k, v []byte) (vault.Account, error) {
	name, err := accountName(k)
	if err != nil {
		return vault.Account{}, err
	}
	if len(v) < 2 || v[0] != formAccount || vault.Standing(v[1]) > vault.Closed {
		return vault.Account{}, errRecord
	}
	a := vault.Account{Name: name, Standing: vault.Standing(v[1])}
	v = v[2:]
	version, n := binary.Uvarint(v)
	if n <= 0 || version == 0 {
		return vault.Account{}, errRecord
	}
	v = v[n:]
	balance, n := binary.Varint(v)
	if n <= 0 {
		return vault.Account{}, errRecord
	}
	a.Version, a.Balance, a.Owner = version, atm.Amount(balance), string(v[n:])
	return a, nil
}

func encodeUser(u *vault.User) []byte {
	v := []byte{formUser, 0, byte(len(u.Roles))}
	if u.Disabled {
		v[1] = 1
	}
	for _, role := range u.Roles {
		v = append(v, byte(len(role)))
		v = append(v, role...)
	}
	return v
}

func decodeUser(k, v []byte) (vault.User, error) {
	if len(v) < 3 || v[0] != formUser || v[1] > 1 {
		return vault.User{}, errRecord
	}
	u := vault.User{Subject: string(k), Disabled: v[1] == 1}
	count := int(v[2])
	for v = v[3:]; count > 0; count-- {
		if len(v) < 1 || len(v) < 1+int(v[0]) {
			return vault.User{}, errRecord
		}
		role, known := atm.ParseRole(string(v[1 : 1+v[0]]))
		if !known {
			return vault.User{}, errRecord
		}
		u.Roles = append(u.Roles, role)
		v = v[1+v[0]:]
	}
	if len(v) != 0 {
		return vault.User{}, errRecord
	}
	return u, nil
}
