package teller

import (
	"math"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/zone"
)

// noLimit stands in the place of a limit that is lifted.
const noLimit = "none"

// limitAccount sets the limits of an account. What is not given is lifted, unless mode is
// change.
func limitAccount(in *input) (vault.Rule, error) {
	account, refusal := in.account(0, vault.NotFound)
	r := vault.SetLimits{Account: account}
	for i, field := range map[int]*atm.Amount{1: &r.Limits.PerOperation, 2: &r.Limits.DailyAmount} {
		if !in.args[i].Given() || in.args[i].Text == noLimit {
			continue
		}
		var noAmount vault.Rule
		if *field, noAmount = in.amount(i); noAmount != nil {
			return noAmount, nil
		}
	}
	if arg := in.args[3]; arg.Given() && arg.Text != noLimit {
		count, ok := int64(vault.NoneMay), true
		if arg.Text != "0" {
			count, ok = wholeNumber(arg.Text, math.MaxInt64)
		}
		if !ok {
			return vault.Refuse(atm.AmountInvalid, "daily_count is 0, a number above it, or none"),
				nil
		}
		r.Limits.DailyCount = count
	}
	if arg := in.args[4]; arg.Given() && arg.Text != noLimit {
		if !zone.Known(arg.Text) {
			return nil, malformed("there is no time zone %q", shorten(arg.Text))
		}
		r.Limits.Zone = arg.Text
	}
	switch mode := in.args[5]; {
	case !mode.Given(), mode.Text == "set":
	case mode.Text == "change":
		r.Keep = vault.KeptLimits{
			PerOperation: !in.args[1].Given(), DailyAmount: !in.args[2].Given(),
			DailyCount: !in.args[3].Given(), Zone: !in.args[4].Given(),
		}
	default:
		return nil, malformed("the mode of limits is change or set")
	}
	if refusal != nil {
		return refusal, nil
	}
	return r, nil
}
