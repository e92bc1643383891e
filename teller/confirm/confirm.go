// Package confirm decides which operations of a browser have to be confirmed with a passkey, and
// takes the confirmation.
//
// What a passkey confirms is the hash of audit.Entry.Shown: the operation, all its arguments and
// its request id. So a confirmation is good for what was shown, and for that once. The entry
// keeps it, and everybody who has the log can check it (package audit/assertion).
package confirm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/assertion"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// A Policy has the operations that are confirmed, each with the amount above which it is.
type Policy map[atm.Operation]atm.Amount

// Default has every transfer confirmed, and what is confirmed as a transfer is.
var Default = Policy{atm.Transfer: 0}

// able are the operations that can be confirmed: those that move money or let it be moved later,
// and those of an operator on an account. Revoking a mandate or a grant and cancelling a standing
// order are not among them: somebody without a passkey at hand can still stop a payment.
var able = []atm.Operation{
	atm.Deposit, atm.Withdraw, atm.Transfer, atm.Reverse, atm.Authorize, atm.Capture, atm.Release,
	atm.MandateCreate, atm.Collect, atm.OrderCreate, atm.GrantCreate,
	atm.AccountOpen, atm.AccountFreeze, atm.AccountUnfreeze, atm.AccountClose, atm.AccountLimit,
	atm.AccountSet,
}

// Parse reads a policy such as "transfer=0.00,withdraw=500.00,admin.account.close". An operation
// without an amount is always confirmed. "none" has none confirmed.
func Parse(text string) (Policy, error) {
	p := make(Policy)
	if text == "none" {
		return p, nil
	}
	for _, word := range strings.Split(text, ",") {
		name, dollars, limited := strings.Cut(strings.TrimSpace(word), "=")
		op := atm.Operation(name)
		if !slices.Contains(able, op) {
			return nil, fmt.Errorf("%q cannot be confirmed: there are %s", name, names())
		}
		if _, twice := p[op]; twice {
			return nil, fmt.Errorf("%s is there twice", name)
		}
		p[op] = 0
		if !limited {
			continue
		}
		amount, code := atm.ParseAmount(dollars)
		if code != atm.OK && dollars != "0" && dollars != "0.00" {
			return nil, fmt.Errorf("%s: %q is no amount of dollars", name, dollars)
		}
		p[op] = amount
	}
	return p, nil
}

func names() string {
	var list []string
	for _, op := range able {
		list = append(list, string(op))
	}
	return strings.Join(list, ", ")
}

// String is what Parse reads.
func (p Policy) String() string {
	if len(p) == 0 {
		return "none"
	}
	var words []string
	for _, op := range slices.Sorted(maps.Keys(p)) {
		words = append(words, fmt.Sprintf("%s=%s", op, p[op]))
	}
	return strings.Join(words, ",")
}

// above returns the amount above which an operation is confirmed, and whether it ever is.
//
// What takes money out of an account as a transfer does is confirmed where transfers are, unless
// the policy names it. A reversal moves money once, so the amount for transfers is good for it. A
// mandate, a standing order and a grant move it again and again, without the user: no amount of one
// transfer is good for them, and each is confirmed.
func (p Policy) above(op atm.Operation) (amount atm.Amount, is bool) {
	if amount, is = p[op]; is {
		return amount, true
	}
	transfer, is := p[atm.Transfer]
	switch op {
	case atm.Reverse:
		return transfer, is
	case atm.MandateCreate, atm.OrderCreate, atm.GrantCreate:
		return 0, is
	}
	return 0, false
}

// Needs reports whether a command has to be confirmed: it comes from a browser, and its amount is
// above that of the policy. A mandate counts as the total of its period, a standing order as one
// payment, and a grant as its cap. What has no amount moves all there is, or no money: a mandate
// without a total lets any number of collections through.
func (p Policy) Needs(cmd *vault.Command) bool {
	above, is := p.above(cmd.Operation)
	if !is || cmd.Caller == nil || cmd.Caller.Session == "" {
		return false
	}
	counts := "amount"
	switch cmd.Operation {
	case atm.MandateCreate:
		counts = "total"
	case atm.GrantCreate:
		counts = "cap"
	}
	i := slices.IndexFunc(cmd.Args, func(a audit.Arg) bool { return a.Name == counts })
	if i < 0 {
		return true
	}
	amount, code := atm.ParseAmount(cmd.Args[i].Value)
	return code != atm.OK || amount > above
}

// Shown is what a passkey signs to confirm a command.
func Shown(cmd *vault.Command) []byte {
	entry := audit.Entry{
		Operation: cmd.Operation, Args: cmd.Args, Request: cmd.Request.Digest, Caller: cmd.Caller,
	}
	sum := entry.Shown()
	return sum[:]
}

// Passkeys are the passkeys that count.
type Passkeys interface {
	// Passkey returns the passkey with an id; nil for none.
	Passkey(ctx context.Context, id string) (*people.Passkey, error)
}

// Apply takes what was signed to confirm a command, nil for nothing, and makes the command refuse
// what is not confirmed as it has to be. An error says that the passkey could not be read.
func (p Policy) Apply(ctx context.Context, passkeys Passkeys, cmd *vault.Command,
	a *atm.Assertion,
) error {
	if _, refused := cmd.Rule.(vault.Refusal); refused || a == nil && !p.Needs(cmd) {
		return nil
	}
	if a == nil {
		cmd.Rule = vault.Refuse(atm.NotConfirmed, "Confirm this with your passkey")
		return nil
	}
	passkey, err := passkeys.Passkey(ctx, a.Passkey)
	if err != nil {
		return err
	}
	device, err := check(cmd, passkey, a)
	if err != nil {
		cmd.Rule = vault.Refuse(atm.NotConfirmed, "Not confirmed: "+err.Error())
		return nil
	}
	cmd.Assertion = a
	cmd.Rule = confirmed{cmd.Rule, people.UsePasskey{
		Subject: cmd.Caller.Subject, ID: passkey.ID, Count: device.Count, Flags: device.Flags,
	}}
	return nil
}

func check(cmd *vault.Command, passkey *people.Passkey, a *atm.Assertion) (assertion.Device,
	error,
) {
	if passkey == nil || passkey.Subject != cmd.Caller.Subject {
		return assertion.Device{}, errors.New("the passkey is not yours")
	}
	if cmd.Request.Digest == "" {
		return assertion.Device{}, errors.New("what is confirmed needs a request id")
	}
	if len(a.ClientData)+len(a.AuthenticatorData)+len(a.Signature) > maxBytes {
		return assertion.Device{}, errors.New("what was signed is too long for an entry")
	}
	return assertion.Check(a, passkey.Key, Shown(cmd))
}

// maxBytes bounds the parts of an assertion together, so that the longest entry holds it beside
// ids of passkeys and terms. Devices send some hundred bytes. A log may have longer ones of
// earlier versions, up to assertion.MaxBytes.
const maxBytes = 2 << 10

// confirmed is a rule that a passkey has confirmed, which counts the signature.
type confirmed struct {
	vault.Rule
	use people.UsePasskey
}

// Keys implements vault.Rule.
func (r confirmed) Keys(k *vault.Keys) {
	r.Rule.Keys(k)
	r.use.Keys(&k.Keys)
}

// Decide implements vault.Rule. What is refused changes nothing, the count neither.
func (r confirmed) Decide(b *vault.Books) atm.Status {
	if status := r.use.Check(b.People); status.Code != atm.OK {
		return status
	}
	status := r.Rule.Decide(b)
	if status.Code == atm.OK {
		r.use.Decide(b.People)
	}
	return status
}
