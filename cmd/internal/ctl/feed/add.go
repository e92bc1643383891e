package feed

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/teller/methods"
	"example.com/atm/vault/feeds"
	"github.com/spf13/cobra"
)

// A newFeed is a subscription to add, as the flags say it.
type newFeed struct {
	name, url, secretOut       string
	account, operation, status string
	owner, subject             string
	above, below, from         string
	proofs                     bool
}

func addCommand(env *ctl.Env) *cobra.Command {
	var n newFeed
	cmd := &cobra.Command{
		Use:   "add NAME --url URL",
		Short: "Subscribe a URL to entries, all of them or those that match",
		Long: `Subscribe a URL to the entries that match every flag; to all of them without one. Auditors
subscribe to what they like, the first operator is one. Customers name an --account of
their own: sign in as the customer whose subscription it is, with --cert and --key.

With --below, an event is sent each time that a balance falls below an amount, once: not
again before it was above.

The command prints what events are signed with, or writes it to a new file that only you
can read. The URL stands in the audit log, so it must have no secret in it.`,
		Example: `  atmctl feed add books --url https://books.example.com/atm --account 100
  atmctl feed add low --url https://books.example.com/low --account 100 --below 100.00
  atmctl feed add large --url https://risk.example.com/atm --above 10000 --status OK --proofs`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.name = args[0]
			options, err := n.options()
			if err != nil {
				return err
			}
			return n.add(cmd.Context(), env, options)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&n.url, "url", "", "https `URL` of the receiver")
	flags.StringVar(&n.account, "account", "", "entries that name or change this `number`")
	flags.StringVar(&n.operation, "operation", "", "entries of an `operation`, such as deposit")
	flags.StringVar(&n.status, "status", "", "entries that ended with OK or `ERROR`")
	flags.StringVar(&n.owner, "owner", "", "entries that change an account of a `subject`")
	flags.StringVar(&n.subject, "subject", "", "entries of what a `subject` did")
	flags.StringVar(&n.above, "above", "", "entries about more than so many `dollars`")
	flags.StringVar(&n.below, "below", "", "entries by which a balance falls below so many `dollars`")
	flags.BoolVar(&n.proofs, "proofs", false, "send the proof with each entry that it is in the log")
	flags.StringVar(&n.from, "from", "", "`index` of the first entry (default the next one)")
	flags.StringVar(&n.secretOut, "secret-out", "", "`file` for the secret")
	cmd.RegisterFlagCompletionFunc("operation", completeOperations)
	return cmd
}

func completeOperations(_ *cobra.Command, _ []string, typed string) (names []string,
	_ cobra.ShellCompDirective,
) {
	operations := []atm.Operation{atm.OrderPay}
	for _, method := range methods.All() {
		operations = append(operations, method.Name)
	}
	for _, op := range operations {
		if strings.HasPrefix(string(op), typed) {
			names = append(names, string(op))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// options checks what can be checked without the server, and returns the options of feed.add.
func (n *newFeed) options() (map[string]any, error) {
	if err := feeds.CheckName(n.name); err != nil {
		return nil, exit.Usagef("%q: %w", n.name, err)
	}
	if n.url == "" {
		return nil, exit.Usagef("--url is missing: where the events are sent")
	}
	if _, ok := atm.ParseAccountID(n.account); n.account != "" && !ok {
		return nil, exit.Usagef("--account %q is no account number", n.account)
	}
	if n.status != "" && n.status != "OK" && n.status != "ERROR" {
		return nil, exit.Usagef("--status is OK or ERROR, not %q%s", n.status,
			exit.DidYouMean(n.status, "OK", "ERROR"))
	}
	for flag, amount := range map[string]string{"above": n.above, "below": n.below} {
		if amount != "" && !isAmount(amount) {
			return nil, exit.Usagef("--%s %q is no amount above zero", flag, amount)
		}
	}
	if n.from != "" && !isIndex(n.from) {
		return nil, exit.Usagef("--from %q is no index of an entry", n.from)
	}
	options := map[string]any{
		"account": n.account, "operation": n.operation, "status": n.status, "above": n.above,
		"below": n.below, "from": n.from,
	}
	for flag, name := range map[string]string{"owner": n.owner, "subject": n.subject} {
		if name != "" {
			subject, err := ctl.Subject(name)
			if err != nil {
				return nil, err
			}
			options[flag] = subject
		}
	}
	if n.proofs {
		options["proofs"] = "1"
	}
	for name, value := range options {
		if value == "" {
			delete(options, name)
		}
	}
	return options, nil
}

func isAmount(text string) bool {
	amount, code := atm.ParseAmount(text)
	return code == atm.OK && amount > 0
}

func isIndex(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && n >= 0
}

func (n *newFeed) add(ctx context.Context, env *ctl.Env, options map[string]any) error {
	if err := checkOut(n.secretOut); err != nil {
		return err
	}
	result, err := env.CallOnce(ctx, string(atm.FeedAdd), n.name, n.url, options)
	if err != nil {
		return n.explain(err)
	}
	if !env.IsJSON() {
		if err := env.Tell(nil, "subscription %s is added, with the id %v\n", n.name,
			result); err != nil {
			return err
		}
	}
	err = tellSecret(ctx, env, n.name, n.secretOut)
	if err != nil { // it is added all the same
		return &exit.Error{Code: exit.Code(exit.FromClient(err)), Err: err, Advice: []string{
			"The subscription is added. Its secret: atmctl feed secret " + n.name,
		}}
	}
	return nil
}

// explain says what to do about a refusal.
func (n *newFeed) explain(err error) error {
	var coded *exit.Error
	var unknown *client.OutcomeUnknownError
	switch {
	case errors.As(err, &unknown):
		return &exit.Error{
			Code: exit.OutcomeUnknown, Err: err, Request: unknown.Request,
			Advice: []string{"Whether it is added: atmctl feed show " + n.name},
		}
	case !errors.As(err, &coded):
	case coded.Word == atm.PermissionDenied:
		coded.Advice = []string{
			"Customers subscribe to an account of their own, and auditors to everything: sign in " +
				"as one of them, with --cert and --key",
		}
	case coded.Word == atm.FeedExists:
		coded.Advice = []string{"atmctl feed show " + n.name + " has more; another name is free"}
	}
	return err
}
