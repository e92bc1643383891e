package client

import (
	"context"

	"example.com/atm"
)

// Reverse gives back what an entry of the audit log moved, or amount of it unless that is zero.
// index is the first word of a receipt. id is as for Deposit.
func (c *Client) Reverse(ctx context.Context, index string, amount atm.Amount,
	id atm.RequestID, options ...Option,
) (*Answer, error) {
	return c.move(ctx, atm.Reverse, id, options, index, text(amount))
}

// MandateTerms are what a creditor may collect. Each, or Total with Period, must be there; what
// is empty is left out.
type MandateTerms struct {
	Creditor    string     // a subject
	Each        atm.Amount // most at once
	Total       atm.Amount // most in a Period
	Period      string     // day, week or month
	From, Until string     // days such as 2026-12-31, or times in RFC 3339
	Memo        string
}

// CreateMandate lets a creditor collect from an account of the caller. The text of the answer is
// the id of the mandate. id is as for Deposit.
func (c *Client) CreateMandate(ctx context.Context, account atm.AccountID, t MandateTerms,
	id atm.RequestID,
) (*Answer, error) {
	return agree(ctx, c, atm.MandateCreate, id, account, map[string]any{
		"creditor": t.Creditor, "each": text(t.Each), "total": text(t.Total), "period": t.Period,
		"from": t.From, "until": t.Until, atm.MemoArg: t.Memo,
	})
}

// RevokeMandate ends a mandate: nothing more is collected by it.
func (c *Client) RevokeMandate(ctx context.Context, mandate string) (*Answer, error) {
	return c.Call(ctx, string(atm.MandateRevoke), mandate)
}

// Collect takes amount by a mandate into an account of the caller, who is its creditor. id is as
// for Deposit.
func (c *Client) Collect(ctx context.Context, mandate string, amount atm.Amount,
	to atm.AccountID, id atm.RequestID, options ...Option,
) (*Answer, error) {
	args := []any{mandate, amount.String(), to.String()}
	return c.move(ctx, atm.Collect, id, options, args...)
}

// OrderTerms are what a standing order pays, and when. What is empty is left out.
type OrderTerms struct {
	To          atm.AccountID
	Amount      atm.Amount
	Every       string // day, week or month
	On          string // day of the month, or of the week
	At          string // a time such as 06:30
	Zone        string // a time zone such as Europe/Berlin
	From, Until string // days such as 2026-12-31
	Memo        string
}

// CreateOrder gives a standing order from an account of the caller. The text of the answer is
// the id of the order. id is as for Deposit.
func (c *Client) CreateOrder(ctx context.Context, account atm.AccountID, t OrderTerms,
	id atm.RequestID,
) (*Answer, error) {
	return agree(ctx, c, atm.OrderCreate, id, account, map[string]any{
		"to": t.To.String(), "amount": t.Amount.String(), "every": t.Every, "on": t.On,
		"at": t.At, "zone": t.Zone, "from": t.From, "until": t.Until, atm.MemoArg: t.Memo,
	})
}

// CancelOrder ends a standing order.
func (c *Client) CancelOrder(ctx context.Context, order string) (*Answer, error) {
	return c.Call(ctx, string(atm.OrderCancel), order)
}

// Note leaves a notice for the owner of an account. id is as for Deposit.
func (c *Client) Note(ctx context.Context, account atm.AccountID, notice string,
	id atm.RequestID,
) (*Answer, error) {
	return c.Move(ctx, string(atm.Notify), id, account.String(), notice)
}

// Notices lists the notices on an account, the newest first: a page of at most limit, 50 if it is
// zero, that begins at cursor, which is next of the page before.
func (c *Client) Notices(ctx context.Context, account atm.AccountID, limit int,
	cursor string,
) (*Answer, error) {
	page := map[string]any{"cursor": cursor}
	if limit != 0 {
		page["limit"] = limit
	}
	return c.Call(ctx, string(atm.Notices), account.String(), page)
}

// agree calls a method that makes an agreement. It has no parameter for a request id, so the
// header alone says it.
func agree(ctx context.Context, c *Client, method atm.Operation, id atm.RequestID,
	account atm.AccountID, terms map[string]any,
) (*Answer, error) {
	for name, value := range terms {
		if value == "" {
			delete(terms, name)
		}
	}
	return Once(ctx, c, string(method), id, account.String(), terms)
}

// text is an amount as an argument that zero leaves out.
func text(amount atm.Amount) string {
	if amount == 0 {
		return ""
	}
	return amount.String()
}
