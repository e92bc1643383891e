package bookings

import (
	"math"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
	"example.com/atm/vault/zone"
)

func openAccount(in *Input) (vault.Rule, error) {
	account, refusal := in.Account(0, vault.NotFound)
	if refusal != nil {
		return refusal, nil
	}
	r := vault.OpenAccount{Account: account}
	if owner := in.Args[1]; owner.Given() {
		if err := CheckSubject(owner.Text); err != nil {
			return nil, err
		}
		r.Owner = owner.Text
	}
	if in.Args[2].Given() {
		if r.Opening, refusal = in.Amount(2); refusal != nil {
			return refusal, nil
		}
	}
	var err error
	r.Holder, err = in.holder(3)
	return r, err
}

func standing(s vault.Standing) func(*Input) (vault.Rule, error) {
	return func(in *Input) (vault.Rule, error) {
		account, refusal := in.Account(0, vault.NotFound)
		if refusal != nil {
			return refusal, nil
		}
		return vault.SetStanding{Account: account, Standing: s}, nil
	}
}

// noLimit stands in the place of a limit that is lifted.
const noLimit = "none"

// limitAccount sets the limits of an account. What is not given is lifted, unless mode is
// change.
func limitAccount(in *Input) (vault.Rule, error) {
	account, refusal := in.Account(0, vault.NotFound)
	r := vault.SetLimits{Account: account}
	for i, field := range []*atm.Amount{1: &r.Limits.PerOperation, 2: &r.Limits.DailyAmount} {
		if field == nil || !in.Args[i].Given() || in.Args[i].Text == noLimit {
			continue
		}
		var noAmount vault.Rule
		if *field, noAmount = in.Amount(i); noAmount != nil {
			return noAmount, nil
		}
	}
	if arg := in.Args[3]; arg.Given() && arg.Text != noLimit {
		count, ok := int64(vault.NoneMay), true
		if arg.Text != "0" {
			count, ok = WholeNumber(arg.Text, math.MaxInt64)
		}
		if !ok {
			return vault.Refuse(atm.AmountInvalid, "daily_count is 0, a number above it, or none"),
				nil
		}
		r.Limits.DailyCount = count
	}
	if arg := in.Args[4]; arg.Given() && arg.Text != noLimit {
		if !zone.Known(arg.Text) {
			return nil, Malformed("there is no time zone %q", Shorten(arg.Text))
		}
		r.Limits.Zone = arg.Text
	}
	switch mode := in.Args[5]; {
	case !mode.Given(), mode.Text == "set":
	case mode.Text == "change":
		r.Keep = vault.KeptLimits{
			PerOperation: !in.Args[1].Given(), DailyAmount: !in.Args[2].Given(),
			DailyCount: !in.Args[3].Given(), Zone: !in.Args[4].Given(),
		}
	default:
		return nil, Malformed("the mode of limits is change or set")
	}
	if refusal != nil {
		return refusal, nil
	}
	return r, nil
}

func setAccount(in *Input) (vault.Rule, error) {
	account, refusal := in.Account(0, vault.NotFound)
	r := vault.SetAccount{Account: account, Owner: in.Args[1].Text}
	if in.Args[1].Given() {
		if err := CheckSubject(r.Owner); err != nil {
			return nil, err
		}
		in.About = append(in.About, people.Warrant{Subject: r.Owner, Named: true})
	}
	var err error
	if r.Holder, err = in.holder(2); err != nil {
		return nil, err
	}
	if r.Owner == "" && r.Holder == "" {
		return nil, Malformed("there is nothing to set: give an owner or the name of the holder")
	}
	if refusal != nil {
		return refusal, nil
	}
	return r, nil
}
