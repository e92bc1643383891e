//go:build unix

package attack_test

// paymentFlaws are flaws in the rules of reversals, mandates, standing orders and notices.
var paymentFlaws = []flaw{
	{
		name: "a reversal is bounded by what was moved alone", file: "vault/reversals.go",
		old: `case amount > left:`, new: `case amount > m.Amount:`,
		attack: "payment/a_reversal_beyond_the_rest$",
	},
	{
		name: "a payer takes back what it paid", file: "vault/reversals.go",
		old: `(!r.Reaches(holder) || !m.Paid)`, new: `!m.Paid`,
		attack: "payment/a_reversal_by_the_payer",
	},
	{
		name: "a reversal tells what entries of others are", file: "vault/reversals.go",
		old: `case !r.Reaches(holder) && !r.Reaches(receiver):`, new: `case r.Amount < 0:`,
		attack: "payment/a_reversal_by_a_stranger",
	},
	{
		name: "a deposit is reversed by its owner", file: "teller/bookings/payments.go",
		old: `atm.Deposit: false,`, new: `atm.Deposit: true,`,
		attack: "payment/a_reversal_of_a_deposit_by_its_owner",
	},
	{
		name: "any creditor collects", file: "vault/mandates.go",
		old: `r.Creditor != "" && r.Creditor != m.Creditor`, new: `r.Creditor == "nobody"`,
		attack: "payment/a_mandate_of_another_creditor",
	},
	{
		name: "a creditor collects for others", file: "vault/mandates.go",
		old: `(Party{r.Creditor}).usable(to)`, new: `(Party{}).usable(to)`,
		attack: "payment/a_collection_for_somebody_else",
	},
	{
		name: "a revocation does nothing", file: "vault/mandates.go",
		old: "if m.Revoked {\n\t\treturn ok", new: "if m.ID > 0 {\n\t\treturn ok",
		attack: "payment/a_revoked_mandate",
	},
	{
		name: "the newest collection alone is counted", file: "vault/mandates.go",
		old: `m.Spent += amount`, new: `m.Spent = amount`, attack: "payment/a_cent_above_the_cap",
	},
	{
		name: "one collection is not bounded", file: "vault/mandates.go",
		old: `if t.Each != 0 && amount > t.Each {`, new: `if t.Each != 0 && amount < 0 {`,
		attack: "payment/a_cent_above_one_collection",
	},
	{
		name: "strangers leave notices", file: "vault/notes.go",
		old: `(a.Version == 0 || !a.CollectedBy(r.Creditor, b.Now))`, new: `a.Version == 0`,
		attack: "payment/a_note_by_a_stranger",
	},
	{
		name: "standing orders of others are shown", file: "vault/query/agreements.go",
		old: `if !known || !r.Reaches(b.Account(o.Account)) {`, new: `if !known {`,
		attack: "payment/another's_order$",
	},
	{
		name: "standing orders of others are ended", file: "vault/orders.go",
		old:    "if !r.Reaches(a) {\n\t\treturn NoOrder()",
		new:    "if a.Version == 0 {\n\t\treturn NoOrder()",
		attack: "payment/an_end_of_another's_order",
	},
	{
		name: "an account has any number of agreements", file: "vault/agreements.go",
		old: `maxAgreements = 100`, new: `maxAgreements = 1_000_000`,
		attack: "payment/one_agreement_too_many",
	},
	{
		name: "a due date is paid as often as it is asked for", file: "vault/orders.go",
		old: `|| !o.Next.Equal(r.Due)`, new: ``, attack: "vault/boltstore:TestStoreKeepsTheContractOfPayments/DueDateIsPaidOnce",
	},
	{
		name: "a cap begins anew when the clock goes back", file: "vault/mandates.go",
		old: `Number(now, zone) > m.Counted`, new: `Number(now, zone) != m.Counted`,
		attack: "vault/boltstore:TestStoreKeepsTheContractOfPayments/CapHoldsWhenTheClockGoesBack",
	},
	{
		name: "a mandate outlives the owner who gave it", file: "vault/admin.go",
		old: `a.Agreements = nil`, new: `_ = a.Agreements`, attack: "vault/boltstore:TestStoreKeepsTheContractOfPayments/MandateEndsWithTheOwner",
	},
	{
		name: "a reversal of any legs is replayed", file: "teller/replay/reversals.go",
		old: `case moved.From != b.From || moved.To != b.To:`, new: `case moved.Amount < 0:`,
		attack: "teller/replay:TestForgedPaymentsAreNamed/a_reversal_to_another_account",
	},
	{
		name: "a collection by anybody is replayed", file: "teller/replay/records.go",
		old: `known && m.Creditor != e.Caller.Subject {`, new: `known && m.Creditor == "" {`,
		attack: "teller/replay:TestForgedPaymentsAreNamed/a_collection_by_somebody_else",
	},
}
