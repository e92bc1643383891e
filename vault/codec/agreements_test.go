package codec

import (
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/vault"
	"example.com/atm/vault/calendar"
)

// agreedRecords are a mandate, a standing order and a reversal with every field set.
func agreedRecords() (vault.Mandate, vault.Order, vault.Reversal) {
	at := time.Unix(1_800_000_000, 0).UTC()
	m := vault.Mandate{
		ID: 9, Account: "7", Debtor: "user:demo", Creditor: "service:gas", Memo: "Gas, „Mai“",
		Terms: vault.MandateTerms{
			Each: 100, Total: 300, Period: calendar.Week, From: at, Until: at.AddDate(1, 0, 0),
		},
		Spent: 250, Counted: 2956, Revoked: true,
	}
	o := vault.Order{
		ID: 10, Account: "7", Debtor: "user:demo", To: "8", Amount: 2500, Memo: "Rent",
		Schedule: calendar.Schedule{
			Every: calendar.Month, On: 31, At: 390, Zone: "Europe/Zurich", From: 739_000,
			Until: 739_400,
		},
		Next: at, Paid: 12, Failed: 1, Last: at.AddDate(0, -1, 0),
		Outcome: atm.InsufficientFunds, Cancelled: true,
	}
	return m, o, vault.Reversal{Of: 11, Amount: 12}
}

// FuzzAgreements takes records of mandates, standing orders and reversals apart that nobody wrote.
// What can be read is read the same again when it was written.
func FuzzAgreements(f *testing.F) {
	mandate, order, reversal := agreedRecords()
	f.Add(EncodeMandate(&mandate))
	f.Add(EncodeOrder(&order))
	f.Add(EncodeReversal(&reversal))
	f.Add(EncodeMandate(&vault.Mandate{}))
	f.Add([]byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := DecodeMandate(1, data); err == nil {
			if again, err := DecodeMandate(1, EncodeMandate(&m)); err != nil || again != m {
				t.Errorf("%+v is read as %+v, %v", m, again, err)
			}
		}
		if o, err := DecodeOrder(1, data); err == nil {
			if again, err := DecodeOrder(1, EncodeOrder(&o)); err != nil || again != o {
				t.Errorf("%+v is read as %+v, %v", o, again, err)
			}
		}
		if r, err := DecodeReversal(1, data); err == nil {
			if again, err := DecodeReversal(1, EncodeReversal(&r)); err != nil || again != r {
				t.Errorf("%+v is read as %+v, %v", r, again, err)
			}
		}
	})
}
