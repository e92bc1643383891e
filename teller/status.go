package teller

import (
	"context"

	"example.com/atm"
	"example.com/atm/teller/lookup"
	"example.com/atm/vault"
)

// showStatus carries out ServerStatus.
func showStatus(ctx context.Context, t *Teller, in *input) (vault.Rule, error) {
	status, err := t.cfg.Installation.Status(ctx)
	if err != nil {
		return nil, err
	}
	holds, err := lookup.PendingHolds(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	orders, err := lookup.WaitingOrders(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	feed, err := lookup.Subscriptions(ctx, t.cfg.Store)
	if err != nil {
		return nil, err
	}
	backup, err := lookup.LastBackup(ctx, t.cfg.Store, t.cfg.Index)
	if err != nil {
		return nil, err
	}
	roles := make([]string, len(in.Caller.Roles))
	for i, role := range in.Caller.Roles {
		roles[i] = string(role)
	}
	return vault.Report{Result: append(status,
		atm.Field{Name: "caller", Value: atm.Record{
			{Name: "subject", Value: in.Caller.Subject},
			{Name: "roles", Value: roles},
			{Name: "method", Value: in.Caller.Method},
		}},
		atm.Field{Name: "holds", Value: holds},
		atm.Field{Name: "orders", Value: orders},
		atm.Field{Name: "feed", Value: feed},
		atm.Field{Name: "backup", Value: backup},
	)}, nil
}
