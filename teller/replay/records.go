package replay

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller"
	"example.com/atm/teller/words"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
)

// records are what the entries of a journal say of everything but accounts and holds.
type records struct {
	rules    Rules
	books    *vault.Replayer // before the entry
	problems *check.Problems
	newest   time.Time // of an entry

	users    map[string]*person
	invited  map[string][]invited // by subject
	revoked  revocations
	grants   grants
	asked    requests
	browsers browsers
	feeds    feedBooks
}

// A person is a user as the journal says. An invitation is in the journal, and which one
// was followed is not, so that there may be several sets of roles that they can have.
type person struct {
	roles    [][]atm.Role
	ever     map[atm.Role]bool // given to them at some time
	since    time.Time         // when roles were given last
	unclear  bool              // their roles are not in the journal in full
	disabled bool
	seen     bool // their record was shown
}

type invited struct {
	roles []atm.Role
	until time.Time
}

func newRecords(rules Rules, logs []vault.JournalIndex, books *vault.Replayer,
	problems *check.Problems,
) *records {
	return &records{
		rules: rules, books: books, problems: problems,
		users: make(map[string]*person), invited: make(map[string][]invited),
		revoked: revocations{at: make(map[string]time.Time), maybe: make(map[string][]time.Time)},
		grants: grants{
			used: make(map[string][]use), before: make(map[string]atm.Amount),
		},
		asked: requests{byTail: make(map[requestid.Tail]answered)}, browsers: newBrowsers(),
		feeds: newFeedBooks(rules, logs),
	}
}

// entry learns what an entry changed, and which request id it answered. The books are as they were
// before it.
func (r *records) entry(index vault.JournalIndex, e *audit.Entry, a answer) {
	if e.Time.After(r.newest) {
		r.newest = e.Time
	}
	r.asked.entry(r.problems, index, e, a, r.newest)
	args := argsOf(e)
	r.browsers.entry(e, args)
	if e.Event == audit.EventFeedStopped {
		r.feeds.stopped(args)
	}
	if e.Status == nil || e.Status.Code != atm.OK || e.Caller == nil || e.ReplayOf >= 0 {
		return
	}
	r.feeds.entry(r.problems, index, e, args)
	r.roles(index, e)
	r.owners(index, e, args)
	if e.Caller.Actor != "" {
		r.grants.use(index, e, args)
	}
	r.administration(index, e, args)
}

func argsOf(e *audit.Entry) map[string]string {
	args := make(map[string]string, len(e.Args))
	for _, a := range e.Args {
		args[a.Name] = a.Value
	}
	return args
}

func (r *records) administration(index vault.JournalIndex, e *audit.Entry, args map[string]string) {
	subject := args["subject"]
	switch e.Operation {
	case atm.UserAdd, atm.CertIssue:
		r.enrol(subject, args["roles"], e.Time)
	case atm.CertRenew:
		r.enrol(e.Caller.Subject, "", e.Time)
	case atm.CertEnroll:
		r.enrolled(e.Caller.Subject, e.Time)
	case atm.CertInvite:
		roles, err := words.Roles(args["roles"])
		wait, errWait := time.ParseDuration(args["wait"])
		if err == nil {
			if errWait != nil {
				wait = teller.InvitationWait
			}
			r.invited[subject] = append(r.invited[subject],
				invited{roles, e.Time.Add(wait + slack)})
		} else {
			r.user(subject).unclear = true
		}
	case atm.UserDisable, atm.UserEnable:
		if p := r.users[subject]; p != nil {
			p.disabled = e.Operation == atm.UserDisable
		}
	case atm.UserRevoke:
		r.revoked.at["subject:"+subject] = e.Time
	case atm.CertRevoke:
		if serial, ok := words.Serial(args["serial"]); ok {
			r.revoked.at["cert:"+serial] = e.Time
		}
	case atm.TokenRevoke:
		issuer := args["issuer"]
		if issuer == r.rules.Issuer {
			issuer = ""
		}
		r.revoked.at[people.TokenRevocation(issuer, args["jti"])] = e.Time
	case atm.SessionEnd, atm.UserSessionEnd:
		if args["session"] == "*" {
			r.revoked.at[people.SessionsRevocation(cmp.Or(subject, e.Caller.Subject))] = e.Time
		}
	case atm.GrantRevoke:
		r.revoked.at[people.TokenRevocation("", args["grant"])] = e.Time
	case atm.TokenGiveUp:
		r.revoked.at[people.TokenRevocation("", args["jti"])] = e.Time
	case atm.GrantCreate:
		r.grants.create(index, e, args)
	}
}

// slack bounds how far the clock that a credential ends by is from that of the journal, and
// how long a commit takes.
const slack = time.Minute

func (r *records) user(subject string) *person {
	p := r.users[subject]
	if p == nil {
		p = &person{ever: make(map[atm.Role]bool)}
		r.users[subject] = p
	}
	return p
}

func (p *person) give(at time.Time, sets ...[]atm.Role) {
	p.roles, p.since = nil, at
	for _, roles := range sets {
		roles = slices.Clone(roles)
		slices.Sort(roles)
		p.roles = append(p.roles, slices.Compact(roles))
		for _, role := range roles {
			p.ever[role] = true
		}
	}
}

// enrol is what people.Enrol does.
func (r *records) enrol(subject, listed string, at time.Time) {
	known := r.users[subject] != nil
	p := r.user(subject)
	roles, err := words.Roles(listed)
	switch {
	case err != nil: // it is too long for an entry
		p.unclear = true
	case len(roles) > 0:
		p.give(at, roles)
		p.unclear = false
		if known {
			r.revoked.at[people.RolesRevocation(subject)] = at
		}
	case !known:
		p.give(at, []atm.Role{words.Newcomer(subject)})
	}
}

// enrolled is what people.Invited does, by any of the invitations that are good then.
func (r *records) enrolled(subject string, at time.Time) {
	known := r.users[subject] != nil
	p := r.user(subject)
	kept := [][]atm.Role{{words.Newcomer(subject)}}
	if known {
		kept = p.roles
	}
	var sets [][]atm.Role
	var giving, keeping int
	for _, i := range r.invited[subject] {
		switch {
		case i.until.Before(at):
		case len(i.roles) > 0:
			giving++
			sets = append(sets, i.roles)
		default:
			keeping++
			sets = append(sets, kept...)
		}
	}
	switch name := people.RolesRevocation(subject); {
	case len(sets) == 0: // an older version had invitations of another life
		p.unclear = true
		r.revoked.maybe[name] = append(r.revoked.maybe[name], at)
		return
	case known && giving > 0 && keeping == 0:
		r.revoked.at[name] = at
	case known && giving > 0:
		r.revoked.maybe[name] = append(r.revoked.maybe[name], at)
	}
	p.give(at, sets...)
}

// roles looks whether somebody acted in a role that the journal never gave them.
func (r *records) roles(index vault.JournalIndex, e *audit.Entry) {
	p := r.users[e.Caller.Subject]
	if p == nil || p.unclear {
		return
	}
	for _, role := range e.Caller.Roles {
		if !p.ever[role] {
			r.problems.Add("entry %d: %s acted as %s, which nobody had made them", index,
				e.Caller.Subject, role)
		}
	}
}

// owners looks whether the accounts that somebody acted on were theirs.
func (r *records) owners(index vault.JournalIndex, e *audit.Entry, args map[string]string) {
	if strings.HasPrefix(e.Caller.Subject, "system:") {
		return // the program itself
	}
	var names []vault.Name
	switch e.Operation {
	case atm.Inquiry, atm.Deposit, atm.Withdraw, atm.Authorize, atm.Statement, atm.GrantCreate,
		atm.MandateCreate, atm.OrderCreate, atm.FeedAdd:
		names = []vault.Name{vault.Name(args["account"])}
		for word := range strings.FieldsSeq(args["more"]) {
			if id, ok := atm.ParseAccountID(word); ok && whole(args["more"]) {
				names = append(names, vault.Numbered(id))
			}
		}
	case atm.Transfer:
		names = []vault.Name{vault.Name(args["from"])}
	case atm.MandateRevoke:
		if id, ok := vault.ParseMandateID(args["mandate"]); ok {
			if m, known := r.books.Mandate(id); known {
				names = []vault.Name{m.Account}
			}
		}
	case atm.OrderCancel:
		if id, ok := vault.ParseOrderID(args["order"]); ok {
			if o, known := r.books.Order(id); known {
				names = []vault.Name{o.Account}
			}
		}
	case atm.Collect:
		names = []vault.Name{vault.Name(args["to"])}
		id, _ := vault.ParseMandateID(args["mandate"])
		if m, known := r.books.Mandate(id); known && m.Creditor != e.Caller.Subject {
			r.problems.Add("entry %d: %s collected by mandate %s, which %s has", index,
				e.Caller.Subject, id, m.Creditor)
		}
	case atm.Reverse:
		if len(e.State) == 2 {
			names = []vault.Name{vault.Name(e.State[0].Account)}
		}
	case atm.Capture, atm.Release:
		if id, ok := vault.ParseHoldID(args["hold"]); ok {
			if h, known := r.books.Hold(id); known {
				names = []vault.Name{h.Account}
			}
		}
	}
	if r.rules.Permit(e.Caller.Principal, e.Operation) != atm.Owned {
		return
	}
	for _, name := range names {
		if owner := r.books.Account(name).Owner; owner != e.Caller.Subject {
			r.problems.Add("entry %d: %s of %s on account %s, which was not theirs but %s's",
				index, e.Operation, e.Caller.Subject, name, cmp.Or(owner, "nobody"))
		}
	}
}

// whole reports whether an argument is in an entry as it was given.
func whole(arg string) bool { return !strings.Contains(arg, "…") }

// part holds records of a store against what the entries said. All of them come before.
func (r *records) part(p *vault.Part) {
	for i := range p.Users {
		r.checkUser(&p.Users[i])
	}
	for i := range p.Grants {
		r.grants.check(r.problems, &p.Grants[i])
	}
	for i := range p.Revocations {
		r.revoked.check(r.problems, &p.Revocations[i])
	}
	for i := range p.Passkeys {
		r.checkPasskey(&p.Passkeys[i])
	}
	for i := range p.Sessions {
		r.checkSession(&p.Sessions[i])
	}
	for i := range p.Feeds {
		r.feeds.check(r.problems, &p.Feeds[i])
	}
	for i := range p.Cursors {
		r.feeds.checkCursor(r.problems, &p.Cursors[i])
	}
	for i := range p.Requests {
		r.asked.check(r.problems, &p.Requests[i], r.newest)
	}
}

func stamp(t time.Time) string { return t.UTC().Format(audit.TimeFormat) }

func (r *records) checkUser(u *people.User) {
	p := r.users[u.Subject]
	if p == nil {
		r.problems.Add("user %s is in no journal entry", u.Subject)
		return
	}
	p.seen = true
	fits := p.unclear || slices.ContainsFunc(p.roles, func(roles []atm.Role) bool {
		return slices.Equal(roles, u.Roles)
	})
	if !fits {
		r.problems.Add("user %s has the roles %v; the journal says %v", u.Subject, u.Roles,
			p.roles[0])
	}
	if p.disabled != u.Disabled {
		r.problems.Add("user %s is recorded as disabled: %t; the journal says %t", u.Subject,
			u.Disabled, p.disabled)
	}
}

// end tells of what the journal says and the store does not have.
func (r *records) end() {
	for subject, p := range r.users {
		if !p.seen && len(p.roles) > 0 {
			r.problems.Add("user %s is in the journal and has no record", subject)
		}
	}
	r.revoked.end(r.problems, r.newest)
	r.grants.end(r.problems, r.newest)
	r.endBrowsers()
	r.feeds.end(r.problems)
	r.asked.end(r.problems, r.newest)
}
