package people

import "context"

// A Store lists the records of people. It is a part of vault.Store.
type Store interface {
	// Users returns every user, in order of subject.
	Users(ctx context.Context) ([]User, error)

	// Certificates returns those that were issued, in order of serial number. Of
	// those that ended more than a day ago some may be missing, and most are when
	// there are many.
	Certificates(ctx context.Context) ([]Certificate, error)

	// Revocations returns everything that was revoked, in order of name.
	Revocations(ctx context.Context) ([]Revocation, error)

	// Passkeys returns the passkeys of a subject, those that were removed too, in order of id.
	Passkeys(ctx context.Context, subject string) ([]Passkey, error)

	// Passkey returns a passkey, removed or not; nil when there is none with this id.
	Passkey(ctx context.Context, id string) (*Passkey, error)

	// Sessions returns the sessions of a subject, in order of id. Those that are over are
	// among them until they are swept, SessionKept after their end at the earliest.
	Sessions(ctx context.Context, subject string) ([]Session, error)

	// Session returns a session, over or not; nil when there is none with this id.
	Session(ctx context.Context, id string) (*Session, error)
}
