package methods_test

import (
	"testing"

	"example.com/atm"
	"example.com/atm/teller/methods"
)

func TestEveryMethodIsDeclaredSoThatItCanBeCalled(t *testing.T) {
	names := make(map[atm.Operation]bool)
	for _, m := range methods.All() {
		if names[m.Name] {
			t.Errorf("%s is declared twice", m.Name)
		}
		names[m.Name] = true
		if m.Help == "" {
			t.Errorf("%s has no help", m.Name)
		}
		optional := false
		for i, p := range m.Params {
			if m.Position(p.Name) != i {
				t.Errorf("%s has two parameters called %s", m.Name, p.Name)
			}
			if optional && !p.Optional {
				t.Errorf("%s needs %s, which stands behind an optional parameter", m.Name, p.Name)
			}
			optional = optional || p.Optional
			if p.Help == "" || len(p.Kinds) == 0 {
				t.Errorf("%s has the parameter %s without help or kinds", m.Name, p.Name)
			}
			if !p.Optional && !p.Example.Given() {
				t.Errorf("%s needs %s, of which it has no example", m.Name, p.Name)
			}
		}
	}
}

func TestAnswerOfAListGrowsWithItsLimit(t *testing.T) {
	all := methods.All()
	var list *methods.Method
	for i := range all {
		if all[i].Name == atm.Statement {
			list = &all[i]
		}
		if all[i].Name == atm.Deposit && (!all[i].HasShortAnswers() ||
			all[i].AnswerBytes(nil) != 0) {
			t.Error("the answer to a deposit is not short")
		}
	}
	of := func(limit string) int64 {
		return list.AnswerBytes([]atm.Arg{{}, {Kind: atm.Struct, Members: []atm.Member{
			{Name: "limit", Arg: atm.Arg{Kind: atm.Int, Text: limit}},
		}}})
	}
	row := of("2") - of("1")
	if row <= 0 || of("100") != 101*row || list.AnswerBytes(nil) != 51*row {
		t.Errorf("a row has %d bytes, a hundred %d, a page without a limit %d", row, of("100"),
			list.AnswerBytes(nil))
	}
	if of("501") != of("500") || of("-1") != of("0") || of("x") != of("50") {
		t.Error("a limit out of range is not read as the one that is used")
	}
}
