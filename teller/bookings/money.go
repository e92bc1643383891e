package bookings

import (
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
)

// noted makes a booking refuse a memo that is none. No rule reads the memo: it stands in the
// arguments of the entry. What else is wrong is said first, and read in any case, so that the
// entry has it as it was understood.
func noted(book func(*Input) (vault.Rule, error)) func(*Input) (vault.Rule, error) {
	return func(in *Input) (vault.Rule, error) {
		rule, err := book(in)
		if _, refused := rule.(vault.Refusal); refused || err != nil {
			return rule, err
		}
		memo := in.Args[in.Method.Position(atm.MemoArg)]
		if atm.CheckMemo(memo.Text) != nil {
			return badMemo, nil
		}
		return rule, nil
	}
}

var badMemo = vault.Refuse(atm.MemoInvalid, "A memo is text of at most 140 characters and 256 "+
	"bytes, without control and direction characters")

func deposit(in *Input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Deposit{
		Party: in.Party(), Account: account, Cash: vault.Cash(in.Caller.Subject), Amount: amount,
		Tell: in.Inquires,
	}, nil
}

func withdraw(in *Input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Withdraw{
		Party: in.Party(), Account: account, Cash: vault.Cash(in.Caller.Subject), Amount: amount,
		Tell: in.Inquires,
	}, nil
}

func transfer(in *Input) (vault.Rule, error) {
	from, noFrom := in.Account(0, vault.NotFound)
	to, noTo := in.Account(1, vault.NotFound)
	amount, noAmount := in.Amount(2)
	for _, refusal := range []vault.Rule{noAmount, noFrom, noTo} {
		if refusal != nil {
			return refusal, nil
		}
	}
	return vault.Transfer{
		Party: in.Party(), From: from, To: to, Amount: amount,
		Tell: in.Inquires,
	}, nil
}

const (
	holdDefault = 7 * 24 * time.Hour
	holdMost    = 30 * 24 * time.Hour
)

func authorize(in *Input) (vault.Rule, error) {
	account, amount, refusal := in.movement()
	if refusal != nil {
		return refusal, nil
	}
	life := holdDefault
	if arg := in.Args[2]; arg.Given() {
		n, ok := WholeNumber(arg.Text, int64(holdMost/time.Second))
		if !ok {
			return vault.Refuse(atm.AmountInvalid, "The seconds of a hold are a number from 1 to "+
				"2592000"), nil
		}
		life = time.Duration(n) * time.Second
	}
	return vault.Authorize{Party: in.Party(), Account: account, Amount: amount, Life: life}, nil
}

// WholeNumber reads a number from 1 to most.
func WholeNumber(s string, most int64) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 1 && n <= most
}

func capture(in *Input) (vault.Rule, error) {
	hold, refusal := in.Hold()
	r := vault.Capture{Party: in.Party(), Hold: hold, Cash: vault.Cash(in.Caller.Subject)}
	if in.Args[1].Given() {
		var noAmount vault.Rule
		if r.Amount, noAmount = in.Amount(1); noAmount != nil {
			return noAmount, nil
		}
	}
	if refusal != nil {
		return refusal, nil
	}
	return r, nil
}

func release(in *Input) (vault.Rule, error) {
	hold, refusal := in.Hold()
	if refusal != nil {
		return refusal, nil
	}
	return vault.Release{Party: in.Party(), Hold: hold}, nil
}

// Hold reads the first argument as the id of a hold.
func (in *Input) Hold() (vault.HoldID, vault.Rule) {
	id, ok := vault.ParseHoldID(in.Args[0].Text)
	if !ok {
		return 0, vault.Refusal(vault.NoHold())
	}
	return id, nil
}
