package vault

import (
	"errors"
	"fmt"

	"example.com/atm"
)

// A Record names a record of the books, to say that it could not be read.
type Record struct{ Kind, Key string }

// AccountRecord and those below name records by their kinds.
func AccountRecord(n Name) Record { return Record{"account", string(n)} }

// UserRecord names what is known of a subject.
func UserRecord(subject string) Record { return Record{"user", subject} }

// HoldRecord names a hold.
func HoldRecord(id HoldID) Record { return Record{"hold", id.String()} }

// GrantRecord names a grant.
func GrantRecord(id string) Record { return Record{"grant", id} }

// RevocationRecord names a revocation.
func RevocationRecord(name string) Record { return Record{"revocation", name} }

// RequestRecord names what a request id was answered with.
func RequestRecord(key RequestKey) Record { return Record{"request id", fmt.Sprintf("%x", key[:])} }

// Damaged are records that a store could not read, and why.
type Damaged map[Record]error

// Note notes that a record could not be read.
func (d *Damaged) Note(r Record, err error) {
	if *d == nil {
		*d = make(Damaged)
	}
	(*d)[r] = fmt.Errorf("%s %s: %w", r.Kind, r.Key, err)
}

// of is why a command that needs these records cannot be decided; nil when it can.
func (d Damaged) of(b *Books, k *Keys) error {
	for _, n := range k.Accounts {
		if err := d[AccountRecord(n)]; err != nil {
			return err
		}
	}
	for _, id := range k.Holds {
		if err := d[HoldRecord(id)]; err != nil {
			return err
		}
		if h := b.holds[id]; h != nil && d[AccountRecord(h.Account)] != nil {
			return d[AccountRecord(h.Account)]
		}
	}
	for _, subject := range k.Users {
		if err := d[UserRecord(subject)]; err != nil {
			return err
		}
	}
	for _, id := range k.Grants {
		if err := d[GrantRecord(id)]; err != nil {
			return err
		}
	}
	for _, name := range k.Revocations {
		if err := d[RevocationRecord(name)]; err != nil {
			return err
		}
	}
	for _, key := range k.Requests {
		if err := d[RequestRecord(key)]; err != nil {
			return err
		}
	}
	return nil
}

// unreadable answers a command that needs a record which is damaged, or whose rule has a
// mistake. No entry holds it, and nothing was changed: other commands go on, and the operator
// has something to mend.
func (b *Books) unreadable(err error) atm.Status {
	b.broken = append(b.broken, err)
	return refuse(atm.Internal, reasonOf(err))
}

// mistaken reports whether an operation failed because of a mistake in its rule.
func mistaken(err error) bool { return errors.Is(err, ErrNotAsked) || errors.Is(err, errAmount) }

func reasonOf(err error) string {
	if mistaken(err) {
		return reasonMistake
	}
	return reasonDamaged
}
