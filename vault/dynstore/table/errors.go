package table

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"example.com/atm/vault"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// An Error is what went wrong with a table, in one line.
type Error struct {
	err     error
	meaning meaning
}

// A meaning is what an error says of what was asked for.
type meaning int

const (
	refused  meaning = iota // it was not done, and will not be
	later                   // it was not done, and may be later
	doubtful                // nobody knows whether it was done
)

// Error implements error.
func (e *Error) Error() string {
	return "DynamoDB: " + strings.Join(strings.Fields(e.err.Error()), " ")
}

// Unwrap returns what the SDK said.
func (e *Error) Unwrap() error { return e.err }

var (
	// ErrCondition reports that nothing was written, because an item is not what it had to be.
	ErrCondition = errors.New("an item is not what it was")

	// ErrNoTable reports a table that does not exist.
	ErrNoTable = errors.New("there is no such table")
)

// errThrottled reports a batch of which nothing was done.
var errThrottled = errors.New("the table is throttled: nothing of a batch was done")

// A Failed is an ErrCondition of a transaction: which of its writes met another item.
type Failed struct {
	Writes []int

	// First is what the item of the first write is, when that write is among them; nil when
	// there is none, or it was not said.
	First *Item
}

// Error implements error.
func (f *Failed) Error() string { return ErrCondition.Error() }

// Is reports that it is an ErrCondition.
func (f *Failed) Is(target error) bool { return target == ErrCondition }

// explain makes an error of the SDK an Error, ErrCondition or ErrNoTable.
func explain(err error) error {
	if err == nil {
		return nil
	}
	var single *types.ConditionalCheckFailedException
	var missing *types.ResourceNotFoundException
	var cancelled *types.TransactionCanceledException
	switch {
	case errors.As(err, &single):
		return &Failed{Writes: []int{0}}
	case errors.As(err, &missing):
		return &Error{fmt.Errorf("%w: %w", ErrNoTable, err), refused}
	case errors.As(err, &cancelled):
		return explainCancelled(cancelled)
	}
	return &Error{err, meaningOf(err)}
}

// explainCancelled says why a transaction was not done, which is sure. What was in the way of the
// first write leaves open what that would have met, and so what the conditions of the others mean:
// the items of a transaction change one after the other.
func explainCancelled(err *types.TransactionCanceledException) error {
	var failed Failed
	means := refused
	for i, reason := range err.CancellationReasons {
		switch aws.ToString(reason.Code) {
		case "ConditionalCheckFailed":
			failed.Writes = append(failed.Writes, i)
			if i == 0 && reason.Item != nil {
				first := itemOf(reason.Item)
				failed.First = &first
			}
		case "TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded":
			means = later
			if i == 0 {
				return &Error{err, means}
			}
		}
	}
	if len(failed.Writes) > 0 {
		return &failed
	}
	return &Error{err, means}
}

// meaningOf says what an error of one request means. Only what the service itself says is sure: a
// connection that ends, an answer that is cut off or a failure within the service can come after
// what was asked for was done.
func meaningOf(err error) meaning {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return doubtful
	}
	switch api.ErrorCode() {
	case "ProvisionedThroughputExceededException", "RequestLimitExceeded", "ThrottlingException",
		"ThrottledException", "LimitExceededException", "TransactionConflictException",
		"ReplicatedWriteConflictException", "ResourceInUseException":
		return later
	case "TransactionInProgressException":
		return doubtful
	}
	var response *smithyhttp.ResponseError
	if api.ErrorFault() == smithy.FaultServer ||
		errors.As(err, &response) && response.HTTPStatusCode() >= 500 {
		return doubtful
	}
	return refused
}

// Transient reports whether what failed may work when it is tried again.
func Transient(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.meaning != refused
}

// Doubtful reports whether what failed may have been done all the same.
func Doubtful(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.meaning == doubtful
}

// Patience bounds how long what failed is tried again.
const Patience = 5 * time.Second

// Patiently reads, and tries again what failed, for as long as Patience. What it calls begins
// anew or continues where it was. What still could not be read is an error that is
// vault.ErrUnavailable.
func Patiently(ctx context.Context, read func() error) error {
	end := time.Now().Add(Patience)
	for wait := (Backoff{}); ; {
		err := read()
		if err == nil || !Transient(err) {
			return err
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return fmt.Errorf("%w: %w", vault.ErrUnavailable, err)
		}
		wait.Pause(ctx)
	}
}

// A Backoff is how long to wait before something is tried again: longer each time, and never as
// long as another one that began at the same time.
type Backoff struct{ tries int }

const (
	firstPause = 4 * time.Millisecond
	maxPause   = 256 * time.Millisecond
)

// Pause waits a moment, or until ctx is done.
func (b *Backoff) Pause(ctx context.Context) {
	most := min(firstPause<<min(b.tries, 10), maxPause)
	b.tries++
	timer := time.NewTimer(time.Duration(rand.Int64N(int64(most))) + time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
