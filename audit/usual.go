package audit

import (
	"strings"

	"example.com/atm"
	"example.com/atm/audit/canonical"
)

// A reader reads what a writer wrote. It knows no other JSON: it fails at white space, at keys
// in another order, at escaped characters.
type reader struct {
	rest   string
	comma  bool // a comma belongs before the next key or item
	failed bool // from here on nothing that it returns means anything
}

// readUsual reads an entry of the usual form, at a fraction of the cost of package json: one in
// canonical JSON, without escaped characters and without what only starts, stops, summaries and
// confirmed entries have. It returns false for any other, of which package json says what it is.
//
// What replays and monitors keep of many entries (subjects, accounts and arguments) has memory
// of its own. All other strings are parts of leaf.
func (in *wire) readUsual(leaf string) bool {
	r := reader{rest: leaf}
	r.open('{')
	r.args(&in.Args)
	if r.key("code") {
		code := atm.Code(r.text())
		in.Code = &code
	}
	r.credential(&in.Cred)
	r.field("debtor", &in.Debtor)
	if r.key("ev") {
		in.Event = Event(r.text())
	}
	r.field("expires", &in.Expires)
	r.field("id", &in.ID)
	r.number("minted", &in.Minted)
	r.field("next", &in.Next)
	if r.key("op") {
		in.Operation = atm.Operation(r.text())
	}
	r.field("reason", &in.Reason)
	if r.key("replay_of") {
		of := r.int()
		in.ReplayOf = &of
	}
	r.field("request", &in.Request)
	r.field("result", &in.Result)
	r.number("reverses", &in.Reverses)
	r.field("signature", &in.Signature)
	r.source(&in.Source)
	r.state(&in.State)
	r.field("status", &in.Status)
	r.field("t", &in.Time)
	r.number("v", &in.Version)
	r.who(&in.Who)
	r.close('}')
	return !r.failed && r.rest == ""
}

func (r *reader) args(to *wireArgs) {
	if !r.key("args") {
		return
	}
	const usual = 4
	r.open('{')
	for r.more('}') {
		r.item()
		name := r.text()
		r.byte(':')
		if n := len(*to); n == 0 {
			*to = make(wireArgs, 0, usual)
		} else if name <= (*to)[n-1].Name {
			r.failed = true
		}
		*to = append(*to, Arg{name, r.kept()})
	}
	r.close('}')
}

func (r *reader) credential(cred *wireCredential) {
	if !r.key("cred") {
		return
	}
	r.open('{')
	r.field("id", &cred.Passkey)
	r.field("iss", &cred.Issuer)
	r.field("jti", &cred.ID)
	r.field("kid", &cred.Key)
	r.field("method", &cred.Method)
	r.field("serial", &cred.Serial)
	r.field("session", &cred.Session)
	r.field("sha256", &cred.SHA256)
	r.field("sub", &cred.Person)
	r.field("user", &cred.User)
	r.close('}')
}

func (r *reader) source(source *wireSource) {
	if !r.key("src") {
		return
	}
	r.open('{')
	r.field("ip", &source.IP)
	r.close('}')
}

func (r *reader) state(to *wireChanges) {
	if !r.key("state") {
		return
	}
	const usual = 2 // accounts of a movement
	r.open('[')
	for r.more(']') {
		if *to == nil {
			*to = make(wireChanges, 0, usual)
		}
		var change Change
		r.item()
		r.open('{')
		if r.key("account") {
			change.Account = r.kept()
		}
		r.money("after", &change.After)
		r.money("before", &change.Before)
		var version int64
		r.number("version", &version)
		r.close('}')
		change.Version = uint64(version)
		*to = append(*to, change)
	}
	r.close(']')
}

// money reads a member that must be there.
func (r *reader) money(name string, to *atm.Amount) {
	amount, ok := atm.Amount(0), r.key(name)
	if ok {
		amount, ok = atm.ParseMoney(r.text())
	}
	*to, r.failed = amount, r.failed || !ok
}

func (r *reader) who(to **wireCaller) {
	if !r.key("who") {
		return
	}
	who := &wireCaller{}
	r.open('{')
	if r.key("actor") {
		who.Actor = r.kept()
	}
	if r.key("roles") {
		who.Roles = make([]atm.Role, 0, 1)
		r.open('[')
		for r.more(']') {
			r.item()
			who.Roles = append(who.Roles, atm.Role(r.kept()))
		}
		r.close(']')
	}
	if r.key("subject") {
		who.Subject = r.kept()
	}
	r.close('}')
	*to = who
}

func (r *reader) open(bracket byte) { r.byte(bracket); r.comma = false }

func (r *reader) close(bracket byte) { r.byte(bracket); r.comma = true }

// more reports whether there is another item, or key, before a bracket.
func (r *reader) more(bracket byte) bool {
	return !r.failed && r.rest != "" && r.rest[0] != bracket
}

// item begins the next item, or the next key.
func (r *reader) item() {
	if r.comma {
		r.byte(',')
	}
	r.comma = true
}

// key begins a member, if it has this name.
func (r *reader) key(name string) bool {
	rest := r.rest
	if r.comma {
		if rest == "" || rest[0] != ',' {
			return false
		}
		rest = rest[1:]
	}
	const around = len(`"":`)
	n := len(name)
	if len(rest) < n+around || rest[0] != '"' || rest[1:1+n] != name || rest[1+n] != '"' ||
		rest[2+n] != ':' {
		return false
	}
	r.rest, r.comma = rest[n+around:], true
	return true
}

func (r *reader) field(name string, to *string) {
	if r.key(name) {
		*to = r.text()
	}
}

func (r *reader) number(name string, to *int64) {
	if r.key(name) {
		*to = r.int()
	}
}

func (r *reader) byte(b byte) {
	if r.rest == "" || r.rest[0] != b {
		r.failed = true
		return
	}
	r.rest = r.rest[1:]
}

func (r *reader) text() string {
	text, rest, ok := canonical.CutString(r.rest)
	r.rest, r.failed = rest, r.failed || !ok
	return text
}

// kept is text in memory of its own.
func (r *reader) kept() string { return strings.Clone(r.text()) }

// int reads a number of up to 15 digits, which is below 2^53.
func (r *reader) int() (n int64) {
	digits := 0
	for digits < len(r.rest) && '0' <= r.rest[digits] && r.rest[digits] <= '9' {
		n = 10*n + int64(r.rest[digits]-'0')
		digits++
	}
	const most = 15
	if digits == 0 || digits > most || digits > 1 && r.rest[0] == '0' {
		r.failed = true
	}
	r.rest = r.rest[digits:]
	return n
}
