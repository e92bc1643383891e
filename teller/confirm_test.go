package teller_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/assertion/assertiontest"
	"example.com/atm/teller"
	"example.com/atm/teller/confirm"
	"example.com/atm/teller/sessions"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

const page = "https://bank.example:9000"

// A signer is a customer in a session, with a device that has their passkey.
type signer struct {
	*bank
	*assertiontest.Device
	caller   *atm.Caller
	from, to vault.Name
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{bank: newBank(t), Device: assertiontest.NewDevice(t)}
	ada := s.known("user:ada", atm.Customer)
	s.enrol(ada, s.Device)
	inside, status := s.signIn(ada, "session", s.ID, "challenge", 1)
	if status.Code != atm.OK {
		t.Fatalf("signing in: %v", status)
	}
	s.caller, s.Count = inside, 1
	s.known("user:bob", atm.Customer)
	s.from, s.to = s.opened("200", "user:ada", "100"), s.opened("300", "user:bob", "0.01")
	return s
}

// opened opens an account as an operator does.
func (s *signer) opened(number, owner, opening string) vault.Name {
	s.t.Helper()
	root := s.known("user:chief", atm.Operator)
	if got := s.do(root, atm.AccountOpen, text(number), text(owner), text(opening)); got.Code !=
		atm.OK {
		s.t.Fatal(got)
	}
	return vault.Name(number)
}

// enrol adds the passkey of a device to those of a caller.
func (b *bank) enrol(caller *atm.Caller, device *assertiontest.Device) {
	b.t.Helper()
	status, err := b.AddPasskey(b.t.Context(), caller, people.Passkey{
		ID: device.ID, Name: "Phone", Key: device.Key(b.t), Flags: 5,
	})
	if err != nil || status.Code != atm.OK {
		b.t.Fatalf("a passkey: %v, %v", status, err)
	}
}

// transfer is a call that moves an amount.
func (s *signer) transfer(amount, id string) teller.Call {
	return teller.Call{Operation: atm.Transfer, Args: []atm.Arg{
		text(string(s.from)), text(string(s.to)), text(amount), text(id),
	}}
}

// sign confirms a call, which has to be confirmed.
func (s *signer) sign(call teller.Call) *atm.Assertion {
	s.t.Helper()
	shown, needed, err := s.Shown(s.t.Context(), s.caller, call)
	if err != nil || !needed {
		s.t.Fatalf("%s %v is not to be confirmed: %v", call.Operation, call.Args, err)
	}
	return s.Sign(s.t, shown, page)
}

// ask carries out a call with an assertion.
func (s *signer) ask(call teller.Call, a *atm.Assertion) atm.Status {
	s.t.Helper()
	call.Assertion = a
	reply, err := s.Begin(s.t.Context(), s.caller, call)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply()
}

func TestTransferOfABrowserIsConfirmedWithAPasskey(t *testing.T) {
	s := newSigner(t)
	call := s.transfer("5", "request-1")
	if got := s.ask(call, nil); got.Code != atm.NotConfirmed {
		t.Fatalf("without a confirmation: %v", got)
	}
	signed := s.sign(call)
	first := s.ask(call, signed)
	if first.Code != atm.OK || first.Result != "95.00" {
		t.Fatalf("confirmed: %v", first)
	}
	// The answer was lost: the same again is the same.
	if again := s.ask(call, signed); again.Code != atm.OK || again.Receipt != first.Receipt {
		t.Errorf("confirmed again: %v", again)
	}
	// "5.00" is what "5" means.
	call = s.transfer("5", "request-2")
	if got := s.ask(s.transfer("5.00", "request-2"), s.sign(call)); got.Code != atm.OK {
		t.Errorf("the same amount in another form: %v", got)
	}
	s.reconciled()
}

func TestConfirmationIsOfTheMemoToo(t *testing.T) {
	s := newSigner(t)
	call, other := s.transfer("5", "request-1"), s.transfer("5", "request-1")
	call.Args = append(call.Args, text("rent"))
	other.Args = append(other.Args, text("Rent"))
	signed := s.sign(call)
	for _, changed := range []teller.Call{other, s.transfer("5", "request-1")} {
		if got := s.ask(changed, signed); got.Code != atm.NotConfirmed {
			t.Errorf("with another memo: %v", got)
		}
	}
	if got := s.ask(call, signed); got.Code != atm.OK {
		t.Errorf("with the memo that was shown: %v", got)
	}
	s.reconciled()
}

func TestConfirmationIsGoodForWhatWasShownAlone(t *testing.T) {
	s := newSigner(t)
	for i := range 100 {
		id := fmt.Sprintf("request-%d", i)
		signed := s.sign(s.transfer("5.00", id))
		if got := s.ask(s.transfer(fmt.Sprintf("5.%02d", i+1), id), signed); i < 99 &&
			got.Code != atm.NotConfirmed {
			t.Fatalf("another amount: %v", got)
		}
	}
	signed := s.sign(s.transfer("5.00", "request"))
	back := s.transfer("5.00", "request")
	back.Args[0], back.Args[1] = back.Args[1], back.Args[0]
	otherwise := s.opened("400", "user:bob", "0.01")
	elsewhere := s.transfer("5.00", "request")
	elsewhere.Args[1] = text(string(otherwise))
	for name, call := range map[string]teller.Call{
		"another request": s.transfer("5.00", "request-x"),
		"another account": elsewhere,
		"no request":      s.transfer("5.00", ""),
	} {
		if got := s.ask(call, signed); got.Code != atm.NotConfirmed {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := s.ask(back, signed); got.Code == atm.OK {
		t.Errorf("the other way: %v", got)
	}
	stranger := assertiontest.NewDevice(t)
	s.enrol(s.known("user:eve", atm.Customer), stranger)
	call := s.transfer("5.00", "request")
	shown, _, err := s.Shown(t.Context(), s.caller, call)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.ask(call, stranger.Sign(t, shown, page)); got.Code != atm.NotConfirmed {
		t.Errorf("with the passkey of somebody else: %v", got)
	}
	before := s.Count
	s.Count = 0 // a copy of the key, which counts for itself
	if got := s.ask(call, s.sign(call)); got.Code != atm.PermissionDenied ||
		got.Reason != people.CountWentBack {
		t.Errorf("with a copy of the passkey: %v", got)
	}
	s.Count = before
	if got := s.do(s.caller, atm.PasskeyRemove, text(s.ID)); got.Code != atm.OK {
		t.Fatal(got)
	}
	if got := s.ask(call, signed); got.Code == atm.OK {
		t.Error("with a passkey that was removed")
	}
}

func TestSessionThatWasLeftOpenMakesNoPasskey(t *testing.T) {
	s := newSigner(t)
	secret := *s.caller
	secret.Session, secret.Credential = "", atm.Credential{Method: "secret"}
	if got := s.BeginSession(t.Context(), &secret, &sessions.Beginning{Session: people.Session{
		ID: "another", Subject: secret.Subject, Method: "secret", Agent: "Firefox",
	}}); got.Code != atm.OK {
		t.Fatal(got)
	}
	const again = "Sign in with one of your passkeys again, and add another one within five minutes"
	now, before := time.Now(), time.Now().Add(-time.Hour)
	for name, tt := range map[string]struct {
		credential atm.Credential
		session    string
		reason     string
	}{
		"a moment ago": {
			atm.Credential{Method: "passkey", ID: s.ID, Issued: now}, "session", "",
		},
		"an hour ago": {
			atm.Credential{Method: "passkey", ID: s.ID, Issued: before}, "session", again,
		},
		"with a secret": {atm.Credential{Method: "secret", Issued: now}, "another", again},
		"in no session": {atm.Credential{Method: "mtls"}, "", ""},
	} {
		caller := &atm.Caller{
			Principal: s.caller.Principal, Credential: tt.credential, Session: tt.session,
		}
		device := assertiontest.NewDevice(t)
		got, err := s.AddPasskey(t.Context(), caller, people.Passkey{
			ID: device.ID, Name: "Another", Key: device.Key(t), Flags: 5,
		})
		if err != nil || got.Reason != tt.reason || (got.Code == atm.OK) != (tt.reason == "") {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

// agreements are calls that let money of a signer move later.
func (s *signer) agreements(request string) map[string]teller.Call {
	call := func(op atm.Operation, members ...atm.Member) teller.Call {
		return teller.Call{Operation: op, Request: request, Once: true, Args: []atm.Arg{
			text(string(s.from)), {Kind: atm.Struct, Members: members},
		}}
	}
	member := func(name, value string) atm.Member {
		return atm.Member{Name: name, Arg: text(value)}
	}
	return map[string]teller.Call{
		"a mandate": call(atm.MandateCreate, member("creditor", "user:bob"), member("each", "5"),
			member("total", "20"), member("period", "month")),
		"a mandate without a total": call(atm.MandateCreate, member("creditor", "user:bob"),
			member("each", "0.01")),
		"a standing order": call(atm.OrderCreate, member("to", string(s.to)),
			member("amount", "0.01"), member("every", "month"), member("on", "1")),
	}
}

func TestAgreementOfABrowserIsConfirmedWithAPasskeyWhereTransfersAre(t *testing.T) {
	s := newSigner(t)
	changes := map[string]atm.Member{
		"another creditor":       {Name: "creditor", Arg: text("user:eve")},
		"more at once":           {Name: "each", Arg: text("500")},
		"another account":        {Name: "to", Arg: text("100")},
		"another amount":         {Name: "amount", Arg: text("10")},
		"every day":              {Name: "period", Arg: text("day")},
		"another day":            {Name: "on", Arg: text("2")},
		"an end that was not":    {Name: "until", Arg: text("2999-12-31")},
		"a memo that nobody saw": {Name: "memo", Arg: text("rent")},
	}
	for name, call := range s.agreements("request") {
		call.Request += name
		if got := s.ask(call, nil); got.Code != atm.NotConfirmed {
			t.Errorf("%s without a confirmation: %v", name, got)
		}
		signed := s.sign(call)
		members := call.Args[1].Members
		for what, change := range changes {
			i := slices.IndexFunc(members, func(m atm.Member) bool { return m.Name == change.Name })
			if i < 0 && change.Name != "until" && change.Name != "memo" {
				continue
			}
			other := call
			other.Args = slices.Clone(call.Args)
			other.Args[1].Members = slices.Clone(members)
			if i < 0 {
				other.Args[1].Members = append(other.Args[1].Members, change)
			} else {
				other.Args[1].Members[i] = change
			}
			if got := s.ask(other, signed); got.Code != atm.NotConfirmed {
				t.Errorf("%s, with %s: %v", name, what, got)
			}
		}
		first := s.ask(call, signed)
		if first.Code != atm.OK {
			t.Errorf("%s, confirmed: %v", name, first)
		}
		if again := s.ask(call, signed); again.Code != atm.OK || again.Receipt != first.Receipt {
			t.Errorf("%s, confirmed again: %v", name, again)
		}
	}
	s.reconciled()
}

func TestGrantOfABrowserIsConfirmedWithAPasskeyWhereTransfersAre(t *testing.T) {
	s := newSigner(t)
	grant := func(limit, to string) teller.Call {
		return teller.Call{Operation: atm.GrantCreate, Request: "request", Once: true, Args: []atm.Arg{
			text(string(s.from)), text("transfer"), text(limit), text(to),
		}}
	}
	call := grant("50", "user:bob")
	if got := s.ask(call, nil); got.Code != atm.NotConfirmed {
		t.Fatalf("without a confirmation: %v", got)
	}
	signed := s.sign(call)
	for name, other := range map[string]teller.Call{
		"a larger cap": grant("51", "user:bob"), "another grantee": grant("50", "user:chief"),
	} {
		if got := s.ask(other, signed); got.Code != atm.NotConfirmed {
			t.Errorf("with %s than was confirmed: %v", name, got)
		}
	}
	made := s.ask(call, signed)
	if made.Code != atm.OK {
		t.Fatalf("confirmed: %v", made)
	}
	id, _ := made.Result.(atm.Record).Get("jti").(string)
	end := teller.Call{Operation: atm.GrantRevoke, Args: []atm.Arg{text(id)}}
	if got := s.ask(end, nil); got.Code != atm.OK {
		t.Errorf("taken back: %v", got)
	}
	s.reconciled()
}

func TestReversalOfABrowserIsConfirmedWithAPasskeyWhereTransfersAre(t *testing.T) {
	s := newSigner(t)
	bob := s.known("user:bob", atm.Customer)
	paid := s.do(bob, atm.Deposit, text(string(s.to)), text("50"))
	if paid.Code == atm.OK {
		paid = s.do(bob, atm.Transfer, text(string(s.to)), text(string(s.from)), text("20"))
	}
	index, _, _ := strings.Cut(paid.Receipt, " ")
	reverse := func(amount string) teller.Call {
		return teller.Call{
			Operation: atm.Reverse, Args: []atm.Arg{text(index), text(amount), text("request")},
		}
	}
	part := reverse("5")
	if got := s.ask(part, nil); got.Code != atm.NotConfirmed {
		t.Fatalf("without a confirmation: %v", got)
	}
	signed := s.sign(part)
	all := part
	all.Args = []atm.Arg{text(index), {}, text("request")}
	for name, call := range map[string]teller.Call{
		"more": reverse("5.01"), "all of it": all,
	} {
		if got := s.ask(call, signed); got.Code != atm.NotConfirmed {
			t.Errorf("%s than was confirmed: %v", name, got)
		}
	}
	if got := s.ask(part, signed); got.Code != atm.OK || got.Result != "5.00" {
		t.Errorf("confirmed: %v", got)
	}
	s.reconciled()
}

// TestEndOfAnAgreementNeedsNoPasskey ends a mandate and a standing order in a session: to stop a
// payment is never made harder.
func TestEndOfAnAgreementNeedsNoPasskey(t *testing.T) {
	s := newSigner(t)
	for name, call := range s.agreements("request") {
		call.Request += name
		made := s.ask(call, s.sign(call))
		end := atm.MandateRevoke
		if call.Operation == atm.OrderCreate {
			end = atm.OrderCancel
		}
		id, _ := made.Result.(string)
		if got := s.ask(teller.Call{Operation: end, Args: []atm.Arg{text(id)}}, nil); got.Code !=
			atm.OK {
			t.Errorf("%s, ended: %v", name, got)
		}
	}
	s.reconciled()
}

func TestOnlySessionsConfirm(t *testing.T) {
	s := newSigner(t)
	s.caller = &atm.Caller{Principal: s.caller.Principal} // a caller of the API itself
	if got := s.ask(s.transfer("5", "request"), nil); got.Code != atm.OK {
		t.Errorf("without a browser: %v", got)
	}
}

func TestRefusedTransferLeavesTheCountOfThePasskey(t *testing.T) {
	s := newSigner(t)
	call := s.transfer("500", "request-1")
	if got := s.ask(call, s.sign(call)); got.Code != atm.InsufficientFunds {
		t.Fatal(got)
	}
	s.Count-- // as if the device had not signed
	call = s.transfer("5", "request-2")
	if got := s.ask(call, s.sign(call)); got.Code != atm.OK {
		t.Error(got)
	}
	s.reconciled()
}

func TestPolicyOfConfirmationsIsWhatItsTextSays(t *testing.T) {
	for text, want := range map[string]string{
		"none": "none", "transfer=0": "transfer=0.00", "transfer": "transfer=0.00",
		"withdraw=500, transfer=0.00": "transfer=0.00,withdraw=500.00",
		"admin.account.close":         "admin.account.close=0.00",
	} {
		p, err := confirm.Parse(text)
		if err != nil || p.String() != want {
			t.Errorf("%q is %s, %v", text, p, err)
		}
	}
	for _, text := range []string{
		"", "transfer=", "transfer=-1", "transfer=1.001", "statement", "transfer,transfer", "none,transfer",
		"admin.user.add", "order.cancel", "mandate.revoke",
	} {
		if p, err := confirm.Parse(text); err == nil {
			t.Errorf("%q is %s", text, p)
		}
	}
	p, err := confirm.Parse("withdraw=500")
	if err != nil {
		t.Fatal(err)
	}
	inside := &atm.Caller{Session: "s"}
	for amount, want := range map[string]bool{"500.00": false, "500.01": true, "": true} {
		cmd := vault.Command{Operation: atm.Withdraw, Caller: inside}
		if amount != "" {
			cmd.Args = append(cmd.Args, audit.Arg{Name: "amount", Value: amount})
		}
		if p.Needs(&cmd) != want {
			t.Errorf("%q: confirmed is not %v", amount, want)
		}
	}
	if !strings.Contains(confirm.Default.String(), "transfer=0.00") {
		t.Error("transfers are not confirmed by default")
	}
}

func TestWhatIsConfirmedWithTransfersCountsByItsOwnAmount(t *testing.T) {
	inside := &atm.Caller{Session: "s"}
	for _, tt := range []struct {
		policy string
		op     atm.Operation
		args   string // names and values
		want   bool
	}{
		{"transfer=100", atm.Reverse, "amount=100.00", false},
		{"transfer=100", atm.Reverse, "amount=100.01", true},
		{"transfer=100", atm.Reverse, "index=4", true}, // all that is left
		{"transfer=100,reverse=500", atm.Reverse, "amount=500.00", false},
		{"transfer=100", atm.OrderCreate, "amount=0.01", true},
		{"transfer=100,order.create=50", atm.OrderCreate, "amount=50.00", false},
		{"transfer=100,order.create=50", atm.OrderCreate, "amount=50.01", true},
		{"transfer=100", atm.MandateCreate, "total=0.01", true},
		{"mandate.create=50", atm.MandateCreate, "each=90.00 total=50.00", false},
		{"mandate.create=50", atm.MandateCreate, "each=10.00 total=50.01", true},
		{"mandate.create=50", atm.MandateCreate, "each=0.01", true}, // and again, and again
		{"transfer=100", atm.GrantCreate, "cap=0.01", true},
		{"admin.grant.create=50", atm.GrantCreate, "cap=50.00", false},
		{"admin.grant.create=50", atm.GrantCreate, "cap=50.01", true},
		{"transfer", atm.GrantRevoke, "grant=x", false},
		{"transfer", atm.Collect, "amount=5.00", false},
		{"collect=5", atm.Collect, "amount=5.01", true},
		{"transfer", atm.MandateRevoke, "mandate=m4", false},
		{"transfer", atm.OrderCancel, "order=o4", false},
		{"withdraw", atm.OrderCreate, "amount=5.00", false},
		{"none", atm.MandateCreate, "each=5.00", false},
	} {
		p, err := confirm.Parse(tt.policy)
		if err != nil {
			t.Fatal(err)
		}
		cmd := vault.Command{Operation: tt.op, Caller: inside}
		for word := range strings.FieldsSeq(tt.args) {
			name, value, _ := strings.Cut(word, "=")
			cmd.Args = append(cmd.Args, audit.Arg{Name: name, Value: value})
		}
		if got := p.Needs(&cmd); got != tt.want {
			t.Errorf("%s: %s %s is confirmed: %v", tt.policy, tt.op, tt.args, got)
		}
		cmd.Caller = &atm.Caller{}
		if p.Needs(&cmd) {
			t.Errorf("%s: %s is confirmed in no session", tt.policy, tt.op)
		}
	}
}

func TestRemovingThePasskeysDoesNotOpenTheWayToAnother(t *testing.T) {
	s := newSigner(t)
	secret := *s.caller
	secret.Session, secret.Credential = "", atm.Credential{Method: "secret"}
	if got := s.BeginSession(t.Context(), &secret, &sessions.Beginning{Session: people.Session{
		ID: "another", Subject: secret.Subject, Method: "secret", Agent: "Firefox",
	}}); got.Code != atm.OK {
		t.Fatal(got)
	}
	secret.Session = "another"
	if got := s.do(&secret, atm.PasskeyRemove, text(s.ID)); got.Code != atm.OK {
		t.Fatal(got)
	}
	device := assertiontest.NewDevice(t)
	got, err := s.AddPasskey(t.Context(), &secret, people.Passkey{
		ID: device.ID, Name: "Mine", Key: device.Key(t), Flags: 5,
	})
	if err != nil || got.Code != atm.PermissionDenied {
		t.Errorf("%v, %v", got, err)
	}
}
