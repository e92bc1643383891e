package replay

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/assertion"
	"example.com/atm/teller/sessions"
	"example.com/atm/vault/people"
)

// browsers are the passkeys and sessions of users, as the journal says.
type browsers struct {
	passkeys map[string]*enrolled // by id
	sessions map[string]*people.Session
}

// An enrolled passkey is as the entry says that added it, and those that changed it since.
type enrolled struct {
	people.Passkey
	args []audit.Arg // of the entry that added it
}

func newBrowsers() browsers {
	return browsers{make(map[string]*enrolled), make(map[string]*people.Session)}
}

// entry learns what an entry did in a session, and to passkeys and sessions.
func (b *browsers) entry(e *audit.Entry, args map[string]string) {
	if e.Caller == nil {
		return
	}
	if s := b.sessions[e.Caller.Session]; s != nil {
		s.Use(e.Time)
	}
	if e.Status == nil || e.Status.Code != atm.OK || e.ReplayOf >= 0 {
		return
	}
	if a := e.Assertion; a != nil {
		if p := b.passkeys[a.Passkey]; p != nil {
			p.Count, p.Flags = assertion.Said(a).Count, assertion.Said(a).Flags
		}
	}
	subject := e.Caller.Subject
	switch e.Operation {
	case atm.UserPasskeyRemove, atm.UserSessionEnd:
		subject = args["subject"]
	}
	switch e.Operation {
	case atm.CertEnroll, atm.PasskeyAdd:
		if id := args["passkey"]; id != "" {
			count, flags := numbers(args)
			b.passkeys[id] = &enrolled{people.Passkey{
				ID: id, Subject: subject, Name: args["name"], Added: e.Time, Count: count,
				Flags: flags, Transports: strings.Fields(args["transports"]),
			}, e.Args}
		}
	case atm.PasskeyRename:
		if p := b.passkeys[args["passkey"]]; p != nil {
			p.Name = args["name"]
		}
	case atm.PasskeyRemove, atm.UserPasskeyRemove:
		if p := b.passkeys[args["passkey"]]; p != nil && p.Subject == subject {
			p.Removed = e.Time
		}
	case atm.SessionBegin:
		b.begin(e, args)
	case atm.SessionEnd, atm.UserSessionEnd:
		s := b.sessions[args["session"]]
		if s != nil && s.Subject == subject && s.Ended.IsZero() {
			s.Ended = e.Time
		}
	}
}

func (b *browsers) begin(e *audit.Entry, args map[string]string) {
	s := &people.Session{
		ID: args["session"], Subject: e.Caller.Subject, Method: e.Caller.Method,
		Agent: args["agent"], Begun: e.Time, Seen: e.Time, Ends: e.Time.Add(people.SessionLife),
	}
	b.sessions[s.ID] = s
	switch s.Method {
	case "oidc":
		s.Issuer, s.Person = e.Caller.Issuer, e.Caller.ID
		return
	case "passkey":
		s.Passkey = e.Caller.ID
	default:
		return
	}
	if p := b.passkeys[s.Passkey]; p != nil {
		p.Count, p.Flags = numbers(args)
	}
}

func numbers(args map[string]string) (count uint32, flags uint8) {
	n, _ := strconv.ParseUint(args["count"], 10, 32)
	f, _ := strconv.ParseUint(args["flags"], 10, 8)
	return uint32(n), uint8(f)
}

// checkPasskey holds a passkey of a store against the journal. Its key may be too long for an
// entry, which has its hash then.
func (r *records) checkPasskey(p *people.Passkey) {
	made := r.browsers.passkeys[p.ID]
	if made == nil {
		r.problems.Add("passkey %s is in no journal entry", p.ID)
		return
	}
	delete(r.browsers.passkeys, p.ID)
	first := *p
	first.Name, first.Count, first.Flags = "", 0, 0 // these change
	key := func(args []audit.Arg) audit.Arg {
		i := slices.IndexFunc(args, func(a audit.Arg) bool { return a.Name == "key" })
		return args[max(i, 0)]
	}
	m := &made.Passkey
	if m.Subject != p.Subject || m.Name != p.Name || m.Count != p.Count || m.Flags != p.Flags ||
		!slices.Equal(m.Transports, p.Transports) || !m.Added.Equal(p.Added) ||
		!m.Removed.Equal(p.Removed) ||
		key(made.args) != key(audit.Written(sessions.PasskeyArgs(&first))) {
		r.problems.Add("passkey %s is not as the journal says", p.ID)
	}
}

// checkSession holds a session of a store against the journal. What else it is bound to is in
// no entry: something else makes the session of no use.
func (r *records) checkSession(s *people.Session) {
	made := r.browsers.sessions[s.ID]
	if made == nil {
		r.problems.Add("session %s is in no journal entry", s.ID)
		return
	}
	delete(r.browsers.sessions, s.ID)
	if made.Subject != s.Subject || made.Method != s.Method || made.Passkey != s.Passkey ||
		made.Issuer != s.Issuer || made.Person != s.Person ||
		made.Agent != s.Agent || !made.Begun.Equal(s.Begun) || !made.Seen.Equal(s.Seen) ||
		!made.Ends.Equal(s.Ends) || !made.Ended.Equal(s.Ended) {
		r.problems.Add("session %s is not as the journal says", s.ID)
	}
}

// endBrowsers tells of passkeys and sessions that the store does not have.
func (r *records) endBrowsers() {
	for id := range r.browsers.passkeys {
		r.problems.Add("passkey %s is in the journal and has no record", id)
	}
	for id, s := range r.browsers.sessions {
		if s.Ends.Add(people.SessionKept - time.Hour).After(r.newest) {
			r.problems.Add("session %s is in the journal and has no record", id)
		}
	}
}
