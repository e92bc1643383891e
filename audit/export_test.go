package audit

import (
	"context"

	"example.com/atm/audit/merkle"
)

// ProveExtends is proveExtends, for tests that publish logs.
func (l *Log) ProveExtends(ctx context.Context, older int64) ([]merkle.Hash, error) {
	return l.proveExtends(ctx, older)
}
