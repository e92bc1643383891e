package people

import (
	"time"

	"example.com/atm"
)

// A Session is a browser in which a user has signed in.
type Session struct {
	ID      string // SHA-256 of the secret in its cookie, in base64url
	Subject string
	Method  string // by which it began, as atm.Credential.Method
	Passkey string // the id of the passkey by which it began; empty for another method
	Issuer  string // the OpenID provider by which it began; empty for another method
	Person  string // the sub of the user there
	Agent   string // what the browser calls itself
	Bound   []byte // what else it is bound to, see Authenticator.Session of package auth

	// Begun is when it began, Ends when it ends at the latest, and Ended when it was ended,
	// zero for one that was not. Seen is the time of an entry that it made: the newest, or one
	// less than seenEvery before it.
	Begun, Seen, Ends, Ended time.Time
}

const (
	// SessionLife is how long a session lasts at most, and SessionIdle how long without an
	// operation.
	SessionLife = 8 * time.Hour
	SessionIdle = 15 * time.Minute

	// SessionKept is how long stores keep a session after its end.
	SessionKept = 24 * time.Hour

	seenEvery = time.Minute
)

// Over reports whether s has ended by itself or was ended.
func (s *Session) Over(now time.Time) bool {
	return !s.Ended.IsZero() || !now.Before(s.Ends) || now.Sub(s.Seen) >= SessionIdle
}

// Use notes that an entry of now is by s, and reports whether that changed s.
func (s *Session) Use(now time.Time) bool {
	if s.Over(now) || now.Sub(s.Seen) < seenEvery {
		return false
	}
	s.Seen = now
	return true
}

// SessionsRevocation names the revocation of all sessions of a subject that began before.
func SessionsRevocation(subject string) string { return "sessions:" + subject }

// Session returns a session, over or not.
func (b *Books) Session(id string) (Session, bool) { return b.sessions.Get(id) }

// BeginSession begins a session. One that begins with a passkey notes what the device said of
// it: its count and its flags.
type BeginSession struct {
	Session
	Count uint32
	Flags uint8
}

// Keys implements Rule.
func (r BeginSession) Keys(k *Keys) {
	k.Sessions = append(k.Sessions, r.ID)
	k.Users = append(k.Users, r.Subject)
	if r.Passkey != "" {
		k.Passkeys = append(k.Passkeys, r.Passkey)
	}
}

// Decide implements Rule.
func (r BeginSession) Decide(b *Books) atm.Status {
	if u, known := b.User(r.Subject); !known || u.Disabled {
		return notAllowed
	}
	if _, known := b.Session(r.ID); known {
		return notAllowed
	}
	if r.Passkey != "" {
		use := UsePasskey{Subject: r.Subject, ID: r.Passkey, Count: r.Count, Flags: r.Flags}
		if status := use.Decide(b); status.Code != atm.OK {
			return status
		}
	}
	s := r.Session
	s.Begun, s.Seen, s.Ends, s.Ended = b.Now, b.Now, b.Now.Add(SessionLife), time.Time{}
	b.sessions.Put(s.ID, s)
	return ok("")
}

// CountWentBack is the reason why a passkey is refused whose device counts fewer signatures
// than before.
const CountWentBack = "The passkey counts fewer signatures than before: there may be a copy of it"

// EndSession ends a session of Subject.
type EndSession struct{ Subject, ID string }

// Keys implements Rule.
func (r EndSession) Keys(k *Keys) { k.Sessions = append(k.Sessions, r.ID) }

// Decide implements Rule.
func (r EndSession) Decide(b *Books) atm.Status {
	s, known := b.Session(r.ID)
	if !known || s.Subject != r.Subject {
		return refuse(atm.AccountNotFound, "There is no session "+r.ID)
	}
	if s.Ended.IsZero() {
		s.Ended = b.Now
		b.sessions.Put(s.ID, s)
	}
	return ok("")
}

// Record is the session as its user sees it.
func (s *Session) Record() atm.Record {
	return atm.Record{
		{Name: "id", Value: s.ID},
		{Name: "method", Value: s.Method},
		{Name: "passkey", Value: s.Passkey},
		{Name: "agent", Value: s.Agent},
		{Name: "begun", Value: s.Begun.Format(time.RFC3339)},
		{Name: "seen", Value: s.Seen.Format(time.RFC3339)},
		{Name: "ends", Value: s.Ends.Format(time.RFC3339)},
	}
}

// Visit adds what Absent and Visited need of the session of a caller; nothing for another
// caller.
func (k *Keys) Visit(c *atm.Caller) {
	if c == nil || c.Session == "" {
		return
	}
	k.Sessions = append(k.Sessions, c.Session)
	k.Users = append(k.Users, c.Subject)
	k.Revocations = append(k.Revocations, ofSubject(c.Subject), SessionsRevocation(c.Subject))
	if c.Method == "passkey" {
		k.Passkeys = append(k.Passkeys, c.ID)
	}
}

// Absent refuses what a caller does in a session that is over, and reports whether it does.
// The request was looked at when it arrived; what was ended since then is refused here.
func (b *Books) Absent(c *atm.Caller) (atm.Status, bool) {
	if c == nil || c.Session == "" {
		return atm.Status{}, false
	}
	s, known := b.Session(c.Session)
	over := !known || s.Subject != c.Subject || s.Over(b.Now)
	for _, name := range []string{ofSubject(c.Subject), SessionsRevocation(c.Subject)} {
		at, revoked := b.Revoked(name)
		over = over || revoked && !s.Begun.After(at)
	}
	if c.Method == "passkey" {
		_, has := b.of(c.Subject, c.ID)
		over = over || !has
	}
	u, known := b.User(c.Subject)
	if over || !known || u.Disabled {
		return refuse(atm.PermissionDenied, "The session is over: sign in again"), true
	}
	return atm.Status{}, false
}

// Visited notes that an entry is by the session of a caller.
func (b *Books) Visited(c *atm.Caller) {
	if c == nil || c.Session == "" {
		return
	}
	if s, known := b.Session(c.Session); known && s.Use(b.Now) {
		b.sessions.Put(s.ID, s)
	}
}
