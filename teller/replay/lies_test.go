package replay_test

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/assertion/assertiontest"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// issuer is that of the tokens of the forger's server.
const issuer = "https://bank.example"

// says writes an entry of what changes no account.
func (f *forger) says(by *atm.Caller, op atm.Operation, words ...string) string {
	f.t.Helper()
	f.clock.Add(1e6)
	return f.do(by, op, vault.Report{}, words...)
}

// by is a caller with another credential.
func by(c *atm.Caller, change func(*atm.Caller)) *atm.Caller {
	other := *c
	change(&other)
	return &other
}

func certified(c *atm.Caller, serial string) *atm.Caller {
	return by(c, func(c *atm.Caller) { c.Method, c.Serial = "mtls", serial })
}

// holding is a caller with a token, which is that of a grant if somebody else acts by it.
func holding(c *atm.Caller, jti, actor string) *atm.Caller {
	return by(c, func(c *atm.Caller) {
		c.Method, c.Issuer, c.ID, c.Actor = "jwt", issuer, jti, actor
	})
}

// in has an entry say that it was made in a session.
func in(id, method, credential string) func(*audit.Entry) {
	return func(e *audit.Entry) {
		e.Caller = by(e.Caller, func(c *atm.Caller) {
			c.Session, c.Method, c.ID = id, method, credential
		})
	}
}

// deposit is one of a dollar.
func (f *forger) deposit(by *atm.Caller, account vault.Name, change func(*audit.Entry)) string {
	f.t.Helper()
	return f.write(by, atm.Deposit, vault.Deposit{
		Account: account, Cash: vault.Cash(by.Subject), Amount: 100,
	}, change, "account", string(account), "amount", "1.00")
}

func (f *forger) limit(l vault.Limits, words ...string) {
	f.t.Helper()
	f.do(office, atm.AccountLimit, vault.SetLimits{Account: "100", Limits: l},
		append(words, "account", "100")...)
}

// hold authorizes five dollars of account 100 for an hour.
func (f *forger) hold() string {
	f.t.Helper()
	return "h" + f.do(alice, atm.Authorize, vault.Authorize{
		Account: "100", Amount: 500, Life: time.Hour,
	}, "account", "100", "amount", "5.00", "seconds", "3600")
}

// takes is a withdrawal of so much from account 100.
func (f *forger) takes(by *atm.Caller, amount atm.Amount) {
	f.t.Helper()
	f.do(by, atm.Withdraw, vault.Withdraw{
		Account: "100", Cash: vault.Cash(by.Subject), Amount: amount,
	}, "account", "100", "amount", amount.String())
}

// changed changes what an entry says of the account of this position.
func changed(at int, change func(*audit.Change)) func(*audit.Entry) {
	return func(e *audit.Entry) {
		e.State = slices.Clone(e.State)
		change(&e.State[at])
	}
}

// session begins one of alice by a passkey, and returns its id.
func (f *forger) session() string {
	f.t.Helper()
	f.says(alice, atm.PasskeyAdd, "passkey", "key", "key", "", "name", "phone")
	return f.begins("1")
}

func (f *forger) begins(id string) string {
	f.t.Helper()
	f.says(by(alice, func(c *atm.Caller) { c.Method, c.ID = "passkey", "key" }), atm.SessionBegin,
		"session", id, "agent", "browser", "count", "1", "flags", "5")
	return id
}

// confirmed has a passkey of alice confirm a transfer of ten dollars, and the entry say something
// else.
func (f *forger) confirmed(change func(*audit.Entry)) {
	f.t.Helper()
	device := assertiontest.NewDevice(f.t)
	f.says(alice, atm.PasskeyAdd, "passkey", device.ID, "name", "phone", "key",
		base64.StdEncoding.EncodeToString(device.Key(f.t)))
	f.write(alice, atm.Transfer, vault.Transfer{From: "100", To: "200", Amount: 1000},
		func(e *audit.Entry) {
			shown := e.Shown()
			e.Assertion = device.Sign(f.t, shown[:], "https://bank.example")
			change(e)
		}, "amount", "10.00", "from", "100", "to", "200")
}

// granted lets service:gas withdraw ten dollars from account 100 within five minutes.
func (f *forger) granted() *atm.Caller {
	f.t.Helper()
	f.says(alice, atm.GrantCreate, "account", "100", "cap", "10.00", "operations", "withdraw", "to",
		gas.Subject)
	return holding(alice, "grant", gas.Subject)
}

var asked = strings.Repeat("ab", 32) // the hash of a request id

func request(e *audit.Entry) { e.Request = asked }

// repeats has an entry repeat another one.
func repeats(index string) func(*audit.Entry) {
	return func(e *audit.Entry) {
		e.Request = asked
		e.ReplayOf, _ = strconv.ParseInt(index, 10, 64)
	}
}

var liesAboutSums = []lie{
	{"a cent that appears", "the rule of deposit changes", func(f *forger) {
		f.deposit(alice, "100", changed(1, func(c *audit.Change) { c.After++ }))
	}},
	{"a cent that is lost", "the rule of transfer changes", func(f *forger) {
		f.write(alice, atm.Transfer, vault.Transfer{From: "100", To: "200", Amount: 1000},
			changed(1, func(c *audit.Change) { c.After-- }), "amount", "10.00", "from", "100",
			"to", "200")
	}},
	{"a balance that was another one before", "the rule of deposit changes", func(f *forger) {
		f.deposit(alice, "100", changed(1, func(c *audit.Change) { c.Before++; c.After++ }))
	}},
	{"a version that is left out", "the rule of deposit changes", func(f *forger) {
		f.deposit(alice, "100", changed(1, func(c *audit.Change) { c.Version++ }))
	}},
	{"a version that is there twice", "the rule of deposit changes", func(f *forger) {
		f.deposit(alice, "100", changed(1, func(c *audit.Change) { c.Version-- }))
	}},
	{"another account than the one that was named", "the rule of deposit", func(f *forger) {
		f.deposit(alice, "100", changed(1, func(c *audit.Change) { c.Account = "200" }))
	}},
	{"half of a movement", "the rule of deposit changes", func(f *forger) {
		f.deposit(alice, "100", func(e *audit.Entry) { e.State = e.State[1:] })
	}},
	{"a movement of nobody", "of somebody", func(f *forger) {
		f.deposit(alice, "100", func(e *audit.Entry) { e.Caller = nil })
	}},
	{"a refusal that moves money", "answers OK", func(f *forger) {
		f.deposit(alice, "100", func(e *audit.Entry) {
			e.Status = &atm.Status{Code: atm.AccountFrozen, Result: ""}
		})
	}},
	{"a daily sum that is passed", "answers LIMIT_DAILY_AMOUNT", func(f *forger) {
		f.limit(vault.Limits{DailyAmount: 500}, "daily_amount", "5.00")
		f.do(alice, atm.Withdraw, vault.Withdraw{
			Account: "100", Cash: vault.Cash(alice.Subject), Amount: 500,
		}, "account", "100", "amount", "5.00")
		f.limit(vault.Limits{DailyAmount: 500}, "daily_amount", "5.00")
		f.do(alice, atm.Withdraw, vault.Reverse{Amount: 1, Movement: vault.Movement{
			From: vault.Cash(alice.Subject), To: "100", Amount: 1,
		}}, "account", "100", "amount", "0.01")
	}},
	{"a withdrawal too many on one day", "answers LIMIT_DAILY_COUNT", func(f *forger) {
		f.limit(vault.Limits{DailyCount: vault.NoneMay}, "daily_count", "0")
		f.do(alice, atm.Withdraw, vault.Reverse{Amount: 1, Movement: vault.Movement{
			From: vault.Cash(alice.Subject), To: "100", Amount: 1,
		}}, "account", "100", "amount", "0.01")
	}},
	{"a transfer above the balance", "answers INSUFFICIENT_FUNDS", func(f *forger) {
		f.do(alice, atm.Transfer, vault.Transfer{From: "300", To: "200", Amount: 1}, "amount",
			"1000.01", "from", "100", "to", "200")
	}},
	{"money that a hold has", "answers INSUFFICIENT_FUNDS", func(f *forger) {
		f.hold()
		f.do(alice, atm.Withdraw, vault.Transfer{From: "300", To: "200", Amount: 1}, "account",
			"100", "amount", "999.00")
	}},
	{"a hold that is released twice", "answers HOLD_NOT_PENDING", func(f *forger) {
		hold := f.hold()
		id, _ := vault.ParseHoldID(hold)
		f.do(alice, atm.Release, vault.Release{Hold: id}, "hold", hold)
		f.do(alice, atm.Release, vault.SetStanding{Account: "100", Standing: vault.Frozen}, "hold",
			hold)
	}},
	{"a hold that is captured after its release", "answers HOLD_NOT_PENDING", func(f *forger) {
		hold := f.hold()
		id, _ := vault.ParseHoldID(hold)
		f.do(alice, atm.Release, vault.Release{Hold: id}, "hold", hold)
		f.do(alice, atm.Capture, vault.Transfer{From: "100", To: "200", Amount: 500}, "hold", hold)
	}},
	{"a hold that is captured when it is over", "answers HOLD_EXPIRED", func(f *forger) {
		hold := f.hold()
		f.clock.Add(2 * time.Hour.Microseconds())
		f.do(alice, atm.Capture, vault.Transfer{From: "100", To: "200", Amount: 500}, "hold", hold)
	}},
	{"a hold that lasts longer than was asked for", "the hold ends at", func(f *forger) {
		f.write(alice, atm.Authorize, vault.Authorize{
			Account: "100", Amount: 500, Life: time.Hour,
		}, func(e *audit.Entry) { e.Expires = e.Expires.Add(time.Hour) }, "account", "100",
			"amount", "5.00", "seconds", "3600")
	}},
}

var liesAboutCallers = []lie{
	{"a deposit by an auditor", "may not do it", func(f *forger) {
		f.says(office, atm.UserAdd, "roles", "auditor", "subject", auditor.Subject)
		f.deposit(auditor, "100", nil)
	}},
	{"somebody whom nobody knows", "whom nobody had made known", func(f *forger) {
		f.deposit(caller("user:ghost", atm.Teller), "100", nil)
	}},
	{"a certificate for nobody who was invited", "whom nobody had invited", func(f *forger) {
		f.says(by(alice, func(c *atm.Caller) {
			c.Subject, c.Roles, c.Method = "user:ghost", nil, "invitation"
		}), atm.CertEnroll)
	}},
	{"a role that was taken away", "whose roles do not allow it any more", func(f *forger) {
		f.says(office, atm.UserAdd, "roles", "auditor", "subject", desk.Subject)
		f.deposit(desk, "100", nil)
	}},
	{"a role that was another one for long", "which they were not any more", func(f *forger) {
		f.says(office, atm.UserAdd, "roles", "customer", "subject", desk.Subject)
		f.clock.Add(2 * time.Minute.Microseconds())
		f.deposit(desk, "100", nil)
	}},
	{"a withdrawal by the program itself", "which never does that", func(f *forger) {
		f.takes(caller("system:owner", atm.Teller), 100)
	}},
	{"a standing order that a customer pays", "which never does that", func(f *forger) {
		text, _, due := f.order()
		f.set(due)
		f.do(alice, atm.OrderPay, vault.Transfer{From: "100", To: "200", Amount: 500}, "due",
			due.Format(time.RFC3339), "order", text)
	}},
	{"a certificate that was revoked", "by what was revoked", func(f *forger) {
		f.says(office, atm.CertRevoke, "serial", "0a:1b")
		f.deposit(certified(alice, "a1b"), "100", nil)
	}},
	{"a certificate from before everything was revoked", "with everything", func(f *forger) {
		f.deposit(certified(alice, "a1b"), "100", nil)
		f.says(office, atm.UserRevoke, "subject", alice.Subject)
		f.deposit(certified(alice, "a1b"), "100", nil)
	}},
	{"a token that was revoked", "by what was revoked", func(f *forger) {
		f.says(office, atm.TokenRevoke, "jti", "1")
		f.deposit(holding(alice, "1", ""), "100", nil)
	}},
	{"a token that was given up", "by what was revoked", func(f *forger) {
		f.says(alice, atm.TokenGiveUp, "jti", "1")
		f.deposit(holding(alice, "1", ""), "100", nil)
	}},
	{"a session that never began", "is not theirs", func(f *forger) {
		f.deposit(alice, "100", in("1", "secret", ""))
	}},
	{"a session of somebody else", "is not theirs", func(f *forger) {
		f.session()
		f.deposit(bob, "200", in("1", "secret", ""))
	}},
	{"a session that was idle", "is over", func(f *forger) {
		f.session()
		f.clock.Add(people.SessionIdle.Microseconds())
		f.deposit(alice, "100", in("1", "passkey", "key"))
	}},
	{"a session that was ended", "is over", func(f *forger) {
		f.session()
		f.says(alice, atm.SessionEnd, "session", "1")
		f.deposit(alice, "100", in("1", "passkey", "key"))
	}},
	{"a session that was ended with all others", "that was ended", func(f *forger) {
		f.session()
		f.says(office, atm.UserSessionEnd, "session", "*", "subject", alice.Subject)
		f.deposit(alice, "100", in("1", "passkey", "key"))
	}},
	{"a passkey that was removed", "by a passkey that is not theirs", func(f *forger) {
		f.session()
		f.says(office, atm.UserPasskeyRemove, "passkey", "key", "subject", alice.Subject)
		f.begins("2")
	}},
	{"a subscription of somebody else", "on a subscription of", func(f *forger) {
		f.says(bob, atm.FeedAdd, "account", "200", "name", "mine", "url", "https://b.example/")
		f.says(alice, atm.FeedRemove, "name", "mine", "owner", bob.Subject)
	}},
	{"a subscription to the account of somebody else", "not theirs", func(f *forger) {
		f.says(bob, atm.FeedAdd, "account", "100", "name", "mine", "url", "https://b.example/")
	}},
}

var liesAboutGrants = []lie{
	{"more than was granted", "not what any grant", func(f *forger) {
		grantee := f.granted()
		f.takes(grantee, 600)
		f.takes(grantee, 401)
	}},
	{"as much once more under another id", "not what any grant", func(f *forger) {
		grantee := f.granted()
		f.takes(grantee, 1000)
		f.takes(holding(alice, "another", gas.Subject), 1000)
	}},
	{"a grant that is over", "not what any grant", func(f *forger) {
		grantee := f.granted()
		f.clock.Add(7 * time.Minute.Microseconds())
		f.takes(grantee, 100)
	}},
	{"a grant to somebody else", "not what any grant", func(f *forger) {
		f.granted()
		f.takes(holding(alice, "grant", bob.Subject), 100)
	}},
	{"a grant on another account", "not what any grant", func(f *forger) {
		grantee := f.granted()
		f.do(office, atm.AccountOpen, vault.OpenAccount{
			Account: "400", Owner: alice.Subject, Opening: 100,
		}, "account", "400", "opening", "1.00", "owner", alice.Subject)
		f.do(grantee, atm.Withdraw, vault.Withdraw{
			Account: "400", Cash: vault.Cash(alice.Subject), Amount: 1,
		}, "account", "400", "amount", "0.01")
	}},
	{"a grant for another operation", "not what any grant", func(f *forger) {
		f.deposit(f.granted(), "100", nil)
	}},
	{"a grant that was revoked", "by what was revoked", func(f *forger) {
		grantee := f.granted()
		f.says(alice, atm.GrantRevoke, "grant", "grant")
		f.takes(grantee, 100)
	}},
	{"a grantee who is disabled", "who is disabled", func(f *forger) {
		grantee := f.granted()
		f.says(office, atm.UserDisable, "subject", gas.Subject)
		f.takes(grantee, 100)
	}},
}

var liesAboutAnswers = []lie{
	{"a request that is carried out twice", "was carried out again", func(f *forger) {
		f.deposit(alice, "100", request)
		f.deposit(alice, "100", request)
	}},
	{"a repetition that moves money", "changes accounts", func(f *forger) {
		index := f.deposit(alice, "100", request)
		f.deposit(alice, "100", repeats(index))
	}},
	{"a repetition with another answer", "with another answer", func(f *forger) {
		index := f.deposit(alice, "100", request)
		f.write(alice, atm.Deposit, vault.Report{Result: "9999.00"}, repeats(index), "account",
			"100", "amount", "1.00")
	}},
	{"a repetition of another request", "answered another request", func(f *forger) {
		index := f.deposit(alice, "100", request)
		f.write(alice, atm.Deposit, vault.Report{}, repeats(index), "account", "100", "amount",
			"2.00")
	}},
	{"a repetition of what comes later", "which came later", func(f *forger) {
		f.write(alice, atm.Deposit, vault.Report{}, repeats("99"), "account", "100", "amount",
			"1.00")
	}},
	{"a deposit that is kept", "moved nothing", func(f *forger) {
		f.do(alice, atm.Deposit, vault.Report{Result: "1001.00"}, "account", "100", "amount",
			"1.00")
	}},
	{"a balance that is not the one", "it has 1000.00", func(f *forger) {
		f.do(alice, atm.Inquiry, vault.Report{Result: "1.00"}, "account", "100")
	}},
	{"a confirmation of another amount", "what a passkey confirmed", func(f *forger) {
		f.confirmed(func(e *audit.Entry) {
			e.Args = slices.Clone(e.Args)
			e.Args[0].Value = "10.01"
		})
	}},
	{"a confirmation that nobody signed", "what a passkey confirmed", func(f *forger) {
		f.confirmed(func(e *audit.Entry) { e.Assertion.Signature[10] ^= 1 })
	}},
	{"a time before that of the entry before", "before that of an earlier", func(f *forger) {
		f.deposit(alice, "100", nil)
		f.deposit(alice, "100", func(e *audit.Entry) { e.Time = e.Time.Add(-time.Hour) })
		f.deposit(alice, "100", func(e *audit.Entry) { e.Time = e.Time.Add(-59 * time.Minute) })
		f.after = 1
	}},
}

// behave does what the lies say that was done, as it may be done.
func (f *forger) behave() {
	f.t.Helper()
	id := f.session()
	f.deposit(alice, "100", in(id, "passkey", "key"))
	f.says(alice, atm.SessionEnd, "session", id)
	f.says(office, atm.CertRevoke, "serial", "b")
	f.deposit(certified(alice, "a"), "100", nil)
	f.confirmed(func(*audit.Entry) {})
	grantee := f.granted()
	f.takes(grantee, 600)
	f.takes(grantee, 400)
	f.granted()
	f.takes(holding(alice, "another", gas.Subject), 1000)
	index := f.deposit(alice, "100", request)
	f.write(alice, atm.Deposit, vault.Report{}, repeats(index), "account", "100", "amount", "1.00")
	hold := f.hold()
	held, _ := vault.ParseHoldID(hold)
	f.do(alice, atm.Release, vault.Release{Hold: held}, "hold", hold)
	f.clock.Add(-time.Hour.Microseconds())
	f.deposit(alice, "100", nil)
	f.ledger.Do(f.t.Context(), vault.Command{Event: audit.EventClockStep, Rule: vault.Report{}})
	f.clock.Add(time.Minute.Microseconds())
	f.deposit(alice, "100", nil)
}
