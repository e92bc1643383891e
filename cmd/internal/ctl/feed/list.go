package feed

import (
	"fmt"
	"strings"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
)

// listed is how many subscriptions the server lists at most.
const listed = 100

func listCommand(env *ctl.Env) *cobra.Command {
	var owner string
	var all bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List your subscriptions and how far they are; for operators, those of others",
		Long: `List your subscriptions. For operators: those of an --owner, or of all. The lag is how many
entries have not been considered yet, and the last column says what keeps a subscription
from being delivered.`,
		Example: `  atmctl feed list
  atmctl feed list --all -o json`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			of := owner
			switch {
			case all && owner != "":
				return exit.Usagef("--all and --owner exclude each other")
			case all:
				of = "*"
			case owner != "":
				var err error
				if of, err = ctl.Subject(owner); err != nil {
					return err
				}
			}
			found, err := subscriptions(cmd.Context(), env, of)
			if err != nil {
				return err
			}
			if err := printList(env, found); err != nil {
				return err
			}
			if len(found) == listed && !env.Quiet {
				fmt.Fprintln(env.Stderr, "There may be others: name an --owner")
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&owner, "owner", "", "`subject` whose subscriptions are listed, for "+
		"operators (default you)")
	cmd.Flags().BoolVar(&all, "all", false, "those of everybody, for operators; 100 at most")
	return cmd
}

func printList(env *ctl.Env, found []subscription) error {
	if env.IsJSON() {
		records := make([]any, len(found))
		for i, s := range found {
			records[i] = map[string]any(s)
		}
		return env.Print(nil, records)
	}
	rows := make([][]string, len(found))
	for i, s := range found {
		rows[i] = []string{
			s.text("name"), s.text("owner"), s.state(), s.text("lag"), s.text("delivered"),
			s.problem(),
		}
	}
	return env.Table([]string{"name", "owner", "state", "lag", "delivered", "problem"}, rows)
}

func showCommand(env *ctl.Env) *cobra.Command {
	var on target
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a subscription: what it selects, how far it is, what keeps it",
		Long: `Show a subscription: what it selects, how far it has been delivered, since when and why it
cannot be, and when the next try is. NAME is its name or its id, such as f4711.`,
		Example: "  atmctl feed show books",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := on.parse(args[0]); err != nil {
				return err
			}
			result, err := on.call(cmd.Context(), env, atm.FeedShow)
			if err != nil {
				return err
			}
			if env.IsJSON() {
				return env.WriteJSON(result)
			}
			record, _ := result.(map[string]any)
			return env.Table([]string{"what", "state"}, subscription(record).rows())
		},
	}
	on.addFlag(env, cmd)
	return cmd
}

// A subscription is a record of the server.
type subscription map[string]any

func (s subscription) text(field string) string { return output.Words(s[field]) }

// state is the state in one word. A subscription that is active and cannot be delivered fails.
func (s subscription) state() string {
	if s.text("state") == "active" && s.text("failing") != "" {
		return "failing"
	}
	return s.text("state")
}

// problem says what keeps a subscription from being delivered.
func (s subscription) problem() string {
	if reason := s.text("reason"); reason != "" {
		return reason
	}
	if s.text("failing") == "" {
		return ""
	}
	return s.text("error")
}

// rows returns a subscription as people read it.
func (s subscription) rows() [][]string {
	rows := [][]string{
		{"name", s.text("name") + ", " + s.text("id")},
		{"owner", s.text("owner")},
		{"url", s.text("url")},
		{"selects", s.selects()},
		{"state", s.state()},
	}
	add := func(name, format string, fields ...string) {
		values := make([]any, len(fields))
		for i, field := range fields {
			if values[i] = s.text(field); values[i] == "" {
				return
			}
		}
		rows = append(rows, []string{name, fmt.Sprintf(format, values...)})
	}
	add("reason", "%s", "reason")
	add("begins", "with entry %s", "from")
	add("cursor", "entry %s is the next to consider, the lag is %s", "next", "lag")
	if s.text("last") != "-1" {
		add("last entry", "%s", "last")
	}
	add("delivered", "%s, %s events in all", "delivered", "sent")
	if s.text("failing") != "" {
		add("failing", "since %s", "failing")
		add("tries", "%s", "tries")
		add("last error", "%s", "error")
	}
	if s.state() == "failing" {
		add("next try", "%s", "again")
	}
	if tested := s.text("tested"); tested != "0" {
		problem := s.text("test_error")
		if problem == "" {
			problem = "it arrived"
		}
		rows = append(rows, []string{"last test", problem})
	}
	add("proofs", "%s", "proofs")
	secret := "the first one"
	if at := s.text("rotated"); at != "" {
		secret = "replaced at " + at
	}
	return append(rows, []string{"secret", secret})
}

// selects says which entries a subscription selects.
func (s subscription) selects() string {
	var parts []string
	for _, field := range []struct{ name, format string }{
		{"account", "of account %s"},
		{"account_owner", "of accounts of %s"},
		{"operation", "of the operation %s"},
		{"status", "that ended with %s"},
		{"subject", "of what %s did"},
		{"above", "about more than $%s"},
		{"below", "by which a balance falls below $%s"},
	} {
		if text := s.text(field.name); text != "" {
			parts = append(parts, fmt.Sprintf(field.format, text))
		}
	}
	if len(parts) == 0 {
		return "every entry"
	}
	return "entries " + strings.Join(parts, ", ")
}
