package forms_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/teller/methods"
)

// nobody is a bank that tells nothing more.
type nobody struct{}

func (nobody) Look(atm.Operation, ...string) atm.Record { return nil }

func (nobody) Rows(atm.Operation, string) []atm.Record { return nil }

func (nobody) Moved(string) string { return "" }

// filled are values that every field of an action takes.
func filled(a *forms.Action) url.Values {
	values := url.Values{}
	for _, f := range a.Fields {
		values.Set(f.Name, map[forms.Kind]string{
			forms.Amount: "12.50", forms.Limitation: "none", forms.Count: "20",
			forms.Account: "100", forms.Subject: "user:alice", forms.Given: "h1",
			forms.Date: "31.1.2027", forms.Clock: "6:30 pm", forms.Zone: "europe/zurich",
			forms.DueDay: "1st", forms.Own: "100", forms.URL: "https://books.example.com/atm",
			forms.Name: "books", forms.Yes: "1",
		}[f.Kind])
		if f.Name == "to" && f.Kind == forms.Account { // another one than the money is on
			values.Set(f.Name, "200")
		}
		if len(f.Options) > 0 {
			values.Set(f.Name, f.Options[0])
		}
		if values.Get(f.Name) == "" {
			values.Set(f.Name, "words")
		}
	}
	return values
}

// parameters are the names of the parameters that an action fills in, each with those of its
// members.
func parameters(a *forms.Action) (names [][]string) {
	for _, f := range a.Fields {
		switch {
		case f.In == "":
			names = append(names, []string{f.Name})
		case len(names) == 0 || names[len(names)-1][0] != f.In:
			names = append(names, []string{f.In, f.Name})
		default:
			names[len(names)-1] = append(names[len(names)-1], f.Name)
		}
	}
	return names
}

// TestFieldsAreTheParametersOfTheirOperation holds each form against the declaration of its
// operation: what is typed must arrive in the place where the operation reads it.
func TestFieldsAreTheParametersOfTheirOperation(t *testing.T) {
	declared := make(map[atm.Operation][]methods.Param)
	for _, m := range methods.All() {
		declared[m.Name] = m.Params
	}
	for i := range forms.Actions {
		a := &forms.Actions[i]
		params, fields := declared[a.Op], parameters(a)
		if len(fields) > len(params) {
			t.Errorf("%s has %d fields, and %s has %d parameters", a.Path, len(fields), a.Op,
				len(params))
			continue
		}
		for j, p := range params {
			switch {
			case j < len(fields) && fields[j][0] != p.Name:
				t.Errorf("field %d of %s is %s, and %s takes %s there", j, a.Path, fields[j][0],
					a.Op, p.Name)
			case j >= len(fields) && !p.Optional:
				t.Errorf("%s has no field for %s", a.Path, p.Name)
			case j >= len(fields):
			case len(p.Members) != len(fields[j])-1:
				t.Errorf("%s has %d members of %s, and %s takes %d", a.Path, len(fields[j])-1,
					p.Name, a.Op, len(p.Members))
			}
		}
		for _, f := range a.Fields {
			at := slices.IndexFunc(params, func(p methods.Param) bool {
				return p.Name == f.Name || p.Name == f.In
			})
			switch {
			case f.Name == forms.FromAccount:
				t.Errorf("a field of %s has the name of the account that led to it", a.Path)
			case at < 0:
			case f.In == "" && f.Optional && !params[at].Optional:
				t.Errorf("%s may leave out %s, which %s needs", a.Path, f.Name, a.Op)
			case f.In != "" && !slices.Contains(params[at].Members[f.Name], atm.String):
				t.Errorf("%s of %s has no %s that is text", f.In, a.Op, f.Name)
			}
		}
	}
	for _, l := range forms.Lists {
		if len(declared[l.Op]) < len(l.Args(&l, url.Values{})) {
			t.Errorf("%s gives %s more than it takes", l.Path, l.Op)
		}
		for _, row := range l.Rows {
			a := forms.At(row.Path)
			for field := range row.Gives {
				if !slices.ContainsFunc(a.Fields, func(f forms.Field) bool {
					return f.Name == field
				}) {
					t.Errorf("%s gives %s, which %s does not take", l.Path, field, a.Path)
				}
			}
		}
	}
}

// TestFormSaysWhatWouldHappenAndWithWhichCommand fills each form in, wrong and right.
func TestFormSaysWhatWouldHappenAndWithWhichCommand(t *testing.T) {
	for i := range forms.Actions {
		a := &forms.Actions[i]
		values, problems := a.Values(filled(a))
		if len(problems) > 0 {
			t.Errorf("%s: %v", a.Path, problems)
		}
		line := a.Line(nobody{}, values)
		if !strings.HasSuffix(line, ".") || !strings.Contains(line, " ") {
			t.Errorf("%s says %q", a.Path, line)
		}
		// A passkey and a session of one's own are changed in the browser alone.
		if command := a.Command(values); !strings.HasPrefix(command, "atm") && a.Back != "me" {
			t.Errorf("%s is at the command line %q", a.Path, command)
		}
		wrong := url.Values{}
		for _, f := range a.Fields {
			wrong.Set(f.Name, "<b>")
		}
		_, problems = a.Values(wrong)
		for _, f := range a.Fields {
			checked := f.Typed() && f.Kind != forms.Text && f.Kind != forms.Lines &&
				f.Kind != forms.Memo
			if (problems[f.Name] != "") != checked {
				t.Errorf("%s takes <b> for %s: %q", a.Path, f.Name, problems[f.Name])
			}
		}
	}
}

func TestCommandLineIsReadByAShellAsItWasMeant(t *testing.T) {
	for want, words := range map[string][]string{
		"atmctl user add alice":              {"atmctl", "user", "add", "alice"},
		`atmctl account list --owner 'a; b'`: {"atmctl", "account", "list", "--owner", "a; b"},
		`x '$(id)' '' 'it'\''s'`:             {"x", "$(id)", "", "it's"},
	} {
		if got := forms.CommandLine(words...); got != want {
			t.Errorf("%q is written %s, want %s", words, got, want)
		}
	}
}

func TestAmountsAreWrittenForPeople(t *testing.T) {
	for amount, want := range map[atm.Amount][2]string{
		0:            {"$0.00", "+0.00"},
		160900:       {"$1,609.00", "+1,609.00"},
		-39200:       {"−$392.00", "−392.00"},
		123456789012: {"$1,234,567,890.12", "+1,234,567,890.12"},
	} {
		if got := [2]string{forms.Dollars(amount), forms.Signed(amount)}; got != want {
			t.Errorf("%d is written %q, want %q", amount, got, want)
		}
		if back := forms.ParseSigned(amount.String()); back != amount {
			t.Errorf("%s is read as %d", amount, back)
		}
	}
}

// limited is a bank whose accounts have limits.
type limited struct {
	nobody
	limits atm.Record
}

func (l limited) Look(atm.Operation, ...string) atm.Record {
	return atm.Record{{Name: "limits", Value: l.limits}}
}

// TestFormOfLimitsSaysWhichAreInForce opens the form of an account with limits, without any, and
// of one that the caller may not know.
func TestFormOfLimitsSaysWhichAreInForce(t *testing.T) {
	form := forms.At("admin/accounts/limit")
	for want, bank := range map[string]forms.Bank{
		"In force: $500.00 at once, $1,000.00 a day, 20 times a day.": limited{limits: atm.Record{
			{Name: "per_operation", Value: "500.00"},
			{Name: "daily_amount", Value: "1000.00"},
			{Name: "daily_count", Value: int64(20)},
		}},
		"No limit is in force.": limited{},
		"":                      nobody{},
	} {
		if got := form.Now(bank, url.Values{"account": {"100"}}); got != want {
			t.Errorf("the form says %q, want %q", got, want)
		}
	}
}

// TestGrantWithoutAnOperationAsksForOne leaves all operations of a grant out.
func TestGrantWithoutAnOperationAsksForOne(t *testing.T) {
	_, problems := forms.At("grants/give").Values(url.Values{"to": {"bob"}})
	for field, want := range map[string]string{
		"operations": "Choose at least one operation.",
		"to":         "Write it as user:NAME or service:NAME.",
	} {
		if got := problems[field]; got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
}

// TestRowOfAStandingOrderSaysWhenItPaysAndHowItWent shows orders that pay, that wait for money, and
// whose last payment was refused.
func TestRowOfAStandingOrderSaysWhenItPaysAndHowItWent(t *testing.T) {
	order := func(every string, on int64, state, outcome string) atm.Record {
		return atm.Record{
			{Name: "every", Value: every},
			{Name: "on", Value: on},
			{Name: "at", Value: "06:30"},
			{Name: "zone", Value: "UTC"},
			{Name: "until", Value: "2999-12-31"},
			{Name: "state", Value: state},
			{Name: "outcome", Value: outcome},
		}
	}
	shown := func(label string, row atm.Record) string {
		for _, c := range forms.Orders.Columns {
			if c.Label == label {
				return c.Of(row).Text
			}
		}
		return ""
	}
	for _, tt := range []struct {
		row         atm.Record
		when, state string
	}{
		{
			order("day", 0, "active", ""), "Every day at 06:30 in UTC until 31 December 2999", "active",
		},
		{
			order("week", 7, "active", "OK"), "Every Sunday at 06:30 in UTC until 31 December 2999",
			"active, paid last time",
		},
		{
			order("month", 31, "waiting", "INSUFFICIENT_FUNDS"),
			"On the last day of every month at 06:30 in UTC until 31 December 2999",
			"waiting for money, last time refused: INSUFFICIENT_FUNDS",
		},
	} {
		if got := shown("When", tt.row); got != tt.when {
			t.Errorf("it is due %q, want %q", got, tt.when)
		}
		if got := shown("State", tt.row); got != tt.state {
			t.Errorf("it is %q, want %q", got, tt.state)
		}
	}
}
