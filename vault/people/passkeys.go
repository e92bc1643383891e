package people

import (
	"time"

	"example.com/atm"
)

// A Passkey is the public half of a key that a device of a user keeps (WebAuthn).
type Passkey struct {
	ID      string // the credential id, in base64url
	Subject string
	Name    string // for people
	Added   time.Time

	// Key is the public key as COSE has it, and Count the signatures that the device said it
	// had made at the last sign-in; devices that share a key say 0. Flags are those of its
	// authenticator data, and Transports how a browser reaches it.
	Key        []byte
	Count      uint32
	Flags      uint8
	Transports []string

	// Removed is when it was removed, zero while it counts. The record stays, so the same
	// key is never added again, and entries from before can be checked.
	Removed time.Time
}

// MaxPasskeys is how many passkeys a user can have at once.
const MaxPasskeys = 20

// Passkey returns a passkey, removed or not.
func (b *Books) Passkey(id string) (Passkey, bool) { return b.passkeys.Get(id) }

// add adds a passkey to those of its subject, who is known. The refusal is of a kind that no
// request id is answered with again: an invitation that brings it stays good.
func (b *Books) add(p Passkey) (atm.Status, bool) {
	if _, known := b.Passkey(p.ID); known {
		return refuse(atm.PermissionDenied, "This passkey was added before"), false
	}
	p.Added = b.Now
	b.passkeys.Put(p.ID, p)
	return atm.Status{}, true
}

// AddPasskey adds a passkey to those of its subject.
type AddPasskey struct{ Passkey }

// Keys implements Rule.
func (r AddPasskey) Keys(k *Keys) {
	k.Users = append(k.Users, r.Subject)
	k.Passkeys = append(k.Passkeys, r.ID)
}

// Decide implements Rule.
func (r AddPasskey) Decide(b *Books) atm.Status {
	if _, known := b.User(r.Subject); !known {
		return noSubject(r.Subject)
	}
	if no, added := b.add(r.Passkey); !added {
		return no
	}
	return ok("")
}

// of returns the passkey with this id, if subject has it.
func (b *Books) of(subject, id string) (Passkey, bool) {
	p, known := b.Passkey(id)
	return p, known && p.Subject == subject && p.Removed.IsZero()
}

// noPasskey answers for a passkey that does not exist, and for one of somebody else.
func noPasskey(id string) atm.Status {
	return refuse(atm.AccountNotFound, "There is no passkey "+id)
}

// RenamePasskey gives a passkey of Subject another name.
type RenamePasskey struct{ Subject, ID, Name string }

// Keys implements Rule.
func (r RenamePasskey) Keys(k *Keys) { k.Passkeys = append(k.Passkeys, r.ID) }

// Decide implements Rule.
func (r RenamePasskey) Decide(b *Books) atm.Status {
	p, has := b.of(r.Subject, r.ID)
	if !has {
		return noPasskey(r.ID)
	}
	p.Name = r.Name
	b.passkeys.Put(p.ID, p)
	return ok("")
}

// RemovePasskey removes a passkey of Subject. Sessions that began with it end.
type RemovePasskey struct{ Subject, ID string }

// Keys implements Rule.
func (r RemovePasskey) Keys(k *Keys) { k.Passkeys = append(k.Passkeys, r.ID) }

// Decide implements Rule.
func (r RemovePasskey) Decide(b *Books) atm.Status {
	p, has := b.of(r.Subject, r.ID)
	if !has {
		return noPasskey(r.ID)
	}
	p.Removed = b.Now
	b.passkeys.Put(p.ID, p)
	return ok("")
}

// UsePasskey notes that a passkey of Subject has signed: what its device said of it.
type UsePasskey struct {
	Subject, ID string
	Count       uint32
	Flags       uint8
}

// Keys implements Rule.
func (r UsePasskey) Keys(k *Keys) { k.Passkeys = append(k.Passkeys, r.ID) }

// Check answers whether the passkey counts.
func (r UsePasskey) Check(b *Books) atm.Status {
	p, has := b.of(r.Subject, r.ID)
	switch {
	case !has:
		return notAllowed
	case !p.Counts(r.Count):
		return refuse(atm.PermissionDenied, CountWentBack)
	}
	return ok("")
}

// Decide implements Rule.
func (r UsePasskey) Decide(b *Books) atm.Status {
	status := r.Check(b)
	if status.Code == atm.OK {
		p, _ := b.of(r.Subject, r.ID)
		p.Count, p.Flags = r.Count, r.Flags
		b.passkeys.Put(p.ID, p)
	}
	return status
}

// Record is the passkey as its user sees it.
func (p *Passkey) Record() atm.Record {
	return atm.Record{
		{Name: "id", Value: p.ID},
		{Name: "name", Value: p.Name},
		{Name: "added", Value: p.Added.Format(time.RFC3339)},
		{Name: "synced", Value: p.Flags&flagBackedUp != 0},
	}
}

// flagBackedUp is set in the authenticator data of a passkey that other devices of its user
// have as well (WebAuthn, section 6.1).
const flagBackedUp = 1 << 4

// Counts reports whether count can come after those of p: it grows, or the device counts
// nothing. One that does not grow says that somebody has made a copy of the key.
func (p *Passkey) Counts(count uint32) bool {
	return count > p.Count || count == 0 && p.Count == 0
}
