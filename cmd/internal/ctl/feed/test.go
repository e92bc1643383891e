package feed

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

const (
	triedWithin = 15 * time.Second // a try takes up to ten
	askFirst    = 500 * time.Millisecond
	askEach     = time.Second // each question is an entry of the audit log
)

func testCommand(env *ctl.Env) *cobra.Command {
	var on target
	cmd := &cobra.Command{
		Use:   "test NAME",
		Short: "Send a test event, and tell whether it arrived",
		Long: `Send a test event to the receiver of a subscription, once, and tell whether it arrived. It
works for a subscription that is paused or stopped, too. Exit code 3 says that it did not
arrive, or was not tried within 15 seconds.`,
		Example: "  atmctl feed test books",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := on.parse(args[0]); err != nil {
				return err
			}
			return test(cmd.Context(), env, &on)
		},
	}
	on.addFlag(env, cmd)
	return cmd
}

func test(ctx context.Context, env *ctl.Env, on *target) error {
	result, err := on.call(ctx, env, atm.FeedTest)
	if err != nil {
		return err
	}
	text, _ := result.(string)
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("the server's answer has no number of a test: %w", err)
	}
	ask := time.NewTimer(askFirst)
	defer ask.Stop()
	end := time.NewTimer(triedWithin)
	defer end.Stop()
	for {
		select {
		case <-ask.C:
			ask.Reset(askEach)
		case <-end.C:
			return undelivered("the test event was not tried within " + triedWithin.String() +
				"; atmctl feed show tells when it was")
		case <-ctx.Done():
			return ctx.Err()
		}
		result, err := on.call(ctx, env, atm.FeedShow)
		if err != nil {
			return err
		}
		record, _ := result.(map[string]any)
		s := subscription(record)
		if tested, _ := strconv.ParseInt(s.text("tested"), 10, 64); tested < number {
			continue
		}
		if problem := s.text("test_error"); problem != "" {
			return undelivered("the test event did not arrive: " + problem)
		}
		return env.Tell(map[string]any{"name": on.name, "test": number, "delivered": true},
			"test event %d arrived\n", number)
	}
}

func undelivered(reason string) error {
	return &exit.Error{Code: exit.Refused, Err: errors.New(reason)}
}
