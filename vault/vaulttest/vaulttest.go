// Package vaulttest is the suite that every vault.Store passes: what the
// contract says of one, and a ledger on top of it against a model.
package vaulttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
	"example.com/atm/vault"
	"example.com/atm/vault/ledger"
	"example.com/atm/vault/people"
	"example.com/atm/vault/requestid"
	"github.com/google/go-cmp/cmp"
)

// A Place is where one store lives, so that the suite can close it and open
// it again. Open creates the store the first time.
type Place interface {
	Open(t *testing.T) vault.Store
}

// Run runs the suite. place returns a new, empty place each time.
func Run(t *testing.T, place func(t *testing.T) Place) {
	for name, test := range map[string]func(*testing.T, Place){
		"EmptyStoreHasNothing":              testEmpty,
		"CommitIsWhole":                     testCommitIsWhole,
		"RefusalChangesNothing":             testDecideError,
		"EntriesAreReadInOrder":             testEntries,
		"AccountsAreListedInOrder":          testAccounts,
		"RequestIDHasOneEffect":             testRequestOnce,
		"RequestIDIsRememberedAcrossReopen": testRequestAcrossReopen,
		"RequestIDExpires":                  testRequestExpires,
		"HistoryIsReadFromAnyEntry":         testHistory,
		"StatementAgreesWithTheJournal":     testStatement,
		"TransferDebitsOneCreditsAnother":   testTransfer,
		"HoldsReserveMoney":                 testHolds,
		"HoldsExpire":                       testHoldsExpire,
		"HoldLivesInFull":                   testHoldLivesInFull,
		"LimitsBoundWhatLeaves":             testLimits,
		"RevokedCertificateIsNotRenewed":    testCertificates,
		"IssuedTokenIsFoundWithItsScope":    testIssuedTokens,
		"ImportIsAllOrNone":                 testAllOrNone,
		"CheckedUsersAreReportedByRow":      testCheckUsers,
		"ActOnAWithdrawnWarrantFails":       testWarrants,
		"UserIsKnownOrNewAtTheCommit":       testSomebody,
		"LastOperatorStays":                 testLastOperator,
		"ExpiredCertificatesAreForgotten":   testCertificatesEnd,
		"ClockThatJumpsEndsNoStore":         testClockJumps,
		"SignerRefusesFork":                 testSignerRefusesFork,
		"RebuildGivesTheSameBooks":          testRebuild,
		"EveryKindIsMoved":                  testEveryKindIsMoved,
		"DenialsAreBounded":                 testDenialsAreBounded,
		"SessionsEndByThemselves":           testSessionsEnd,
		"EndedSessionIsRefused":             testSessionsAreEnded,
		"PasskeysBelongToOneUser":           testPasskeys,

		"ForgottenKeyFailsAlone": testForgottenKey,
		"AmountsArePositive":     testAmountsArePositive,
		"StoreComparesVersions":  testStoreComparesVersions,
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
	RunAtOnce(t, place)
	t.Run("MovedStoreIsTheSame", func(t *testing.T) { testMove(t, place) })
	t.Run("EarlyAnswersAreNoticed", func(t *testing.T) { testEarlyAnswersAreNoticed(t, place) })
}

// RunAtOnce runs the part of the suite in which many callers are at work.
func RunAtOnce(t *testing.T, place func(t *testing.T) Place) {
	for name, test := range map[string]func(*testing.T, Place){
		"ConcurrentDepositsAddUp":        testManyAtOnce,
		"LedgerAgreesWithAModel":         testModel,
		"StatementIsConsistentWhileBusy": testStatementWhileBusy,
		"HistoriesAreLinearizable":       testLinearizable,
		"PanicInReaderIsNoDeadlock":      testPanicInReaderIsNoDeadlock,
	} {
		t.Run(name, func(t *testing.T) { test(t, place(t)) })
	}
}

// NewSigner returns a signer of a new log.
func NewSigner(t testing.TB) *checkpoint.Signer {
	t.Helper()
	skey, _, err := checkpoint.GenerateKey("test.example/log")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := checkpoint.NewSigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// NewLedger returns a ledger on store that is closed with the test.
func NewLedger(t testing.TB, cfg ledger.Config) *ledger.Ledger {
	t.Helper()
	if cfg.Signer == nil {
		cfg.Signer = NewSigner(t)
	}
	l := ledger.New(cfg)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// hasher makes request keys for the suite.
func hasher(t testing.TB) *requestid.Hasher {
	t.Helper()
	h, err := requestid.NewHasher([]byte("the secret of a test"))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// demo is the caller in the suite.
var demo = &atm.Caller{Principal: atm.Principal{
	Subject: "user:demo",
	Roles:   []atm.Role{atm.Customer},
}}

// op wraps a rule in a command as the teller would.
func op(name atm.Operation, rule vault.Rule, args ...audit.Arg) vault.Command {
	return vault.Command{
		Event: audit.EventOp, Operation: name, Args: args, Caller: demo,
		Rule: rule,
	}
}

func open(n vault.Name, opening atm.Amount) vault.Command {
	return op(atm.AccountOpen, vault.OpenAccount{Account: n, Owner: demo.Subject, Opening: opening},
		audit.Arg{Name: "account", Value: string(n)})
}

func deposit(n vault.Name, amount atm.Amount) vault.Command {
	return op(atm.Deposit, vault.Deposit{
		Account: n, Cash: vault.Cash(demo.Subject), Amount: amount,
		Tell: true,
	},
		audit.Arg{Name: "account", Value: string(n)}, audit.Arg{
			Name:  "amount",
			Value: amount.String(),
		})
}

func withdraw(n vault.Name, amount atm.Amount) vault.Command {
	return op(atm.Withdraw, vault.Withdraw{
		Account: n, Cash: vault.Cash(demo.Subject),
		Amount: amount, Tell: true,
	},
		audit.Arg{Name: "account", Value: string(n)}, audit.Arg{
			Name:  "amount",
			Value: amount.String(),
		})
}

func transfer(from, to vault.Name, amount atm.Amount) vault.Command {
	return op(atm.Transfer, vault.Transfer{From: from, To: to, Amount: amount, Tell: true},
		audit.Arg{Name: "from", Value: string(from)}, audit.Arg{Name: "to", Value: string(to)},
		audit.Arg{Name: "amount", Value: amount.String()})
}

func authorize(n vault.Name, amount atm.Amount, life time.Duration) vault.Command {
	return op(atm.Authorize, vault.Authorize{Account: n, Amount: amount, Life: life},
		audit.Arg{Name: "account", Value: string(n)}, audit.Arg{
			Name:  "amount",
			Value: amount.String(),
		})
}

// capture takes amount of a hold; 0 for all of it.
func capture(hold any, amount atm.Amount) vault.Command {
	return op(atm.Capture, vault.Capture{
		Hold: holdID(hold), Amount: amount,
		Cash: vault.Cash(demo.Subject),
	})
}

func release(hold any) vault.Command {
	return op(atm.Release, vault.Release{Hold: holdID(hold)})
}

// holdID reads the result of an authorization.
func holdID(result any) vault.HoldID {
	text, _ := result.(string)
	id, _ := vault.ParseHoldID(text)
	return id
}

func inquiry(n vault.Name) vault.Command {
	return op(atm.Inquiry, vault.Inquiry{Account: n}, audit.Arg{Name: "account", Value: string(n)})
}

// must carries cmd out and fails the test unless it is answered OK.
func must(t testing.TB, l *ledger.Ledger, cmd vault.Command) atm.Status {
	t.Helper()
	s := l.Do(t.Context(), cmd)
	if s.Code != atm.OK {
		t.Fatalf("%s: %s %s", cmd.Operation, s.Code, s.Reason)
	}
	return s
}

// leaves reads the whole journal, checks that the signed checkpoint is of
// exactly these leaves, and returns them.
func leaves(t testing.TB, store vault.Store) [][]byte {
	t.Helper()
	signedHead, head, err := store.Signed(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	var rebuilt merkle.Head
	size := vault.JournalEnd(nil, head)
	err = store.Entries(t.Context(), 0, size, func(index vault.JournalIndex, leaf []byte) error {
		if index != vault.JournalIndex(len(all)) {
			return fmt.Errorf("entry %d where %d should be", index, len(all))
		}
		all = append(all, bytes.Clone(leaf))
		rebuilt = rebuilt.Append(merkle.LeafHash(leaf))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if rebuilt.Root() != head.Root() || rebuilt.Size != head.Size {
		t.Fatalf("the journal has root %v at size %d, the head %v at %d", rebuilt.Root(),
			rebuilt.Size, head.Root(), head.Size)
	}
	if head.Size > 0 {
		signed, err := checkpoint.Parse(signedHead)
		if err != nil {
			t.Fatal(err)
		}
		if signed.Size != head.Size || signed.Root != head.Root() {
			t.Fatalf("the checkpoint signs size %d, root %v", signed.Size, signed.Root)
		}
	}
	return all
}

func testEmpty(t *testing.T, p Place) {
	store := p.Open(t)
	if got := leaves(t, store); len(got) != 0 {
		t.Errorf("an empty store has %d entries", len(got))
	}
	accounts, err := store.Accounts(t.Context(), 0, 10)
	if len(accounts) != 0 || err != nil {
		t.Errorf("Accounts = %v, %v", accounts, err)
	}
	users, err := store.Users(t.Context())
	if len(users) != 0 || err != nil {
		t.Errorf("Users = %v, %v", users, err)
	}
}

// testCommitIsWhole looks for everything that one commit changed after the
// store was closed and opened.
func testCommitIsWhole(t *testing.T, p Place) {
	store := p.Open(t)
	l := ledger.New(ledger.Config{Store: store, Signer: NewSigner(t)})
	must(t, l, open("100", 100000))
	must(t, l, deposit("100", 100100))
	must(t, l, op(atm.CertIssue, vault.People(people.Enrol{Subject: "user:eve", Roles: []atm.Role{
		atm.Teller,
		atm.Auditor,
	}, HA1: []byte("ha1")})))
	must(t, l, op(atm.UserAdd, vault.People(people.Enrol{
		Subject: "user:eva", Roles: []atm.Role{atm.Teller},
		Slow: []byte("slow"),
	})))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	store = p.Open(t)
	if got := len(leaves(t, store)); got != 4 {
		t.Errorf("%d entries, want 4", got)
	}
	accounts, err := store.Accounts(t.Context(), 0, 10)
	want := vault.Account{Name: "100", Owner: "user:demo", Balance: 200100, Version: 2}
	if diff := cmp.Diff([]vault.Account{want}, accounts); err != nil || diff != "" {
		t.Errorf("Accounts: %v %s", err, diff)
	}
	users, err := store.Users(t.Context())
	wantUsers := []people.User{
		{Subject: "user:eva", Roles: []atm.Role{atm.Teller}, Slow: []byte("slow")},
		{Subject: "user:eve", Roles: []atm.Role{atm.Auditor, atm.Teller}, HA1: []byte("ha1")},
	}
	if diff := cmp.Diff(wantUsers, users); err != nil || diff != "" {
		t.Errorf("Users: %v %s", err, diff)
	}
}

func testDecideError(t *testing.T, p Place) {
	store := p.Open(t)
	mine := errors.New("mine")
	_, err := store.Commit(t.Context(), vault.Keys{Accounts: []vault.Name{"100"}},
		func(b *vault.Books) error {
			if a := b.Account("100"); a.Version != 0 {
				t.Errorf("account 100 exists: %v", a)
			}
			return mine
		})
	if !errors.Is(err, mine) {
		t.Errorf("Commit = %v, want decide's error", err)
	}
	if got := len(leaves(t, store)); got != 0 {
		t.Errorf("%d entries after a commit that failed", got)
	}
}

func testEntries(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	must(t, l, open("1", 0))
	for i := range 20 {
		s := must(t, l, deposit("1", 1))
		want := audit.Receipt(int64(i+1), merkle.LeafHash(leaves(t, store)[i+1]))
		if s.Receipt != want {
			t.Fatalf("receipt %q, want %q", s.Receipt, want)
		}
	}
	var seen []vault.JournalIndex
	err := store.Entries(t.Context(), 5, 9, func(index vault.JournalIndex, _ []byte) error {
		seen = append(seen, index)
		return nil
	})
	if err != nil || fmt.Sprint(seen) != "[5 6 7 8]" {
		t.Errorf("Entries(5, 9) gave %v, %v", seen, err)
	}
	if err := store.Entries(t.Context(), 0, 1000, func(vault.JournalIndex, []byte) error {
		return nil
	}); err == nil {
		t.Error("entries that do not exist were read")
	}
	mine := errors.New("mine")
	if err := store.Entries(t.Context(), 0, 5, func(vault.JournalIndex, []byte) error {
		return mine
	}); !errors.Is(err, mine) {
		t.Errorf("Entries = %v, want yield's error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := store.Entries(ctx, 0, 5, func(vault.JournalIndex, []byte) error {
		return nil
	}); !errors.Is(err, context.Canceled) {
		t.Errorf("Entries of a caller who left = %v", err)
	}
}

func testAccounts(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store})
	for _, n := range []vault.Name{"9", "10", "100", "9007199254740991", "1"} {
		must(t, l, open(n, 100))
	}
	var names []vault.Name
	for after := uint64(0); ; {
		page, err := store.Accounts(t.Context(), after, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, a := range page {
			names = append(names, a.Name)
		}
		id, ok := atm.ParseAccountID(string(page[len(page)-1].Name))
		if !ok {
			t.Fatalf("%s is no customer's account", page[len(page)-1].Name)
		}
		after = uint64(id)
	}
	if got := fmt.Sprint(names); got != "[1 9 10 100 9007199254740991]" {
		t.Errorf("accounts in the order %s", got)
	}
	for name, balance := range map[vault.Name]atm.Amount{
		"10": 100, vault.Equity: -500, "11": 0,
		"cash:user:x": 0,
	} {
		a, err := store.Account(t.Context(), name)
		if err != nil || a.Name != name || a.Balance != balance ||
			(a.Version > 0) != (balance != 0) {
			t.Errorf("account %s: %+v, %v", name, a, err)
		}
	}
}

// testSignerRefusesFork commits on a store with a signer that has signed
// another tree: what a server does that was given an old vault.
func testSignerRefusesFork(t *testing.T, p Place) {
	store := p.Open(t)
	l := NewLedger(t, ledger.Config{Store: store, Signer: NewSigner(t)})
	must(t, l, open("1", 100))
	other := ledger.New(ledger.Config{Store: store, Signer: NewSigner(t)})
	if s := other.Do(t.Context(), deposit("1", 1)); s.Code != atm.OutcomeUnknown ||
		s.Receipt != "" {
		t.Errorf("a signer signed what another one's log should continue: %v", s)
	}
	if other.Close() == nil {
		t.Error("the ledger did not notice that it is poisoned")
	}
	if got := len(leaves(t, store)); got != 1 {
		t.Errorf("%d entries, want 1", got)
	}
}
