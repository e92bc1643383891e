// Package codec is the form of what stores keep as bytes: the keys of records, and the records
// under them, before they are sealed. It knows neither bbolt nor a database.
//
// A record that is not whole, or has more than its fields, is ErrForm. What a key says is
// not repeated in the record.
package codec

import (
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/chunk"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
)

// A record begins with the version of its form.
const (
	formAccount = 2
	formUser    = 2
	formHold    = 1
	formGrant   = 1
	formPasskey = 1
	formSession = 1
	formLogin   = 2 // a session that began with an OpenID provider
)

// Keys of customers' accounts come before those of internal ones.
const (
	prefixNumber = 1
	prefixName   = 2
)

// AccountKey returns the key of an account.
func AccountKey(n vault.Name) []byte {
	if number, err := strconv.ParseUint(string(n), 10, 64); err == nil {
		return NumberKey(number)
	}
	return append([]byte{prefixName}, n...)
}

// NumberKey returns the key of a customer's account.
func NumberKey(number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{prefixNumber}, number)
}

// IsNumbered reports whether a key is that of a customer's account.
func IsNumbered(key []byte) bool { return len(key) > 0 && key[0] == prefixNumber }

// AccountName reads a key that AccountKey returned.
func AccountName(key []byte) (vault.Name, error) {
	switch {
	case len(key) == 9 && key[0] == prefixNumber:
		return vault.Numbered(atm.AccountID(binary.BigEndian.Uint64(key[1:]))), nil
	case len(key) > 1 && key[0] == prefixName:
		return vault.Name(key[1:]), nil
	}
	return "", errors.New("key of an account of no known form")
}

// A Request is the key of a request id: the day that it was answered on, and what
// finds it there.
type Request [4 + len(requestid.Key{})]byte

// NewRequest returns the key of a request id that was answered on a day.
func NewRequest(day uint32, key requestid.Key) (r Request) {
	binary.BigEndian.PutUint32(r[:], day)
	copy(r[4:], key[:])
	return r
}

// ParseRequest reads a key that NewRequest returned.
func ParseRequest(k []byte) (day uint32, key requestid.Key, err error) {
	if len(k) != len(Request{}) {
		return 0, key, ErrForm
	}
	return binary.BigEndian.Uint32(k), requestid.Key(k[4:]), nil
}

// ErrForm reports a key or a record that nothing here has written.
var ErrForm = errors.New("record of no known form")

// What there is in the record of an account beside what all of them have, as bits of a number.
const (
	moreLimits = 1 << iota
	moreHolder
	moreAgreements
)

// EncodeAccount returns the record of an account, with the spine of its history.
func EncodeAccount(a *vault.Account, s chunk.Spine) []byte {
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
	if len(a.Agreements) > 0 {
		more |= moreAgreements
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
	if more&moreAgreements != 0 {
		w.agreements(a.Agreements)
	}
	w.uint(uint64(len(s)))
	for _, p := range s {
		w.uint(uint64(p.Index))
		w.uint(uint64(p.Slot))
	}
	return w.b
}

// DecodeAccount reads what EncodeAccount returned, under its key.
func DecodeAccount(k, v []byte) (vault.Account, chunk.Spine, error) {
	name, err := AccountName(k)
	if err != nil {
		return vault.Account{}, nil, err
	}
	if len(v) < 2 || v[0] != formAccount || vault.Standing(v[1]) > vault.Closed {
		return vault.Account{}, nil, ErrForm
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
	if more&moreAgreements != 0 {
		a.Agreements = r.agreements()
	}
	if more > moreLimits|moreHolder|moreAgreements {
		r.bad = true
	}
	var s chunk.Spine
	for range r.count() {
		s = append(s, chunk.Place{Index: int64(r.uint()), Slot: int(r.uint())})
	}
	if !r.done() || a.Version == 0 {
		return vault.Account{}, nil, ErrForm
	}
	return a, s, nil
}

// HoldKey returns the key of a hold.
func HoldKey(id vault.HoldID) []byte { return JournalKey(vault.JournalIndex(id)) }

// HoldID reads a key that HoldKey returned.
func HoldID(k []byte) (vault.HoldID, error) {
	id, err := JournalIndex(k)
	return vault.HoldID(id), err
}

// TextKey returns the key of a record whose key is text.
func TextKey(s string) []byte { return []byte(s) }

// KeyText reads a key that TextKey returned.
func KeyText(k []byte) (string, error) { return string(k), nil }

// EncodeHold returns the record of a hold.
func EncodeHold(h *vault.Hold) []byte {
	w := fields{[]byte{formHold, byte(h.State)}}
	w.int(int64(h.Amount))
	w.text(string(h.Account))
	return w.b
}

// DecodeHold reads what EncodeHold returned.
func DecodeHold(id vault.HoldID, v []byte) (vault.Hold, error) {
	if len(v) < 2 || v[0] != formHold || vault.HoldState(v[1]) > vault.HoldReleased {
		return vault.Hold{}, ErrForm
	}
	r := reader{b: v[2:]}
	h := vault.Hold{
		ID: id, State: vault.HoldState(v[1]), Amount: atm.Amount(r.int()),
		Account: vault.Name(r.text()),
	}
	if !r.done() {
		return vault.Hold{}, ErrForm
	}
	return h, nil
}

// EncodeRevocation returns the record of a revocation.
func EncodeRevocation(r *people.Revocation) []byte {
	var w fields
	w.int(r.At.UnixMicro())
	return w.b
}

// DecodeRevocation reads what EncodeRevocation returned.
func DecodeRevocation(name string, v []byte) (people.Revocation, error) {
	r := reader{b: v}
	revocation := people.Revocation{Name: name, At: time.UnixMicro(r.int()).UTC()}
	if !r.done() {
		return people.Revocation{}, ErrForm
	}
	return revocation, nil
}

// EncodeGrant returns the record of a grant.
func EncodeGrant(g *vault.Grant) []byte {
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

// DecodeGrant reads what EncodeGrant returned.
func DecodeGrant(id string, v []byte) (vault.Grant, error) {
	if len(v) < 1 || v[0] != formGrant {
		return vault.Grant{}, ErrForm
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
		return vault.Grant{}, ErrForm
	}
	return g, nil
}

// EncodeUser returns the record of a user.
func EncodeUser(u *people.User) []byte {
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

// DecodeUser reads what EncodeUser returned.
func DecodeUser(subject string, v []byte) (people.User, error) {
	if len(v) < 2 || v[0] != formUser || v[1] > 1 {
		return people.User{}, ErrForm
	}
	u := people.User{Subject: subject, Disabled: v[1] == 1}
	r := reader{b: v[2:]}
	for range r.count() {
		role, known := atm.ParseRole(r.text())
		if !known {
			return people.User{}, ErrForm
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
		return people.User{}, ErrForm
	}
	return u, nil
}

// DecodeCertificate reads what EncodeCertificate returned.
func DecodeCertificate(serial string, v []byte) (people.Certificate, error) {
	r := reader{b: v}
	c := people.Certificate{Serial: serial, Subject: r.text(), NotAfter: time.Unix(r.int(),
		0).UTC()}
	if len(r.b) > 0 { // older records end here
		c.Issued, c.Scope, c.Actor = time.Unix(r.int(), 0).UTC(), r.text(), r.text()
	}
	if !r.done() {
		return people.Certificate{}, ErrForm
	}
	return c, nil
}

// EncodeCertificate returns the record of a certificate.
func EncodeCertificate(c *people.Certificate) []byte {
	var w fields
	w.text(c.Subject)
	w.int(c.NotAfter.Unix())
	if !c.Issued.IsZero() {
		w.int(c.Issued.Unix())
		w.text(c.Scope)
		w.text(c.Actor)
	}
	return w.b
}

// JournalKey returns the key of the chunk of the journal that begins with an entry.
func JournalKey(index vault.JournalIndex) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(index))
}

// JournalIndex reads a key that JournalKey returned.
func JournalIndex(k []byte) (vault.JournalIndex, error) {
	if len(k) != 8 {
		return 0, ErrForm
	}
	return vault.JournalIndex(binary.BigEndian.Uint64(k)), nil
}

// EncodeLogs returns the record of where audit logs began in the journal, the oldest first.
func EncodeLogs(logs []vault.JournalIndex) []byte {
	var w fields
	for _, begin := range logs {
		w.uint(uint64(begin))
	}
	return w.b
}

// DecodeLogs reads what EncodeLogs returned.
func DecodeLogs(v []byte) ([]vault.JournalIndex, error) {
	logs, r := []vault.JournalIndex{0}, reader{b: v}
	r.uint() // the first log begins at 0
	for len(r.b) > 0 {
		logs = append(logs, vault.JournalIndex(r.uint()))
	}
	if !r.done() {
		return nil, ErrForm
	}
	return logs, nil
}
