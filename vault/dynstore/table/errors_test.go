package table

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TestConflictOnTheFirstItemLeavesOpenWhatTheOthersMean cancels transactions for several reasons.
// While another transaction is being made, its items change one after the other: some conditions
// fail already, and the first item is still in its hands.
func TestConflictOnTheFirstItemLeavesOpenWhatTheOthersMean(t *testing.T) {
	const none, failed, conflict = "None", "ConditionalCheckFailed", "TransactionConflict"
	for _, tt := range []struct {
		reasons   []string
		condition bool
		transient bool
	}{
		{[]string{failed, none}, true, false},
		{[]string{failed, conflict}, true, false},
		{[]string{none, failed}, true, false},
		{[]string{none, conflict}, false, true},
		{[]string{conflict, none}, false, true},
		{[]string{conflict, failed}, false, true},
		{[]string{"ProvisionedThroughputExceeded", failed}, false, true},
		{[]string{none, "ValidationError"}, false, false},
	} {
		cancelled := &types.TransactionCanceledException{}
		for _, code := range tt.reasons {
			cancelled.CancellationReasons = append(cancelled.CancellationReasons,
				types.CancellationReason{Code: aws.String(code)})
		}
		err := explain(cancelled)
		if errors.Is(err, ErrCondition) != tt.condition || Transient(err) != tt.transient ||
			Doubtful(err) {
			t.Errorf("%v: %v", tt.reasons, err)
		}
	}
}
