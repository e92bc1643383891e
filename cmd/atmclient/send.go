package main

import (
	"context"
	"fmt"
	"time"

	"example.com/atm"
	"example.com/atm/client"
)

// send sends the request, and waits for the answer for at most this long.
func (r *request) send(ctx context.Context, c *client.Client, most time.Duration) (*client.Answer,
	error,
) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	switch r.operation {
	case atm.Inquiry:
		return c.Inquiry(ctx, r.account)
	case atm.Statement:
		return c.Statement(ctx, r.account, r.page)
	case atm.Certificate:
		return c.Certificate(ctx, r.account)
	case atm.MandateRevoke, atm.OrderShow, atm.OrderCancel: // twice is once
		return c.Call(ctx, string(r.operation), r.ref)
	case atm.MandateList, atm.OrderList:
		return c.Call(ctx, string(r.operation), r.account.String())
	case atm.Notices:
		return c.Notices(ctx, r.account, r.page.Limit, r.page.Cursor)
	case atm.Whoami:
		return c.Call(ctx, string(atm.Whoami))
	}
	return r.move(ctx, c)
}

// move sends a request that has an id.
func (r *request) move(ctx context.Context, c *client.Client) (*client.Answer, error) {
	memo := client.Memo(r.memo)
	switch r.operation {
	case atm.Deposit:
		return c.Deposit(ctx, r.account, r.amount, r.id, memo)
	case atm.Withdraw:
		return c.Withdraw(ctx, r.account, r.amount, r.id, memo)
	case atm.Transfer:
		return c.Transfer(ctx, r.account, r.to, r.amount, r.id, memo)
	case atm.Authorize:
		return c.Authorize(ctx, r.account, r.amount, r.life, r.id, memo)
	case atm.Capture:
		return c.Capture(ctx, r.ref, r.amount, r.id, memo)
	case atm.Release:
		return c.Release(ctx, r.ref, r.id)
	case atm.Reverse:
		return c.Reverse(ctx, r.ref, r.amount, r.id, memo)
	case atm.MandateCreate:
		return c.CreateMandate(ctx, r.account, r.mandate, r.id)
	case atm.Collect:
		return c.Collect(ctx, r.ref, r.amount, r.to, r.id, memo)
	case atm.OrderCreate:
		return c.CreateOrder(ctx, r.account, r.order, r.id)
	case atm.Notify:
		return c.Note(ctx, r.account, r.memo, r.id)
	}
	return nil, fmt.Errorf("nothing sends %s", r.operation)
}
