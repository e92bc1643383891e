package boltstore

import (
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/boltstore/chunk"
	"example.com/atm/vault/people"
)

// A record begins with the version of its form.
const (
	formAccount = 2
	formUser    = 2
	formHold    = 1
	formGrant   = 1
)

// Keys of customers' accounts come before those of internal ones.
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

// A request is the key of a request id: the day that it was answered on, and what
// finds it there.
type request [4 + len(vault.RequestKey{})]byte

func requestOf(day uint32, key vault.RequestKey) (r request) {
	binary.BigEndian.PutUint32(r[:], day)
	copy(r[4:], key[:])
	return r
}

// parseRequest reads the key of a request id.
func parseRequest(k []byte) (day uint32, key vault.RequestKey, err error) {
	if len(k) != len(request{}) {
		return 0, key, errRecord
	}
	return binary.BigEndian.Uint32(k), vault.RequestKey(k[4:]), nil
}

var (
	errRecord  = errors.New("record of no known form")
	errNoEntry = errors.New("it is missing")
)

// What there is in the record of an account beside what all of them have, as bits of a number.
const (
	moreLimits = 1 << iota
	moreHolder
)

func encodeAccount(a *vault.Account, s chunk.Spine) []byte {
	w := fields{append(make([]byte, 0, 64+len(a.Owner)+4*len(s)+12*len(a.Pending)), formAccount,
		byte(a.Standing))}
	w.uint(a.Version)
	w.int(int64(a.Balance))
	w.text(a.Owner)
	w.uint(uint64(len(a.Pending)))
	for _, p := range a.Pending {
		w.uint(uint64(p.ID))
		w.int(int64(p.Amount))
		w.int(p.Expires.Unix())
	}
	var more uint64
	if a.Limits != (vault.Limits{}) || a.Spent != (vault.Spent{}) {
		more |= moreLimits
	}
	if a.Holder != "" {
		more |= moreHolder
	}
	w.uint(more)
	if more&moreLimits != 0 {
		w.int(int64(a.Limits.PerOperation))
		w.int(int64(a.Limits.DailyAmount))
		w.int(a.Limits.DailyCount)
		w.text(a.Limits.Zone)
		w.int(a.Spent.Day)
		w.int(int64(a.Spent.Amount))
		w.int(a.Spent.Count)
	}
	if more&moreHolder != 0 {
		w.text(a.Holder)
	}
	w.uint(uint64(len(s)))
	for _, p := range s {
		w.uint(uint64(p.Index))
		w.uint(uint64(p.Slot))
	}
	return w.b
}

func decodeAccount(k, v []byte) (vault.Account, chunk.Spine, error) {
	name, err := accountName(k)
	if err != nil {
		return vault.Account{}, nil, err
	}
	if len(v) < 2 || v[0] != formAccount || vault.Standing(v[1]) > vault.Closed {
		return vault.Account{}, nil, errRecord
	}
	r := reader{b: v[2:]}
	a := vault.Account{
		Name: name, Standing: vault.Standing(v[1]), Version: r.uint(),
		Balance: atm.Amount(r.int()), Owner: r.text(),
	}
	for range r.count() {
		a.Pending = append(a.Pending, vault.Pending{
			ID: vault.HoldID(r.uint()), Amount: atm.Amount(r.int()), Expires: time.Unix(r.int(),
				0).UTC(),
		})
	}
	more := r.uint()
	if more&moreLimits != 0 {
		a.Limits = vault.Limits{
			PerOperation: atm.Amount(r.int()), DailyAmount: atm.Amount(r.int()),
			DailyCount: r.int(), Zone: r.text(),
		}
		a.Spent = vault.Spent{Day: r.int(), Amount: atm.Amount(r.int()), Count: r.int()}
	}
	if more&moreHolder != 0 {
		a.Holder = r.text()
	}
	if more > moreLimits|moreHolder {
		r.bad = true
	}
	var s chunk.Spine
	for range r.count() {
		s = append(s, chunk.Place{Index: int64(r.uint()), Slot: int(r.uint())})
	}
	if !r.done() || a.Version == 0 {
		return vault.Account{}, nil, errRecord
	}
	return a, s, nil
}

func holdKey(id vault.HoldID) []byte { return journalKey(int64(id)) }

// holdID reads a key that holdKey wrote.
func holdID(k []byte) (vault.HoldID, error) {
	id, err := journalIndex(k)
	return vault.HoldID(id), err
}

// textKey and keyText are for records whose keys are text.
func textKey(s string) []byte          { return []byte(s) }
func keyText(k []byte) (string, error) { return string(k), nil }

func encodeHold(h *vault.Hold) []byte {
	w := fields{[]byte{formHold, byte(h.State)}}
	w.int(int64(h.Amount))
	w.text(string(h.Account))
	return w.b
}

func decodeHold(id vault.HoldID, v []byte) (vault.Hold, error) {
	if len(v) < 2 || v[0] != formHold || vault.HoldState(v[1]) > vault.HoldReleased {
		return vault.Hold{}, errRecord
	}
	r := reader{b: v[2:]}
	h := vault.Hold{
		ID: id, State: vault.HoldState(v[1]), Amount: atm.Amount(r.int()),
		Account: vault.Name(r.text()),
	}
	if !r.done() {
		return vault.Hold{}, errRecord
	}
	return h, nil
}

func encodeRevocation(r *people.Revocation) []byte {
	var w fields
	w.int(r.At.UnixMicro())
	return w.b
}

func decodeRevocation(name string, v []byte) (people.Revocation, error) {
	r := reader{b: v}
	revocation := people.Revocation{Name: name, At: time.UnixMicro(r.int()).UTC()}
	if !r.done() {
		return people.Revocation{}, errRecord
	}
	return revocation, nil
}

func encodeGrant(g *vault.Grant) []byte {
	w := fields{[]byte{formGrant}}
	w.text(g.Grantor)
	w.text(g.Grantee)
	w.uint(uint64(len(g.Accounts)))
	for _, account := range g.Accounts {
		w.text(string(account))
	}
	w.uint(uint64(len(g.Operations)))
	for _, op := range g.Operations {
		w.text(string(op))
	}
	w.int(int64(g.Cap))
	w.int(int64(g.Spent))
	w.int(g.Expires.Unix())
	return w.b
}

func decodeGrant(id string, v []byte) (vault.Grant, error) {
	if len(v) < 1 || v[0] != formGrant {
		return vault.Grant{}, errRecord
	}
	r := reader{b: v[1:]}
	g := vault.Grant{ID: id, Grantor: r.text(), Grantee: r.text()}
	for range r.count() {
		g.Accounts = append(g.Accounts, vault.Name(r.text()))
	}
	for range r.count() {
		g.Operations = append(g.Operations, atm.Operation(r.text()))
	}
	g.Cap, g.Spent, g.Expires = atm.Amount(r.int()), atm.Amount(r.int()),
		time.Unix(r.int(), 0).UTC()
	if !r.done() {
		return vault.Grant{}, errRecord
	}
	return g, nil
}

// fields appends the fields of a record.
type fields struct{ b []byte }

func (f *fields) uint(n uint64) { f.b = binary.AppendUvarint(f.b, n) }
func (f *fields) int(n int64)   { f.b = binary.AppendVarint(f.b, n) }

func (f *fields) text(s string) {
	f.uint(uint64(len(s)))
	f.b = append(f.b, s...)
}

// A reader takes the fields of a record apart. After one that is not there,
// all others are zero and done reports false.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uint() uint64 {
	n, size := binary.Uvarint(r.b)
	r.skip(size)
	if r.bad {
		return 0
	}
	return n
}

func (r *reader) int() int64 {
	n, size := binary.Varint(r.b)
	r.skip(size)
	if r.bad {
		return 0
	}
	return n
}

func (r *reader) skip(size int) {
	if size <= 0 || size > len(r.b) {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[size:]
}

// count reads how many elements follow, of at least a byte each.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return 0
	}
	return int(n)
}

func (r *reader) text() string {
	n := r.count()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// done reports whether the record was whole and nothing is left of it.
func (r *reader) done() bool { return !r.bad && len(r.b) == 0 }

func encodeUser(u *people.User) []byte {
	w := fields{[]byte{formUser, 0}}
	if u.Disabled {
		w.b[1] = 1
	}
	w.uint(uint64(len(u.Roles)))
	for _, role := range u.Roles {
		w.text(string(role))
	}
	w.text(string(u.HA1))
	w.text(string(u.Slow))
	return w.b
}

func decodeUser(subject string, v []byte) (people.User, error) {
	if len(v) < 2 || v[0] != formUser || v[1] > 1 {
		return people.User{}, errRecord
	}
	u := people.User{Subject: subject, Disabled: v[1] == 1}
	r := reader{b: v[2:]}
	for range r.count() {
		role, known := atm.ParseRole(r.text())
		if !known {
			return people.User{}, errRecord
		}
		u.Roles = append(u.Roles, role)
	}
	if ha1 := r.text(); ha1 != "" {
		u.HA1 = []byte(ha1)
	}
	if slow := r.text(); slow != "" {
		u.Slow = []byte(slow)
	}
	if !r.done() {
		return people.User{}, errRecord
	}
	return u, nil
}
