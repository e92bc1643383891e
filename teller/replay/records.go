package replay

import (
	"cmp"
	"slices"
	"strconv"
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
	invited  map[string][]invited   // by subject
	revoked  map[string]time.Time   // by name
	maybe    map[string][]time.Time // when a revocation of this name may have been made as well
	grants   []*given
	used     map[string][]use // by the id of the grant
	asked    requests
	browsers browsers

	firstRoles time.Time // of the revocations that setting roles made
}

// A person is a user as the journal says. An invitation is in the journal, and which one
// was followed is not, so that there may be several sets of roles that they can have.
type person struct {
	roles    [][]atm.Role
	ever     map[atm.Role]bool // given to them at some time
	unclear  bool              // their roles are not in the journal in full
	disabled bool
	seen     bool // their record was shown
}

type invited struct {
	roles []atm.Role
	until time.Time
}

// A given is a grant as the entry says that made it. The id is in the token alone.
type given struct {
	index    vault.JournalIndex
	grant    vault.Grant // Expires is when it ends at the latest
	earliest time.Time   // that it ends; zero when that is not known
	partly   bool        // not all of its accounts are in the entry
	seen     bool
}

// A use is what somebody did under a grant.
type use struct {
	index          vault.JournalIndex
	subject, actor string
	op             atm.Operation
	account        string
	amount         atm.Amount
}

// requests are the request ids that entries answered within requestid.Life.
type requests struct {
	byTail map[requestid.Tail]answered
	today  int64 // day of the newest entry
}

type answered struct {
	index vault.JournalIndex
	at    time.Time
	key   requestid.Key // without a time in it
}

// fits reports whether k can be the key of the id. Whether there is a time in it, and which, is
// not in the entry; but no id is answered that is older than requestid.Life, and none is made up
// by a clock that is years ahead.
func (a *answered) fits(k requestid.Key) bool {
	const day = 24 * time.Hour
	after := k.Minted().Sub(a.at)
	return k == a.key || after >= -requestid.Life-day && after <= 5*365*day
}

func newRecords(rules Rules, books *vault.Replayer, problems *check.Problems) *records {
	return &records{
		rules: rules, books: books, problems: problems,
		users: make(map[string]*person), invited: make(map[string][]invited),
		revoked:  make(map[string]time.Time),
		maybe:    make(map[string][]time.Time),
		used:     make(map[string][]use),
		asked:    requests{byTail: make(map[requestid.Tail]answered)},
		browsers: newBrowsers(),
	}
}

// entry learns what an entry changed. The books are as they were before it.
func (r *records) entry(index vault.JournalIndex, e *audit.Entry) {
	if e.Time.After(r.newest) {
		r.newest = e.Time
	}
	r.request(index, e)
	args := make(map[string]string, len(e.Args))
	for _, a := range e.Args {
		args[a.Name] = a.Value
	}
	r.browsers.entry(e, args)
	if e.Status == nil || e.Status.Code != atm.OK || e.Caller == nil || e.ReplayOf >= 0 {
		return
	}
	r.roles(index, e)
	r.owners(index, e, args)
	if e.Caller.Actor != "" {
		amount, _ := atm.Arg{Kind: atm.String, Text: args["amount"]}.Amount()
		r.used[e.Caller.ID] = append(r.used[e.Caller.ID], use{
			index, e.Caller.Subject, e.Caller.Actor, e.Operation,
			cmp.Or(args["account"], args["from"]), amount,
		})
	}
	r.administration(index, e, args)
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
		r.revoked["subject:"+subject] = e.Time
	case atm.CertRevoke:
		if serial, ok := words.Serial(args["serial"]); ok {
			r.revoked["cert:"+serial] = e.Time
		}
	case atm.TokenRevoke:
		issuer := args["issuer"]
		if issuer == r.rules.Issuer {
			issuer = ""
		}
		r.revoked[people.TokenRevocation(issuer, args["jti"])] = e.Time
	case atm.SessionEnd, atm.UserSessionEnd:
		if args["session"] == "*" {
			r.revoked[people.SessionsRevocation(cmp.Or(subject, e.Caller.Subject))] = e.Time
		}
	case atm.GrantRevoke:
		r.revoked[people.TokenRevocation("", args["grant"])] = e.Time
	case atm.TokenGiveUp:
		r.revoked[people.TokenRevocation("", args["jti"])] = e.Time
	case atm.GrantCreate:
		r.grant(index, e, args)
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

func (p *person) give(sets ...[]atm.Role) {
	p.roles = nil
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
		p.give(roles)
		p.unclear = false
		if known {
			r.revoked[people.RolesRevocation(subject)] = at
		}
	case !known:
		p.give([]atm.Role{words.Newcomer(subject)})
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
		r.maybe[name] = append(r.maybe[name], at)
		return
	case known && giving > 0 && keeping == 0:
		r.revoked[name] = at
	case known && giving > 0:
		r.maybe[name] = append(r.maybe[name], at)
	}
	p.give(sets...)
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
	case atm.Inquiry, atm.Deposit, atm.Withdraw, atm.Authorize, atm.Statement, atm.GrantCreate:
		names = []vault.Name{vault.Name(args["account"])}
		for word := range strings.FieldsSeq(args["more"]) {
			if id, ok := atm.ParseAccountID(word); ok && whole(args["more"]) {
				names = append(names, vault.Numbered(id))
			}
		}
	case atm.Transfer:
		names = []vault.Name{vault.Name(args["from"])}
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

// request notes an entry as the answer to a request id.
func (r *records) request(index vault.JournalIndex, e *audit.Entry) {
	kept := requestid.Day(r.newest.Add(-requestid.Life))
	if today := requestid.Day(r.newest); today != r.asked.today {
		r.asked.today = today
		for tail, first := range r.asked.byTail {
			if requestid.Day(first.at) < kept {
				delete(r.asked.byTail, tail)
			}
		}
	}
	if e.Status == nil || !e.Status.Code.Remembered() {
		return
	}
	key, asked := requestid.KeyOf(e)
	if !asked {
		return
	}
	tail := key.Tail()
	if first, twice := r.asked.byTail[tail]; twice && requestid.Day(first.at) >= kept {
		r.problems.Add("entry %d: %s of %s was carried out again: entry %d answered its request "+
			"id already",
			index, e.Operation, e.Caller.Subject, first.index)
	}
	r.asked.byTail[tail] = answered{index, e.Time, key}
}

func (r *records) grant(index vault.JournalIndex, e *audit.Entry, args map[string]string) {
	life := teller.GrantLife
	if n, err := strconv.ParseInt(args["seconds"], 10, 64); err == nil {
		life = time.Duration(n) * time.Second
	}
	limit, _ := atm.Arg{Kind: atm.String, Text: args["cap"]}.Amount()
	g := &given{index: index, partly: !whole(args["more"]), grant: vault.Grant{
		Grantor: e.Caller.Subject, Grantee: args["to"], Cap: limit,
		Expires: e.Time.Add(life + slack),
	}}
	if !e.Caller.Derived() { // a token can make nothing that lives longer than itself
		g.earliest = e.Time.Add(life - slack)
	}
	if accounts, err := words.Granted(vault.Name(args["account"]),
		args["more"]); err == nil {
		g.grant.Accounts = accounts
	}
	operations := strings.Fields(args["operations"])
	slices.Sort(operations)
	for _, op := range slices.Compact(operations) {
		g.grant.Operations = append(g.grant.Operations, atm.Operation(op))
	}
	r.grants = append(r.grants, g)
}

// part holds records of a store against what the entries said. All of them come before.
func (r *records) part(p *vault.Part) {
	for i := range p.Users {
		r.checkUser(&p.Users[i])
	}
	for i := range p.Grants {
		r.checkGrant(&p.Grants[i])
	}
	for _, row := range p.Revocations {
		at, is := r.revoked[row.Name]
		switch {
		case slices.ContainsFunc(r.maybe[row.Name], row.At.Equal):
		case !is:
			r.problems.Add("revocation %s is in no journal entry", row.Name)
		case !at.Equal(row.At):
			r.problems.Add("revocation %s is of %s; the journal says %s", row.Name, stamp(row.At),
				stamp(at))
		}
		if strings.HasPrefix(row.Name, people.RolesRevocation("")) && (r.firstRoles.IsZero() ||
			row.At.Before(r.firstRoles)) {
			r.firstRoles = row.At
		}
		delete(r.revoked, row.Name)
	}
	for i := range p.Passkeys {
		r.checkPasskey(&p.Passkeys[i])
	}
	for i := range p.Sessions {
		r.checkSession(&p.Sessions[i])
	}
	for i := range p.Requests {
		r.checkRequest(&p.Requests[i])
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

func (r *records) checkGrant(g *vault.Grant) {
	var best *given
	for _, made := range r.grants {
		if !made.seen && made.fits(g) && (best == nil ||
			g.Expires.Sub(made.grant.Expires).Abs() < g.Expires.Sub(best.grant.Expires).Abs()) {
			best = made
		}
	}
	if best == nil {
		r.problems.Add("grant %s, of %s to %s for %v on %v up to %s until %s, is not as any "+
			"journal entry made it",
			g.ID, g.Grantor, g.Grantee, g.Operations, g.Accounts, g.Cap, stamp(g.Expires))
	} else {
		best.seen = true
	}
	var spent atm.Amount
	for _, u := range r.used[g.ID] {
		spent += u.amount
		if u.subject != g.Grantor || u.actor != g.Grantee || !slices.Contains(g.Operations, u.op) ||
			!slices.Contains(g.Accounts, vault.Name(u.account)) {
			r.problems.Add("entry %d: %s of %s on account %s is not what grant %s is for", u.index,
				u.op, u.actor, u.account, g.ID)
		}
	}
	if spent != g.Spent {
		r.problems.Add("grant %s has spent %s; its journal entries %s", g.ID, g.Spent, spent)
	}
	delete(r.used, g.ID)
}

// fits reports whether g can be what the entry made.
func (made *given) fits(g *vault.Grant) bool {
	m := &made.grant
	return m.Grantor == g.Grantor && m.Grantee == g.Grantee && m.Cap == g.Cap &&
		slices.Equal(m.Operations, g.Operations) &&
		(made.partly || slices.Equal(m.Accounts, g.Accounts)) && !g.Expires.After(m.Expires) &&
		!g.Expires.Before(made.earliest)
}

func (r *records) checkRequest(row *vault.KeptRequest) {
	tail := row.Key.Tail()
	first, is := r.asked.byTail[tail]
	switch {
	case row.Day < requestid.Day(r.newest.Add(-requestid.Life)) && !is:
		return // it is over, and not swept away yet
	case !is:
		r.problems.Add("request id %x is that of no journal entry", row.Key)
		return
	case !first.fits(row.Key):
		r.problems.Add("request id %x is not that of journal entry %d", row.Key, first.index)
	case first.index != row.Index:
		r.problems.Add("request id %x leads to journal entry %d; it was answered in %d", row.Key,
			row.Index, first.index)
	case row.Day != requestid.Day(first.at):
		r.problems.Add("request id %x is recorded as answered on day %d; the journal says %d",
			row.Key, row.Day, requestid.Day(first.at))
	}
	delete(r.asked.byTail, tail)
}

// revocationKept is how long a store keeps the revocation of a token or an invitation at
// least, none of which lives for more than six days.
const revocationKept = 13 * 24 * time.Hour

// end tells of what the journal says and the store does not have.
func (r *records) end() {
	for subject, p := range r.users {
		if !p.seen && len(p.roles) > 0 {
			r.problems.Add("user %s is in the journal and has no record", subject)
		}
	}
	for name, at := range r.revoked {
		// Older programs recorded none of these. From the first one on, the store has all.
		if strings.HasPrefix(name, people.RolesRevocation("")) && (r.firstRoles.IsZero() ||
			at.Before(r.firstRoles)) {
			continue
		}
		if strings.HasPrefix(name, "jti:") && at.Before(r.newest.Add(-revocationKept)) {
			continue // what it was of is over, and a store may have swept it away
		}
		r.problems.Add("revocation %s of %s is in the journal and has no record", name, stamp(at))
	}
	for _, made := range r.grants {
		if !made.seen && made.grant.Expires.After(r.newest) {
			r.problems.Add("the grant of journal entry %d, of %s to %s, has no record as it was "+
				"made", made.index, made.grant.Grantor, made.grant.Grantee)
		}
	}
	r.endBrowsers()
	kept := requestid.Day(r.newest.Add(-requestid.Life))
	for _, first := range r.asked.byTail {
		if requestid.Day(first.at) >= kept {
			r.problems.Add("the request id that journal entry %d answered has no record",
				first.index)
		}
	}
}
