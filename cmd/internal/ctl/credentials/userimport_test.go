package credentials

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/exit"
)

func TestPasswordsAreTakenBackOnlyWhenNothingWasChanged(t *testing.T) {
	refused := func(code atm.Code) error {
		return exit.FromAnswer(&client.Answer{Code: code, Reason: "no"})
	}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{refused(atm.AccountExists), true},
		{refused(atm.PermissionDenied), true},
		{refused(atm.OutcomeUnknown), false},
		{fmt.Errorf("%w: refused", client.ErrConnect), true},
		{fmt.Errorf("%w: reset", client.ErrLost), false},
		{fmt.Errorf("%w: timeout", context.DeadlineExceeded), false},
		{client.ErrNotAuthenticated, true},
		{&client.HTTPError{StatusCode: 429}, true},
		{&client.HTTPError{StatusCode: 502}, false},
		{errors.New("the answer cannot be read"), false},
	} {
		if got := refusedForSure(tt.err); got != tt.want {
			t.Errorf("refusedForSure(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}
