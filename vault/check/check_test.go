package check_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/check"
	"example.com/atm/vault/requestid"
)

// told returns problems, and a function that returns the sentences that were told of them.
func told() (*check.Problems, func() []string) {
	var list []string
	problems := check.NewProblems(func(problem string) { list = append(list, problem) })
	return problems, func() []string { return list }
}

func TestRequestIDThatLeadsToNoEntryIsNamedInHexadecimal(t *testing.T) {
	problems, list := told()
	logs := []vault.JournalIndex{0}
	journal := check.NewJournal(problems, vault.Base{}, logs)
	journal.Asked([]vault.KeptRequest{{Key: requestid.Key{0xab, 15: 1}, Index: 3}})
	journal.End(logs, nil, merkle.Head{})
	want := []string{"request id ab000000000000000000000000000001: journal entry 3: it is missing"}
	if got := list(); !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q", got, want)
	}
}

func TestPendingHoldsAreHeldAgainstTheirRecords(t *testing.T) {
	account := vault.Account{Name: "100", Balance: 500, Pending: []vault.Pending{
		{ID: 7, Amount: 200, Expires: time.Now().Add(time.Hour)},
	}}
	right := vault.Hold{ID: 7, Account: "100", Amount: 200}
	captured, less := right, right
	captured.State, less.Amount = vault.HoldCaptured, 100
	for _, tt := range []struct {
		name string
		hold vault.Hold
		err  error
		want []string
	}{
		{"as it is", right, nil, nil},
		{"captured", captured, nil, []string{"account 100: hold h7 is not as the account has it"}},
		{"less", less, nil, []string{"account 100: hold h7 is not as the account has it"}},
		{
			"missing", right, errors.New("there is none"),
			[]string{"account 100: hold h7: there is none"},
		},
	} {
		problems, list := told()
		check.NewChains(problems, false).Pending(&account, func(vault.HoldID) (vault.Hold, error) {
			return tt.hold, tt.err
		})
		if got := list(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: problems %q, want %q", tt.name, got, tt.want)
		}
	}
}
