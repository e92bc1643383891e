package console

import (
	"example.com/atm"
	"example.com/atm/console/internal/passkey"
	"example.com/atm/teller"
)

// toConfirm is what the challenge of a confirmation is for. It says nothing of what is confirmed:
// the challenge itself is the hash of that.
const toConfirm = "confirm"

// confirmation is the ceremony by which the caller confirms a call with a passkey; empty for a
// call that needs none.
func (v *visit) confirmation(call teller.Call) ceremony {
	shown, needed, err := v.cfg.Bank.Shown(v.r.Context(), v.caller, call)
	if err != nil || !needed {
		return ceremony{} // what is wrong with the call is said when it is carried out
	}
	site, err := v.site()
	var made passkey.Challenge
	if err == nil {
		have, unread := v.cfg.Access.Passkeys(v.r.Context(), v.caller.Subject)
		if unread == nil && len(have) == 0 {
			return ceremony{Why: "This is confirmed with a passkey, and you have none here yet. " +
				"Add one on your own page, or ask for an invitation."}
		}
		if err = unread; err == nil {
			made, err = site.Request(v.purpose(toConfirm), shown, have...)
		}
	}
	return v.challenge(site, made, err)
}

// confirmed is what a passkey has signed in the form, nil for nothing. What cannot be read
// confirms nothing: the bank refuses it, with an entry.
func (v *visit) confirmed() *atm.Assertion {
	response := v.r.PostForm.Get("response")
	if response == "" {
		return nil
	}
	site, err := v.site()
	if err != nil {
		return &atm.Assertion{}
	}
	a, err := site.Confirmed(response)
	if err != nil {
		return &atm.Assertion{}
	}
	return a
}
