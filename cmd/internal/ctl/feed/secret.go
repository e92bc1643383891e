package feed

import (
	"context"
	"fmt"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
)

func secretCommand(env *ctl.Env) *cobra.Command {
	var out string
	on := target{}
	cmd := &cobra.Command{
		Use:   "secret NAME",
		Short: "Show what the events of a subscription of yours are signed with",
		Long: `Show what the events of a subscription of yours are signed with: the secret, for receivers
that verify v1 (HMAC-SHA-256), and the public key, for those that verify v1a (Ed25519). A
public key lets a receiver show others what it was sent.`,
		Example: "  atmctl feed secret books --secret-out books.secret",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return tellSecret(cmd.Context(), env, args[0], out)
		},
		ValidArgsFunction: on.complete(env),
	}
	cmd.Flags().StringVar(&out, "secret-out", "", "`file` for the secret")
	return cmd
}

func rotateCommand(env *ctl.Env) *cobra.Command {
	var out string
	var on target
	cmd := &cobra.Command{
		Use:   "rotate-secret NAME",
		Short: "Replace the secret of a subscription; for 24 hours the old one signs too",
		Long: `Replace the secret of a subscription, and its Ed25519 key with it. For 24 hours each event is
signed by the old ones as well, so that a receiver can be given the new ones without a
gap. A second rotation within that time puts the first secret out of use at once.

An operator can do this for others, and does not see the new secret: its owner does, by
atmctl feed secret.`,
		Example: "  atmctl feed rotate-secret books --secret-out books-2.secret",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := on.parse(args[0]); err != nil {
				return err
			}
			return rotate(cmd.Context(), env, &on, out)
		},
	}
	cmd.Flags().StringVar(&out, "secret-out", "", "`file` for the new secret")
	on.addFlag(env, cmd)
	return cmd
}

func rotate(ctx context.Context, env *ctl.Env, on *target, out string) error {
	if on.owner != "" && out != "" {
		return exit.Usagef("--owner and --secret-out exclude each other: owners alone see secrets")
	}
	if out != "" {
		if err := output.CheckNew(out); err != nil {
			return err
		}
	}
	generation, err := on.call(ctx, env, atm.FeedRotate)
	if err != nil {
		return err
	}
	if on.owner != "" {
		return env.Tell(map[string]any{"name": on.name, "generation": generation},
			"subscription %s has another secret; its owner sees it by atmctl feed secret\n",
			on.name)
	}
	if !env.IsJSON() {
		err = env.Tell(nil, "subscription %s has another secret; the one before signs as well for "+
			"24 hours\n", on.name)
		if err != nil {
			return err
		}
	}
	return tellSecret(ctx, env, on.name, out)
}

// tellSecret prints what the events of a subscription are signed with. If out names a file, the
// secret goes there.
func tellSecret(ctx context.Context, env *ctl.Env, name, out string) error {
	if out != "" {
		if err := output.CheckNew(out); err != nil {
			return err
		}
	}
	result, err := env.Call(ctx, string(atm.FeedSecret), name)
	if err != nil {
		return (&target{name: name}).explain(err)
	}
	s, _ := result.(map[string]any)
	secret, _ := s["secret"].(string)
	s["name"] = name
	if out != "" {
		if err := output.WriteNew(ctx, out, []byte(secret+"\n"), 0o600); err != nil {
			return err
		}
		delete(s, "secret")
		s["file"] = out
	}
	if env.IsJSON() {
		return env.WriteJSON(s)
	}
	if out != "" {
		fmt.Fprintf(env.Stdout, "secret      in %s\n", out)
	} else {
		fmt.Fprintf(env.Stdout, "secret      %s\n", secret)
	}
	fmt.Fprintf(env.Stdout, "public key  %v\n", s["public_key"])
	_, err = fmt.Fprintf(env.Stdout, "atmctl feed secret %s shows them again.\n", name)
	return err
}
