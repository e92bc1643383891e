package codec

import (
	"math"
	"time"

	"example.com/atm/vault/people"
)

// EncodePasskey returns the record of a passkey.
func EncodePasskey(p *people.Passkey) []byte {
	w := fields{[]byte{formPasskey, p.Flags}}
	w.text(p.Subject)
	w.text(p.Name)
	w.time(p.Added)
	w.text(string(p.Key))
	w.uint(uint64(p.Count))
	w.uint(uint64(len(p.Transports)))
	for _, transport := range p.Transports {
		w.text(transport)
	}
	w.time(p.Removed)
	return w.b
}

// DecodePasskey reads what EncodePasskey returned.
func DecodePasskey(id string, v []byte) (people.Passkey, error) {
	if len(v) < 2 || v[0] != formPasskey {
		return people.Passkey{}, ErrForm
	}
	r := reader{b: v[2:]}
	p := people.Passkey{
		ID: id, Flags: v[1], Subject: r.text(), Name: r.text(), Added: r.time(),
		Key: []byte(r.text()),
	}
	count := r.uint()
	p.Count = uint32(count)
	for range r.count() {
		p.Transports = append(p.Transports, r.text())
	}
	p.Removed = r.time()
	if !r.done() || count > math.MaxUint32 {
		return people.Passkey{}, ErrForm
	}
	return p, nil
}

// EncodeSession returns the record of a session.
func EncodeSession(s *people.Session) []byte {
	w := fields{[]byte{formSession}}
	if s.Issuer != "" {
		w.b[0] = formLogin
	}
	w.text(s.Subject)
	w.text(s.Method)
	w.text(s.Passkey)
	w.text(s.Agent)
	w.text(string(s.Bound))
	w.time(s.Begun)
	w.time(s.Seen)
	w.time(s.Ends)
	w.time(s.Ended)
	if s.Issuer != "" {
		w.text(s.Issuer)
		w.text(s.Person)
	}
	return w.b
}

// DecodeSession reads what EncodeSession returned.
func DecodeSession(id string, v []byte) (people.Session, error) {
	if len(v) < 1 || v[0] != formSession && v[0] != formLogin {
		return people.Session{}, ErrForm
	}
	r := reader{b: v[1:]}
	s := people.Session{
		ID: id, Subject: r.text(), Method: r.text(), Passkey: r.text(), Agent: r.text(),
	}
	if bound := r.text(); bound != "" {
		s.Bound = []byte(bound)
	}
	s.Begun, s.Seen, s.Ends, s.Ended = r.time(), r.time(), r.time(), r.time()
	if v[0] == formLogin {
		s.Issuer, s.Person = r.text(), r.text()
	}
	if !r.done() {
		return people.Session{}, ErrForm
	}
	return s, nil
}

// time writes a time to the microsecond; 0 for the zero time, which no record has otherwise.
func (f *fields) time(t time.Time) {
	if t.IsZero() {
		f.int(0)
	} else {
		f.int(t.UnixMicro())
	}
}

func (r *reader) time() time.Time {
	micros := r.int()
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}
