package feed

import (
	"context"
	"errors"
	"strings"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/vault/feeds"
	"github.com/spf13/cobra"
)

// sourceCommand is about the other direction: webhooks that arrive here.
func sourceCommand(env *ctl.Env) *cobra.Command {
	return ctl.Group(&cobra.Command{
		Use:   "source",
		Short: "Take notices of a service as signed webhooks",
		Long: `Take notices of a service as signed webhooks: what it sends to the path of a source is left
as a notice (atmclient note), once for each webhook-id. It is for operators.`,
	},
		sourceAddCommand(env),
		&cobra.Command{
			Use: "list", Short: "List the sources of webhooks", Args: exit.Args(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				result, err := env.Call(cmd.Context(), string(atm.FeedSourceList))
				if err != nil {
					return err
				}
				answer, _ := result.(map[string]any)
				sources, _ := answer["sources"].([]any)
				return env.Print([]string{"name", "owner", "path", "rotated"}, sources)
			},
		},
		sourceSecretCommand(env, sourceAct{
			name: "secret", short: "Show what the webhooks of a source are signed with, and their path",
		}),
		sourceSecretCommand(env, sourceAct{
			name: "rotate-secret", op: atm.FeedSourceRotate,
			short: "Replace the secret of a source; for 24 hours the old one is good too",
		}),
		sourceRemoveCommand(env),
	)
}

// A source is one of a service.
type source struct{ name, owner string }

func (s *source) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.owner, "owner", "", "`service` that it is of, such as service:gas")
}

// parse reads the argument and the flag of a command.
func (s *source) parse(name string) error {
	if err := feeds.CheckName(name); err != nil {
		return exit.Usagef("%q: %w", name, err)
	}
	if s.owner == "" {
		return exit.Usagef("--owner is missing: the service that the source is of")
	}
	if !strings.Contains(s.owner, ":") {
		s.owner = "service:" + s.owner
	}
	subject, err := ctl.Subject(s.owner)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(subject, "service:") {
		return exit.Usagef("--owner is a service, such as service:gas, not %q", s.owner)
	}
	s.name, s.owner = name, subject
	return nil
}

// call calls a method on the source.
func (s *source) call(ctx context.Context, env *ctl.Env, op atm.Operation) (any, error) {
	call := env.Call
	if op == atm.FeedSourceAdd || op == atm.FeedSourceRotate {
		call = env.CallOnce
	}
	result, err := call(ctx, string(op), s.name, s.owner)
	var coded *exit.Error
	if errors.As(err, &coded) && coded.Word == atm.FeedNotFound {
		coded.Advice = []string{"those that there are: atmctl feed source list"}
	}
	return result, err
}

// tell prints what the webhooks of the source are signed with.
func (s *source) tell(ctx context.Context, env *ctl.Env, out string) error {
	result, err := s.call(ctx, env, atm.FeedSourceSecret)
	if err != nil {
		return err
	}
	return printSecret(ctx, env, result, out, "atmctl feed source secret "+s.name+" --owner "+
		s.owner)
}

func sourceAddCommand(env *ctl.Env) *cobra.Command {
	return sourceSecretCommand(env, sourceAct{
		name: "add", op: atm.FeedSourceAdd, short: "Register a source of webhooks of a service",
		long: `Register a source of webhooks of a service, and print what they are signed with, as Standard
Webhooks say (v1), and the path that they are sent to. The body of a webhook is an object
such as {"account": 100, "text": "Your gas is paid"}.`,
		example: "  atmctl feed source add bills --owner service:gas --secret-out bills.secret",
	})
}

// A sourceAct is a command that tells the secret of a source, after an operation unless op is
// empty.
type sourceAct struct {
	name                 string
	op                   atm.Operation
	short, long, example string
}

func sourceSecretCommand(env *ctl.Env, a sourceAct) *cobra.Command {
	var on source
	var out string
	cmd := &cobra.Command{
		Use: a.name + " NAME --owner SERVICE", Short: a.short, Long: a.long, Example: a.example,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := on.parse(args[0]); err != nil {
				return err
			}
			if err := checkOut(out); err != nil {
				return err
			}
			if a.op != "" {
				if _, err := on.call(cmd.Context(), env, a.op); err != nil {
					return err
				}
			}
			return on.tell(cmd.Context(), env, out)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	on.addFlag(cmd)
	cmd.Flags().StringVar(&out, "secret-out", "", "`file` for the secret")
	return cmd
}

func sourceRemoveCommand(env *ctl.Env) *cobra.Command {
	var on source
	cmd := &cobra.Command{
		Use: "remove NAME --owner SERVICE", Short: "End a source of webhooks for good",
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := on.parse(args[0]); err != nil {
				return err
			}
			if _, err := on.call(cmd.Context(), env, atm.FeedSourceRemove); err != nil {
				return err
			}
			return env.Tell(map[string]string{"name": on.name, "owner": on.owner},
				"source %s of %s is removed\n", on.name, on.owner)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	on.addFlag(cmd)
	return cmd
}
