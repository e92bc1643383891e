package keys

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// silent are replicas on a database that does not answer.
type silent struct{ Alone }

func (silent) Share(ctx context.Context) (changed bool, err error) {
	<-ctx.Done()
	return false, ctx.Err()
}

// TestRotationGivesUpOnADatabaseThatDoesNotAnswer also cancels the caller's context, which does
// not end a rotation whose key is in the folder already.
func TestRotationGivesUpOnADatabaseThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := shareRotated(ctx, silent{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

func TestRotationThatChangedNothingMetAnotherOne(t *testing.T) {
	if err := shareRotated(t.Context(), unchanged{}); !errors.Is(err, errRotatedElsewhere) {
		t.Errorf("%v", err)
	}
}

// unchanged are replicas that have received everything already.
type unchanged struct{ Alone }

func (unchanged) Share(context.Context) (changed bool, err error) { return false, nil }
