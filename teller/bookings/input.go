package bookings

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
	"example.com/atm/vault/holder"
	"example.com/atm/vault/people"
)

// An Input is a call on its way to its rule.
type Input struct {
	Method *methods.Method
	Caller *atm.Caller
	Args   []atm.Arg // one for each parameter
	Reach  atm.Reach

	// Inquires says that the caller may know the balance of an account that a booking reaches.
	Inquires bool

	Holders *holder.Hasher // of names, for Named

	Find  Finder           // of what an entry moved
	About []people.Warrant // whom the call names, and what must be true of them

	read   []string  // the text of each argument as its rule understood it; "" for as written
	memory [4]string // for read, which most need no more of
}

// Named returns the arguments by name, as the audit log keeps them: all that
// were given but for the request id and what is secret, with hashes for names of holders.
func (in *Input) Named() []audit.Arg {
	args := make([]audit.Arg, 0, len(in.Args))
	account := "" // that a name belongs to
	for i, arg := range in.Args {
		p := in.Method.Params[i]
		if !arg.Given() || p.Name == methods.RequestID || p.Secret {
			continue
		}
		if p.Members != nil {
			args = appendMembers(args, &p, arg.Members)
			continue
		}
		text := arg.Text
		if arg.Kind == atm.Struct {
			text = members(arg.Members)
		}
		if in.read != nil && in.read[i] != "" {
			text = in.read[i]
		}
		switch {
		case p.Hashed:
			text = in.Holders.Hash(account, text)
		case p.URL:
			text = withoutUser(text)
		case p.Name == "account":
			account = text
		}
		args = append(args, audit.Arg{Name: p.Name, Value: text})
	}
	return args
}

// withoutUser leaves a user name and a password out of a URL. Such a URL is refused, but the entry
// about that stays for ever.
func withoutUser(text string) string {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return text
	}
	if u, err := url.Parse(text); err == nil && u.User == nil && u.Opaque == "" {
		return text // it is in the path
	}
	return "…" + text[at:]
}

// appendMembers adds the members that a parameter has as arguments of their own. The others are of
// a malformed call, and their names and number the caller's choice: all of them are one argument,
// so that an entry has no key but ours, and is not too long.
func appendMembers(args []audit.Arg, p *methods.Param, list []atm.Member) []audit.Arg {
	var others []atm.Member
	for _, m := range list {
		switch {
		case !m.Arg.Given():
		case p.Members[m.Name] == nil:
			others = append(others, m)
		default:
			args = append(args, audit.Arg{Name: m.Name, Value: m.Arg.Text})
		}
	}
	if others != nil {
		args = append(args, audit.Arg{Name: p.Name, Value: members(others)})
	}
	return args
}

// members writes the members of a struct in one line, for the audit log.
func members(list []atm.Member) string {
	var words []string
	for _, m := range list {
		if m.Arg.Given() {
			words = append(words, m.Name+"="+m.Arg.Text)
		}
	}
	slices.Sort(words)
	return strings.Join(words, " ")
}

// Understood notes how the argument at position i was read, so that "5", 5
// and "5.00" are one meaning in the audit log and for the request id.
func (in *Input) Understood(i int, text string) {
	if in.read == nil {
		in.read = append(in.memory[:0], make([]string, len(in.Args))...)
	}
	in.read[i] = text
}

// Account reads the argument at position i. When it is no account number the
// answer is notFound's, the same as for an account that does not exist.
func (in *Input) Account(i int, notFound func(string) atm.Status) (vault.Name, vault.Rule) {
	id, ok := in.Args[i].Account()
	if !ok {
		return "", vault.Refusal(notFound(Shorten(in.Args[i].Text)))
	}
	in.Understood(i, id.String())
	return vault.Numbered(id), nil
}

// Amount reads the argument at position i.
func (in *Input) Amount(i int) (atm.Amount, vault.Rule) {
	amount, code := in.Args[i].Amount()
	if code != atm.OK {
		return 0, vault.Refuse(code, AmountReasons[code])
	}
	in.Understood(i, amount.String())
	return amount, nil
}

var AmountReasons = map[atm.Code]string{
	atm.AmountInvalid:     "The amount is not a decimal number of dollars",
	atm.AmountNotPositive: "The amount must be above zero",
	atm.AmountPrecision:   "The amount has a fraction of a cent",
	atm.AmountTooLarge:    "The amount is above 1000000000000.00",
}

// Party is whose accounts the caller may use.
func (in *Input) Party() vault.Party {
	if in.Reach == atm.Everywhere {
		return vault.Party{}
	}
	return vault.Party{Owner: in.Caller.Subject}
}

// Shorten bounds what an answer repeats of an argument.
func Shorten(s string) string {
	const longest = 64 // characters
	n := 0
	for i := range s {
		if n++; n > longest {
			return strings.ToValidUTF8(s[:i], "\ufffd") + "…"
		}
	}
	return s
}

// holder reads the argument at position i, the name of a holder; "" when it was left out.
func (in *Input) holder(i int) (string, error) {
	arg := in.Args[i]
	if !arg.Given() {
		return "", nil
	}
	if err := atm.CheckText(arg.Text); err != nil {
		return "", Malformed("the name of a holder has %w", err)
	}
	return arg.Text, nil
}

// movement reads account and amount. Both are read even if the first is
// wrong, so that the audit log has both as they were understood.
func (in *Input) movement() (vault.Name, atm.Amount, vault.Rule) {
	account, noAccount := in.Account(0, vault.NotFound)
	amount, noAmount := in.Amount(1)
	if noAmount != nil {
		return "", 0, noAmount
	}
	return account, amount, noAccount
}

// A MalformedError says what is wrong with a call in a way that no status dict
// can answer: the number or kind of its parameters, or a value that is no
// amount and no account. Its text is for the caller.
type MalformedError struct{ err error }

// Error implements error.
func (e *MalformedError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *MalformedError) Unwrap() error { return e.err }

func Malformed(format string, args ...any) error {
	return &MalformedError{fmt.Errorf(format, args...)}
}

var errSubject = Malformed("a subject is user:NAME or service:NAME, NAME of 1 to 64 letters, " +
	"digits and . _ -")

func CheckSubject(s string) error {
	if _, _, ok := atm.ParseSubject(s); !ok {
		return errSubject
	}
	return nil
}
