package feed

import (
	"context"
	"errors"
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
			if err := checkOut(out); err != nil {
				return err
			}
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
	if err := checkOut(out); err != nil {
		return err
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
	result, err := env.Call(ctx, string(atm.FeedSecret), name)
	if err != nil {
		return (&target{name: name}).explain(err)
	}
	if record, is := result.(map[string]any); is {
		record["name"] = name
	}
	return printSecret(ctx, env, result, out, "atmctl feed secret "+name)
}

// checkOut refuses a file for a secret before anything is asked for.
func checkOut(out string) error {
	if out == "" {
		return nil
	}
	return output.CheckNew(out)
}

// printSecret prints the answer of a method that tells a secret, and the command that tells it
// again. If out names a file, the secret goes there.
func printSecret(ctx context.Context, env *ctl.Env, result any, out, again string) error {
	record, _ := result.(map[string]any)
	secret, ok := record["secret"].(string)
	if !ok {
		return errors.New("the server's answer has no secret")
	}
	if out != "" {
		if err := output.WriteNew(ctx, out, []byte(secret+"\n"), 0o600); err != nil {
			return err
		}
		delete(record, "secret")
		record["file"] = out
		secret = "in " + out
	}
	if env.IsJSON() {
		return env.WriteJSON(record)
	}
	fmt.Fprintf(env.Stdout, "secret      %s\n", secret)
	if public, is := record["public_key"].(string); is {
		fmt.Fprintf(env.Stdout, "public key  %s\n", public)
	}
	if path, is := record["path"].(string); is {
		fmt.Fprintf(env.Stdout, "path        %s\n", path)
	}
	_, err := fmt.Fprintf(env.Stdout, "%s shows them again.\n", again)
	return err
}
