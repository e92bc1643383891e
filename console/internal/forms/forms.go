// Package forms says what the forms and the lists of the console are: which operation each is
// for, what is typed, what a page says before anything happens, and which command line does
// the same.
//
// It shows nothing and carries nothing out; package console does.
package forms

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"example.com/atm"
)

// An Action is an operation that a form asks for: the form, then a page that says in one line
// what would happen, and then the act.
type Action struct {
	Path, Title string
	Button      string
	Op          atm.Operation
	Fields      []Field // in the order of the parameters of the operation
	Line        func(Bank, url.Values) string
	Now         func(Bank, url.Values) string // what is in force before; or nil
	Back        string                        // path of the page that leads here
	Same        func(url.Values) []string
	Once        string // what the answer holds that is told once; empty for nothing

	// Tells returns what is shown after the act in place of its slip, and can be seen again; or
	// nil.
	Tells func(Bank, url.Values) atm.Record

	// Also finds what is wrong with fields that are right by themselves; or nil.
	Also func(values url.Values, problems map[string]string)
}

// Of actions to which the page of an account leads: the path of that page, before the number, and
// the parameter that has the number where no field has it. Of those to which the page of a
// subscription leads: the path of that, before the name.
const (
	ToAccount      = "accounts/"
	FromAccount    = "of"
	ToSubscription = "feed/subscriptions/"
)

// A Bank tells the caller more of what an action is about.
type Bank interface {
	// Look carries out an operation that changes nothing, about something or about the caller
	// alone. What is empty is left out. It returns nil when the caller may not do it, or there
	// is nothing.
	Look(op atm.Operation, about ...string) atm.Record

	// Rows is Look for an operation that lists what an account has.
	Rows(op atm.Operation, account string) []atm.Record

	// Moved says in words what an entry of the log moved. It is empty for an entry that the
	// caller may not see.
	Moved(index string) string
}

// Actions are all actions.
var Actions = slices.Concat(holdActions, paymentActions, userActions, accountActions,
	credentialActions, sessionActions, meActions, feedActions)

// At returns the action with a path.
func At(path string) *Action {
	i := slices.IndexFunc(Actions, func(a Action) bool { return a.Path == path })
	return &Actions[i]
}

// A Field is a parameter of an action, or of a list.
type Field struct {
	Name, Label string
	Hint        string
	Kind        Kind
	Options     []string // of a choice
	Optional    bool
	Fixed       string // what it always is, or noValue; it is not shown
	In          string // the parameter that it is a member of, if it is none itself
	Else        string // of a list: the flag of the command line that stands for no value
}

// noValue is the fixed value of a parameter that is left out.
const noValue = "-"

// A Kind says what is typed into a field.
type Kind uint8

// The kinds of fields.
const (
	Text       Kind = iota
	Given           // by the link that leads to the form; it is shown and not typed
	Amount          // of dollars
	Limitation      // an amount, or none
	Count           // a whole number
	Account         // a number of one
	Subject         // user:NAME or service:NAME
	Choice          // one of the options
	Choices         // some of the options, with spaces between them
	Lines           // of text
	Memo            // what a movement is for
	Date            // a day
	Clock           // a time of the day
	Zone            // a time zone
	DueDay          // of a week or of a month
	Own             // a number of an account, of the caller where that is all that they may name
	URL             // with https
	Name            // of a subscription: lower-case letters, digits and hyphens
	Yes             // 1 or nothing
)

// BadMemo says what is wrong with a memo.
const BadMemo = "A memo has at most 140 characters, 256 bytes, and no control or direction " +
	"characters."

var nameForm = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$`)

// Check says what is wrong with a value, in a sentence.
func (f *Field) Check(value string) string {
	if value == "" {
		if f.Optional {
			return ""
		}
		if f.Kind == Choices {
			return "Choose at least one " + strings.ToLower(strings.TrimSuffix(f.Label, "s")) + "."
		}
		return f.Label + " is missing."
	}
	switch f.Kind {
	case Amount, Limitation:
		if f.Kind == Limitation && value == "none" {
			return ""
		}
		switch _, code := atm.ParseAmount(value); code {
		case atm.OK:
		case atm.AmountPrecision:
			return "An amount has at most two digits after the point."
		case atm.AmountTooLarge:
			return "An amount is at most " + Dollars(atm.MaxAmount) + "."
		default:
			return "An amount is more than zero, like 12.50."
		}
	case Date, Clock, Zone, DueDay:
		return checkTime(f.Kind, value)
	case Count:
		if n, err := strconv.ParseInt(value, 10, 64); (err != nil || n < 0) && value != "none" {
			return "This is a whole number, like 20."
		}
	case Memo:
		if atm.CheckMemo(value) != nil {
			return BadMemo
		}
	case Account, Own:
		if _, ok := atm.ParseAccountID(value); !ok {
			return "An account number is 1 to 9007199254740991."
		}
	case Subject:
		if _, _, ok := atm.ParseSubject(value); !ok {
			return "Write it as user:NAME or service:NAME."
		}
	case URL:
		if u, err := url.Parse(value); err != nil || u.Scheme != "https" || u.Host == "" {
			return "Write it like https://books.example.com/atm."
		}
	case Name:
		if !nameForm.MatchString(value) {
			return "This is 1 to 32 lower-case letters, digits and hyphens."
		}
	case Yes:
		if value != "1" {
			return "This is 1 or nothing."
		}
	case Choice, Choices:
		for word := range strings.FieldsSeq(value) {
			if !slices.Contains(f.Options, word) {
				return "This is one of " + strings.Join(f.Options, ", ") + "."
			}
		}
	}
	return ""
}

// Typed reports whether a person fills the field in.
func (f *Field) Typed() bool { return f.Kind != Given && f.Fixed == "" }

// Values are the fields of the action as they were sent, and what is wrong with each.
func (a *Action) Values(form url.Values) (values url.Values, problems map[string]string) {
	values, problems = url.Values{}, make(map[string]string)
	for i := range a.Fields {
		f := &a.Fields[i]
		if f.Fixed != "" {
			continue
		}
		value := strings.TrimSpace(strings.Join(form[f.Name], " "))
		switch f.Kind {
		case Amount, Limitation:
			value = PlainAmount(value)
		case Date, Clock, Zone, DueDay:
			value = plainTime(f.Kind, value)
		}
		values.Set(f.Name, value)
		if problem := f.Check(value); problem != "" {
			problems[f.Name] = problem
		}
	}
	if a.Also != nil {
		a.Also(values, problems)
	}
	return values, problems
}

// Args are the arguments of the operation. Members that are left empty are left out.
func (a *Action) Args(values url.Values) (args []atm.Arg) {
	in := ""
	for _, f := range a.Fields {
		value := values.Get(f.Name)
		if f.In != "" {
			if f.In != in {
				args = append(args, atm.Arg{Kind: atm.Struct})
			}
			if in = f.In; value != "" {
				last := &args[len(args)-1]
				last.Members = append(last.Members, atm.Member{Name: f.Name, Arg: text(value)})
			}
			continue
		}
		switch in = ""; f.Fixed {
		case "":
			args = append(args, text(value))
		case noValue:
			args = append(args, atm.Arg{})
		default:
			args = append(args, text(f.Fixed))
		}
	}
	return args
}

// Command is the command line that does the same. What is still missing stands in it as a word in
// capital letters.
func (a *Action) Command(values url.Values) string {
	filled := maps.Clone(values)
	for i := range a.Fields {
		if f := &a.Fields[i]; f.Typed() && !f.Optional && filled.Get(f.Name) == "" {
			filled.Set(f.Name, strings.ToUpper(f.Name))
		}
	}
	return CommandLine(a.Same(filled)...)
}

// Asks reports whether the form has something to fill in.
func (a *Action) Asks() bool {
	return slices.ContainsFunc(a.Fields, func(f Field) bool { return f.Typed() })
}
