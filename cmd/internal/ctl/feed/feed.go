// Package feed has the commands of atmctl about subscriptions to the event feed.
package feed

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

// New returns the command atmctl feed.
func New(env *ctl.Env) *cobra.Command {
	return ctl.Group(&cobra.Command{
		Use:   "feed",
		Short: "Subscribe a program to what is entered in the audit log",
		Long: `Subscribe a program to what is entered in the audit log. The server sends each entry that a
subscription selects to a URL, signed, in order, and until it has arrived; docs/feed.md
says what a receiver does.

Customers subscribe to an account of their own, auditors to everything. Operators see and
manage the subscriptions of others, with --owner.`,
	},
		addCommand(env), listCommand(env), showCommand(env),
		act(env, action{
			op: atm.FeedPause, name: "pause", done: "is paused",
			short: "Keep a subscription from being delivered, until it is resumed",
			long: `Keep a subscription from being delivered. What happens meanwhile is delivered when it is
resumed: nothing is left out.`,
		}),
		act(env, action{
			op: atm.FeedResume, name: "resume", done: "is delivered again",
			short: "Let a subscription be delivered that was paused or stopped; try one that fails",
			long: `Let a subscription be delivered that was paused, or that the server stopped, from where it
was. The next try is at once, also of one that is active and fails.`,
		}),
		replayCommand(env), testCommand(env), rotateCommand(env), secretCommand(env),
		act(env, action{
			op: atm.FeedRemove, name: "remove", done: "is removed",
			short: "End a subscription for good",
		}),
		sourceCommand(env),
	)
}

// An action is a command that takes the name of a subscription and nothing else.
type action struct {
	op          atm.Operation
	name, done  string
	short, long string
}

func act(env *ctl.Env, a action) *cobra.Command {
	var on target
	cmd := &cobra.Command{
		Use: a.name + " NAME", Short: a.short, Long: a.long, Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := on.parse(args[0]); err != nil {
				return err
			}
			if _, err := on.call(cmd.Context(), env, a.op); err != nil {
				return err
			}
			return env.Tell(map[string]string{"name": on.name}, "subscription %s %s\n", on.name,
				a.done)
		},
	}
	on.addFlag(env, cmd)
	return cmd
}

func replayCommand(env *ctl.Env) *cobra.Command {
	var on target
	var from string
	cmd := &cobra.Command{
		Use:   "replay NAME --from INDEX",
		Short: "Deliver again what a subscription selects, from an entry on",
		Long: `Deliver again what a subscription selects, from an entry on. Each event has the id that it
had before, so a receiver that keeps ids passes over what it has.`,
		Example: "  atmctl feed replay books --from 4711",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if from == "" {
				return exit.Usagef("--from is missing: the index of an entry")
			}
			if !isIndex(from) {
				return exit.Usagef("--from %q is no index of an entry", from)
			}
			if err := on.parse(args[0]); err != nil {
				return err
			}
			if _, err := on.call(cmd.Context(), env, atm.FeedReplay, from); err != nil {
				return err
			}
			return env.Tell(map[string]string{"name": on.name, "from": from},
				"subscription %s is delivered again from entry %s on\n", on.name, from)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "`index` of the first entry")
	on.addFlag(env, cmd)
	return cmd
}

// A target is the subscription that a command is about.
type target struct {
	name  string // or its id
	owner string // a subject; empty for the caller
}

func (t *target) addFlag(env *ctl.Env, cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.owner, "owner", "", "`subject` whose subscription it is, for "+
		"operators (default you)")
	cmd.ValidArgsFunction = t.complete(env)
}

// parse reads the argument of a command.
func (t *target) parse(name string) (err error) {
	t.name = name
	if t.owner != "" {
		t.owner, err = ctl.Subject(t.owner)
	}
	return err
}

// call calls a method whose last parameter is the owner of the subscription.
func (t *target) call(ctx context.Context, env *ctl.Env, op atm.Operation, more ...any) (any,
	error,
) {
	args := append([]any{t.name}, more...)
	if t.owner != "" {
		args = append(args, t.owner)
	}
	call := env.Call
	if op == atm.FeedRotate {
		call = env.CallOnce // another one would take the secret out of use that receivers have
	}
	result, err := call(ctx, string(op), args...)
	return result, t.explain(err)
}

// explain says what to do about a refusal.
func (t *target) explain(err error) error {
	var coded *exit.Error
	if errors.As(err, &coded) && coded.Word == atm.FeedNotFound {
		coded.Advice = []string{"those that there are: atmctl feed list"}
		if t.owner == "" {
			coded.Advice[0] += "; for one of somebody else, operators name its --owner"
		}
	}
	return err
}

// completeWithin is how long a completion waits for the server.
const completeWithin = time.Second

// complete proposes the names of subscriptions.
func (t *target) complete(env *ctl.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) (names []string,
		_ cobra.ShellCompDirective,
	) {
		const noFile = cobra.ShellCompDirectiveNoFileComp
		if len(args) > 0 || t.parse("") != nil || env.Prepare(cmd) != nil || env.Way.Asks() {
			return nil, noFile
		}
		env.Timeout = min(env.Timeout, completeWithin)
		found, err := subscriptions(cmd.Context(), env, t.owner)
		if err != nil {
			return nil, noFile
		}
		for _, s := range found {
			if name := s.text("name"); strings.HasPrefix(name, typed) {
				names = append(names, name+"\t"+s.text("url"))
			}
		}
		slices.Sort(names)
		return names, noFile
	}
}

// subscriptions lists those of an owner; of the caller when it is empty.
func subscriptions(ctx context.Context, env *ctl.Env, owner string) ([]subscription, error) {
	result, err := env.Call(ctx, string(atm.FeedList), owner)
	if err != nil {
		return nil, err
	}
	answer, _ := result.(map[string]any)
	items, _ := answer["subscriptions"].([]any)
	found := make([]subscription, len(items))
	for i, item := range items {
		found[i], _ = item.(map[string]any)
	}
	return found, nil
}
