package teller

import (
	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/people"
)

// warrants are what an act of caller rests on. The transaction that carries it out looks
// whether they hold still. The program itself needs none.
func (t *Teller) warrants(caller *atm.Caller, op atm.Operation) []people.Warrant {
	if caller.Method == "" {
		return nil
	}
	// The operations of the token endpoint are open to every caller who may sign in there.
	permits := func(roles []atm.Role) bool {
		p := caller.Principal
		p.Roles = roles
		return t.cfg.Permissions.Permit(p, op) != atm.Nowhere
	}
	if op == atm.TokenSelf || op == atm.TokenGiveUp {
		permits = nil
	}
	w := []people.Warrant{{
		Subject: caller.Subject, Permits: permits,
		Revocation: caller.Revocation, Issued: caller.Issued, Verifier: caller.Verifier,
	}}
	if caller.Actor != "" {
		w = append(w, people.Warrant{Subject: caller.Actor, Issued: caller.Issued})
	}
	return w
}

// present are the warrants of callers who take part in the act of another caller: each of them
// may still sign in.
func present(callers ...*atm.Caller) []people.Warrant {
	w := make([]people.Warrant, len(callers))
	for i, c := range callers {
		w[i] = people.Warrant{
			Subject: c.Subject, Revocation: c.Revocation, Issued: c.Issued,
			Verifier: c.Verifier,
		}
	}
	return w
}

// keepOperator refuses a rule that would leave the server without an operator.
func (t *Teller) keepOperator(rule vault.Rule) vault.Rule {
	about, _ := rule.(vault.PeopleRule)
	if r, is := about.Rule.(people.Demoting); is {
		return vault.People(people.KeepsOperator{
			Demoting: r,
			Others:   t.cfg.Permissions.Operators(),
		})
	}
	return rule
}
