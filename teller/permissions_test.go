package teller_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
	"example.com/atm/teller/methods"
	"example.com/atm/vault"
)

const no, own, all = atm.Nowhere, atm.Owned, atm.Everywhere

// roles are in the order of the columns of decided.
var roles = [...]atm.Role{atm.Customer, atm.Teller, atm.Auditor, atm.Operator, atm.Service}

// A decision says on which accounts each role may do an operation, whether a grant may be for
// the operation, and how a call names the account it is about: nil for a call about none.
type decision struct {
	op     atm.Operation
	reach  [len(roles)]atm.Reach
	grant  bool
	naming naming
}

// decided has a row for every operation. It repeats the table in auth/permissions.go on
// purpose: a row that is added or widened there is decided here once more.
var decided = []decision{
	{atm.Inquiry, [...]atm.Reach{own, all, all, no, no}, true, onAccount()},
	{atm.Deposit, [...]atm.Reach{own, all, no, no, no}, true, onAccount("1.00")},
	{atm.Withdraw, [...]atm.Reach{own, all, no, no, no}, true, onAccount("1.00")},
	{atm.Transfer, [...]atm.Reach{own, all, no, no, no}, true, onAccount(bankAccount, "1.00")},
	{atm.Authorize, [...]atm.Reach{own, all, no, no, no}, true, onAccount("1.00")},
	{atm.Capture, [...]atm.Reach{own, all, no, no, no}, false, onHold},
	{atm.Release, [...]atm.Reach{own, all, no, no, no}, false, onHold},
	{atm.Statement, [...]atm.Reach{own, all, all, no, no}, false, onAccount()},
	{atm.Receipt, [...]atm.Reach{own, all, all, no, no}, false, onEntry},
	{atm.ShowEntry, [...]atm.Reach{own, all, all, no, no}, false, onEntry},
	{atm.Certificate, [...]atm.Reach{own, all, no, all, no}, false, onAccount()},
	{atm.Whoami, [...]atm.Reach{own, own, own, own, own}, false, nil},

	{atm.Reverse, [...]atm.Reach{own, all, no, no, no}, false, onTransfer},
	{
		atm.MandateCreate,
		[...]atm.Reach{own, no, no, no, no},
		false,
		onTerms("creditor", grantee, "each", "5"),
	},
	{atm.MandateList, [...]atm.Reach{own, all, all, no, own}, false, onAccount()},
	{atm.MandateRevoke, [...]atm.Reach{own, all, no, no, no}, false, onMandate},
	{atm.Collect, [...]atm.Reach{own, no, no, no, own}, false, collecting},
	{
		atm.OrderCreate,
		[...]atm.Reach{own, no, no, no, no},
		false,
		onTerms("to", bankAccount, "amount", "5", "every", "day"),
	},
	{atm.OrderList, [...]atm.Reach{own, all, all, no, no}, false, onAccount()},
	{atm.OrderShow, [...]atm.Reach{own, all, all, no, no}, false, onOrder},
	{atm.OrderCancel, [...]atm.Reach{own, all, no, no, no}, false, onOrder},
	{atm.Notify, [...]atm.Reach{own, all, no, no, own}, true, onAccount("A notice")},
	{atm.Notices, [...]atm.Reach{own, all, all, no, no}, false, onAccount()},

	{atm.AccountOpen, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.AccountShow, [...]atm.Reach{no, no, no, all, no}, false, onAccount()},
	{atm.AccountList, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.AccountFreeze, [...]atm.Reach{no, no, no, all, no}, false, onAccount()},
	{atm.AccountUnfreeze, [...]atm.Reach{no, no, no, all, no}, false, onAccount()},
	{atm.AccountClose, [...]atm.Reach{no, no, no, all, no}, false, onAccount()},
	{atm.AccountLimit, [...]atm.Reach{no, no, no, all, no}, false, onAccount("500.00")},
	{atm.AccountSet, [...]atm.Reach{no, no, no, all, no}, false, onAccount("", "A Name")},
	{atm.AccountImport, [...]atm.Reach{no, no, no, all, no}, false, nil},

	{atm.HoldList, [...]atm.Reach{no, all, all, all, no}, false, filteredByAccount},
	{atm.HoldShow, [...]atm.Reach{no, all, all, all, no}, false, onHold},
	{
		atm.GrantCreate,
		[...]atm.Reach{own, no, no, no, no},
		false, onAccount("inquiry", "1.00", grantee),
	},
	{atm.GrantList, [...]atm.Reach{own, no, no, all, no}, false, grantsOnAccount},
	{atm.GrantRevoke, [...]atm.Reach{own, no, no, all, no}, false, onGrant},

	{atm.UserAdd, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserImport, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserList, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserShow, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserDisable, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserEnable, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserRevoke, [...]atm.Reach{no, no, no, all, no}, false, nil},

	{atm.CertIssue, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.CertInvite, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.CertRenew, [...]atm.Reach{own, own, own, own, own}, false, nil},
	{atm.CertRevoke, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.CertList, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.CertCRL, [...]atm.Reach{no, no, no, all, no}, false, nil},

	{atm.PasskeyList, [...]atm.Reach{own, own, own, own, own}, false, nil},
	{atm.PasskeyAdd, [...]atm.Reach{own, own, own, own, own}, false, nil},
	{atm.PasskeyRename, [...]atm.Reach{own, own, own, own, own}, false, nil},
	{atm.PasskeyRemove, [...]atm.Reach{own, own, own, own, own}, false, nil},
	{atm.SessionList, [...]atm.Reach{own, own, own, own, own}, false, nil},
	{atm.SessionEnd, [...]atm.Reach{own, own, own, own, own}, false, nil},
	{atm.UserPasskeys, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserPasskeyRemove, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserSessions, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.UserSessionEnd, [...]atm.Reach{no, no, no, all, no}, false, nil},

	{atm.FeedAdd, [...]atm.Reach{own, no, all, no, no}, false, subscribing},
	{atm.FeedSecret, [...]atm.Reach{own, own, own, own, own}, false, nil},
	{atm.FeedList, [...]atm.Reach{own, own, own, all, own}, false, nil},
	{atm.FeedShow, [...]atm.Reach{own, own, own, all, own}, false, nil},
	{atm.FeedPause, [...]atm.Reach{own, own, own, all, own}, false, nil},
	{atm.FeedResume, [...]atm.Reach{own, own, own, all, own}, false, nil},
	{atm.FeedReplay, [...]atm.Reach{own, own, own, all, own}, false, nil},
	{atm.FeedTest, [...]atm.Reach{own, own, own, all, own}, false, nil},
	{atm.FeedRotate, [...]atm.Reach{own, own, own, all, own}, false, nil},
	{atm.FeedRemove, [...]atm.Reach{own, own, own, all, own}, false, nil},
	{atm.FeedSourceAdd, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.FeedSourceList, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.FeedSourceSecret, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.FeedSourceRotate, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.FeedSourceRemove, [...]atm.Reach{no, no, no, all, no}, false, nil},

	{atm.TokenIssue, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.TokenRevoke, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.TokenList, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.TokenRotate, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.VaultRotate, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.Backup, [...]atm.Reach{no, no, no, all, no}, false, nil},
	{atm.ServerStatus, [...]atm.Reach{no, no, all, all, no}, false, nil},

	{atm.AuditRead, [...]atm.Reach{no, no, all, no, no}, false, nil},
	{atm.AuditList, [...]atm.Reach{no, no, all, no, no}, false, nil},
	{atm.AuditBalances, [...]atm.Reach{no, no, all, no, no}, false, nil},
	{atm.AuditRotate, [...]atm.Reach{no, no, no, all, no}, false, nil},
}

const (
	bankAccount = "1"               // that money is transferred to
	grantee     = "service:billing" // acts under grants
)

// notMethods are operations that no method carries out.
var notMethods = []atm.Operation{atm.Backup, atm.AuditRead, atm.PasskeyAdd}

func TestEveryOperationHasOneDecision(t *testing.T) {
	rows := make(map[atm.Operation]int)
	for _, d := range decided {
		rows[d.op]++
	}
	names := slices.Clone(notMethods)
	for _, op := range methods.All() {
		names = append(names, op.Name)
	}
	for _, op := range names {
		if rows[op] != 1 {
			t.Errorf("%s has %d rows in decided, not one: decide who may do it, by which grants, "+
				"and how it names an account", op, rows[op])
		}
		if !auth.Covers(op) {
			t.Errorf("the table of permissions has no row for %s", op)
		}
		delete(rows, op)
	}
	for op := range rows {
		t.Errorf("decided has a row for %s, which is no operation", op)
	}
}

func TestNobodyMayDoMoreOrLessThanWasDecided(t *testing.T) {
	for _, d := range decided {
		permitted := func(p atm.Principal) atm.Reach { return auth.Permit(p, d.op) }
		wrong := false
		for i, role := range roles {
			want := d.reach[i]
			if got := permitted(atm.Principal{Roles: []atm.Role{role}}); got != want {
				t.Errorf("%s: %s may do it on %s accounts; decided were %s", d.op, role, words[got],
					words[want])
				wrong = true
				continue
			}
			for _, scope := range [][]atm.Operation{{"*"}, {d.op}, {"other", d.op}} {
				p := atm.Principal{Roles: []atm.Role{role}, Scope: scope}
				if got := permitted(p); got != want {
					t.Errorf("%s: %s, by a token for %q, may do it on %s accounts; decided were %s",
						d.op, role, scope, words[got], words[want])
				}
			}
			for _, scope := range [][]atm.Operation{{}, {""}, {"other"}, {d.op + "."}} {
				if permitted(atm.Principal{Roles: []atm.Role{role}, Scope: scope}) != no {
					t.Errorf("%s: %s may do it by a token for %q", d.op, role, scope)
				}
			}
		}
		for _, unknown := range [][]atm.Role{nil, {"king"}} {
			if permitted(atm.Principal{Subject: "user:somebody", Roles: unknown}) != no {
				t.Errorf("%s: somebody with the roles %q may do it", d.op, unknown)
			}
		}
		if wrong {
			continue // so are the pairs
		}
		for i := range roles { // two roles reach as far as the one that reaches further
			for j := range roles {
				got := permitted(atm.Principal{Roles: []atm.Role{roles[i], roles[j]}})
				if want := max(d.reach[i], d.reach[j]); got != want {
					t.Errorf("%s: %s and %s at once may do it on %s accounts; decided were %s",
						d.op,
						roles[i], roles[j], words[got], words[want])
				}
			}
		}
	}
}

var words = map[atm.Reach]string{no: "no", own: "their own", all: "all"}

// A naming returns arguments of a call that is about an account. For the empty name they name
// what does not exist.
type naming func(b *bank, account vault.Name) []atm.Arg

// missing is the number of an account that nobody opens.
const missing = "4040404"

func orMissing(account vault.Name) atm.Arg {
	if account == "" {
		return text(missing)
	}
	return text(string(account))
}

// onAccount is for calls that name the account, and then have these arguments.
func onAccount(more ...string) naming {
	return func(_ *bank, account vault.Name) []atm.Arg {
		args := []atm.Arg{orMissing(account)}
		for _, arg := range more {
			args = append(args, text(arg))
		}
		return args
	}
}

func onHold(b *bank, account vault.Name) []atm.Arg {
	if account == "" {
		return []atm.Arg{text("h4040404")}
	}
	s := b.must(vault.Authorize{Account: account, Amount: 100, Life: time.Hour})
	return []atm.Arg{text(s.Result.(string))}
}

func onGrant(b *bank, account vault.Name) []atm.Arg {
	if account == "" {
		return []atm.Arg{text("G404")}
	}
	return []atm.Arg{text(b.grant(account, atm.Inquiry))}
}

func filteredByAccount(_ *bank, account vault.Name) []atm.Arg {
	return []atm.Arg{{}, {}, orMissing(account)}
}

func grantsOnAccount(b *bank, account vault.Name) []atm.Arg {
	if account != "" {
		b.grant(account, atm.Inquiry)
	}
	return filteredByAccount(b, account)
}

// subscribing subscribes to an account.
func subscribing(_ *bank, account vault.Name) []atm.Arg {
	return []atm.Arg{
		text("account-" + orMissing(account).Text),
		text("https://books.example.com/"),
		{Kind: atm.Struct, Members: []atm.Member{{Name: "account", Arg: orMissing(account)}}},
	}
}

// onEntry names an entry that changed the account.
func onEntry(b *bank, account vault.Name) []atm.Arg {
	if account == "" {
		return []atm.Arg{text(missing)}
	}
	s := b.must(vault.Deposit{Account: account, Cash: "cash:user:other", Amount: 100})
	index, _, _ := strings.Cut(s.Receipt, " ")
	return []atm.Arg{text(index)}
}

// grant makes a grant of the account's owner for these operations, and returns its id.
func (b *bank) grant(account vault.Name, ops ...atm.Operation) string {
	b.t.Helper()
	record, err := b.store.Account(b.t.Context(), account)
	if err != nil {
		b.t.Fatal(err)
	}
	id := fmt.Sprintf("G%s-%d", account, len(ops))
	b.must(vault.CreateGrant{Grant: vault.Grant{
		ID: id, Grantor: record.Owner, Grantee: grantee, Accounts: []vault.Name{account},
		Operations: ops, Cap: 1000, Expires: time.Now().Add(time.Hour).UTC(),
	}})
	return id
}

func (b *bank) version(account vault.Name) uint64 {
	b.t.Helper()
	a, err := b.store.Account(context.Background(), account)
	if err != nil {
		b.t.Fatal(err)
	}
	return a.Version
}

// TestEveryOperationKeepsToTheAccountsOfItsReach carries out each operation in each role, on an
// account of the caller, on another one's, and on none. On an account out of reach the answer
// is the one for an account that does not exist, and nothing changes.
func TestEveryOperationKeepsToTheAccountsOfItsReach(t *testing.T) {
	b := newBank(t)
	if bank := b.open("user:bank", 0); bank != bankAccount {
		t.Fatalf("the account of the bank is %s", bank)
	}
	b.caller("user:other", atm.Customer)
	b.caller(grantee, atm.Service)
	for i, role := range roles {
		caller := b.caller("user:"+string(role), role)
		for _, d := range decided {
			if slices.Contains(notMethods, d.op) {
				continue
			}
			if d.naming == nil {
				if auth.Permit(caller.Principal, d.op) == no {
					if s := b.do(caller, d.op); s.Code != atm.PermissionDenied {
						t.Errorf("%s of %s is answered %s %s", d.op, role, s.Code, s.Reason)
					}
				}
				continue
			}
			mine, theirs := b.open(caller.Subject, 10000), b.open("user:other", 10000)
			onMine, onTheirs, onNone := d.naming(b, mine), d.naming(b, theirs), d.naming(b, "")
			before := b.version(theirs)
			none := answer(b.do(caller, d.op, onNone...), onNone)
			other := answer(b.do(caller, d.op, onTheirs...), onTheirs)
			after := b.version(theirs)
			ours := answer(b.do(caller, d.op, onMine...), onMine)
			switch d.reach[i] {
			case no:
				for _, s := range []string{none, other, ours} {
					if !strings.HasPrefix(s, string(atm.PermissionDenied)) {
						t.Errorf("%s of %s is answered %s", d.op, role, s)
					}
				}
			case own:
				if other != none {
					t.Errorf("%s of %s on another's account is answered %s; on none %s", d.op, role,
						other, none)
				}
			case all:
				if other == none || strings.HasPrefix(other, string(atm.PermissionDenied)) {
					t.Errorf("%s of %s on another's account is answered %s", d.op, role, other)
				}
			}
			if d.reach[i] != no && (ours == none ||
				strings.HasPrefix(ours, string(atm.PermissionDenied))) {
				t.Errorf("%s of %s on an own account is answered %s", d.op, role, ours)
			}
			if d.reach[i] != all && before != after {
				t.Errorf("%s of %s changed another's account", d.op, role)
			}
		}
	}
}

// answer is a status in words, without what the call named.
func answer(s atm.Status, args []atm.Arg) string {
	line := fmt.Sprintf("%s %s %v", s.Code, s.Reason, s.Result)
	for _, arg := range args {
		if len(arg.Text) > 0 {
			line = strings.ReplaceAll(line, arg.Text, "…")
		}
		for _, m := range arg.Members {
			line = strings.ReplaceAll(line, m.Arg.Text, "…")
		}
	}
	return line
}

// TestGrantReachesWhatItIsForAndNothingElse carries out each operation under a grant: for the
// operation and the account, for another account, and for other operations.
func TestGrantReachesWhatItIsForAndNothingElse(t *testing.T) {
	b := newBank(t)
	b.open("user:bank", 0)
	grantor := b.caller("user:grantor", atm.Customer)
	b.caller(grantee, atm.Service)
	var grantable []atm.Operation
	for _, d := range decided {
		if d.grant {
			grantable = append(grantable, d.op)
		}
	}
	for _, d := range decided {
		if slices.Contains(notMethods, d.op) {
			continue
		}
		granted, another := b.open(grantor.Subject, 10000), b.open(grantor.Subject, 10000)
		others := slices.DeleteFunc(slices.Clone(grantable), func(op atm.Operation) bool {
			return op == d.op
		})
		for _, tt := range []struct {
			name    string
			ops     []atm.Operation // that the grant is for
			scope   []atm.Operation // that its token is for
			account vault.Name
			want    bool
		}{
			{"for it", grantable, grantable, granted, d.grant},
			{"for another account", grantable, grantable, another, false},
			{"for other operations", others, others, granted, d.op == atm.Notify},
			{
				"for other operations, with a token for all", others, grantable, granted,
				d.op == atm.Notify, // every grant lets notices be left
			},
		} {
			caller := *grantor
			caller.Actor, caller.Scope = grantee, tt.scope
			caller.Grant = b.grant(granted, tt.ops...)
			var args []atm.Arg
			if d.naming != nil {
				args = d.naming(b, tt.account)
			}
			s := b.do(&caller, d.op, args...)
			if tt.want && s.Code != atm.OK || !tt.want && s.Code != atm.PermissionDenied {
				t.Errorf("%s under a grant %s is answered %s %s", d.op, tt.name, s.Code, s.Reason)
			}
		}
	}
}
