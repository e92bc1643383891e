package codec

import (
	"example.com/atm/vault"
	"example.com/atm/vault/feeds"
	"example.com/atm/vault/people"
	"example.com/atm/vault/record"
)

// A Kind is how the records of one kind are named, found in what a transaction is about, and
// written as bytes. The accounts are none: the record of one has the spine of its history, too.
type Kind[K comparable, V any] struct {
	Name    string // in problems
	Derived bool   // a replay of the journal makes the records again

	List   func(*vault.Records) *[]V
	Key    func(*V) K
	Asked  func(*vault.Keys) []K // nil for a kind that no rule asks for
	Loaded func(*vault.Loaded) *record.Loaded[K, V]

	ToKey   func(K) []byte
	FromKey func([]byte) (K, error)
	Encode  func(*V) []byte
	Decode  func(K, []byte) (V, error)
}

// The kinds of records beside the accounts.
var (
	Holds = Kind[vault.HoldID, vault.Hold]{
		Name: "hold", Derived: true,
		List:   func(r *vault.Records) *[]vault.Hold { return &r.Holds },
		Key:    func(h *vault.Hold) vault.HoldID { return h.ID },
		Asked:  func(k *vault.Keys) []vault.HoldID { return k.Holds },
		Loaded: func(l *vault.Loaded) *record.Loaded[vault.HoldID, vault.Hold] { return &l.Holds },
		ToKey:  HoldKey, FromKey: HoldID, Encode: EncodeHold, Decode: DecodeHold,
	}
	Grants = Kind[string, vault.Grant]{
		Name:   "grant",
		List:   func(r *vault.Records) *[]vault.Grant { return &r.Grants },
		Key:    func(g *vault.Grant) string { return g.ID },
		Asked:  func(k *vault.Keys) []string { return k.Grants },
		Loaded: func(l *vault.Loaded) *record.Loaded[string, vault.Grant] { return &l.Grants },
		ToKey:  TextKey, FromKey: KeyText, Encode: EncodeGrant, Decode: DecodeGrant,
	}
	Users = Kind[string, people.User]{
		Name:   "user",
		List:   func(r *vault.Records) *[]people.User { return &r.Users },
		Key:    func(u *people.User) string { return u.Subject },
		Asked:  func(k *vault.Keys) []string { return k.Users },
		Loaded: func(l *vault.Loaded) *record.Loaded[string, people.User] { return &l.Users },
		ToKey:  TextKey, FromKey: KeyText, Encode: EncodeUser, Decode: DecodeUser,
	}
	Revocations = Kind[string, people.Revocation]{
		Name:  "revocation",
		List:  func(r *vault.Records) *[]people.Revocation { return &r.Revocations },
		Key:   func(r *people.Revocation) string { return r.Name },
		Asked: func(k *vault.Keys) []string { return k.Revocations },
		Loaded: func(l *vault.Loaded) *record.Loaded[string, people.Revocation] {
			return &l.Revocations
		},
		ToKey: TextKey, FromKey: KeyText, Encode: EncodeRevocation, Decode: DecodeRevocation,
	}
	Certificates = Kind[string, people.Certificate]{
		Name:  "certificate",
		List:  func(r *vault.Records) *[]people.Certificate { return &r.Certificates },
		Key:   func(c *people.Certificate) string { return c.Serial },
		ToKey: TextKey, FromKey: KeyText, Encode: EncodeCertificate, Decode: DecodeCertificate,
	}
	Passkeys = Kind[string, people.Passkey]{
		Name:   "passkey",
		List:   func(r *vault.Records) *[]people.Passkey { return &r.Passkeys },
		Key:    func(p *people.Passkey) string { return p.ID },
		Asked:  func(k *vault.Keys) []string { return k.Passkeys },
		Loaded: func(l *vault.Loaded) *record.Loaded[string, people.Passkey] { return &l.Passkeys },
		ToKey:  TextKey, FromKey: KeyText, Encode: EncodePasskey, Decode: DecodePasskey,
	}
	Sessions = Kind[string, people.Session]{
		Name:   "session",
		List:   func(r *vault.Records) *[]people.Session { return &r.Sessions },
		Key:    func(s *people.Session) string { return s.ID },
		Asked:  func(k *vault.Keys) []string { return k.Sessions },
		Loaded: func(l *vault.Loaded) *record.Loaded[string, people.Session] { return &l.Sessions },
		ToKey:  TextKey, FromKey: KeyText, Encode: EncodeSession, Decode: DecodeSession,
	}
	Mandates = Kind[vault.MandateID, vault.Mandate]{
		Name: "mandate", Derived: true,
		List:  func(r *vault.Records) *[]vault.Mandate { return &r.Mandates },
		Key:   func(m *vault.Mandate) vault.MandateID { return m.ID },
		Asked: func(k *vault.Keys) []vault.MandateID { return k.Mandates },
		Loaded: func(l *vault.Loaded) *record.Loaded[vault.MandateID, vault.Mandate] {
			return &l.Mandates
		},
		ToKey: MandateKey, FromKey: MandateID, Encode: EncodeMandate, Decode: DecodeMandate,
	}
	Orders = Kind[vault.OrderID, vault.Order]{
		Name: "standing order", Derived: true,
		List:  func(r *vault.Records) *[]vault.Order { return &r.Orders },
		Key:   func(o *vault.Order) vault.OrderID { return o.ID },
		Asked: func(k *vault.Keys) []vault.OrderID { return k.Orders },
		Loaded: func(l *vault.Loaded) *record.Loaded[vault.OrderID, vault.Order] {
			return &l.Orders
		},
		ToKey: OrderKey, FromKey: OrderID, Encode: EncodeOrder, Decode: DecodeOrder,
	}
	Reversals = Kind[vault.JournalIndex, vault.Reversal]{
		Name: "reversal", Derived: true,
		List:  func(r *vault.Records) *[]vault.Reversal { return &r.Reversals },
		Key:   func(r *vault.Reversal) vault.JournalIndex { return r.Of },
		Asked: func(k *vault.Keys) []vault.JournalIndex { return k.Reversals },
		Loaded: func(l *vault.Loaded) *record.Loaded[vault.JournalIndex, vault.Reversal] {
			return &l.Reversals
		},
		ToKey: JournalKey, FromKey: JournalIndex, Encode: EncodeReversal, Decode: DecodeReversal,
	}
	Feeds = Kind[string, feeds.Book]{
		Name:   "subscriptions of",
		List:   func(r *vault.Records) *[]feeds.Book { return &r.Feeds },
		Key:    func(b *feeds.Book) string { return b.Owner },
		Asked:  func(k *vault.Keys) []string { return k.Feeds },
		Loaded: func(l *vault.Loaded) *record.Loaded[string, feeds.Book] { return &l.Feeds },
		ToKey:  TextKey, FromKey: KeyText, Encode: EncodeBook, Decode: DecodeBook,
	}
	Cursors = Kind[feeds.ID, feeds.Cursor]{
		Name:  "cursor",
		List:  func(r *vault.Records) *[]feeds.Cursor { return &r.Cursors },
		Key:   func(c *feeds.Cursor) feeds.ID { return c.ID },
		ToKey: CursorKey, FromKey: CursorID, Encode: EncodeCursor, Decode: DecodeCursor,
	}
)
