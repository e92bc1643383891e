package accounts

import (
	"context"
	"maps"
	"strconv"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

// The limits of an account, as flags and in the order of admin.account.limit.
var limitFlags = []string{"per-operation", "daily-amount", "daily-count", "zone"}

// limitCommand shows or changes the limits of an account.
func limitCommand(env *ctl.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "limit NUMBER",
		Short: "Show or change the limits on money that leaves an account",
		Long: `Show the limits on money that leaves an account, or change them. A flag changes the limit
that it names, and no other. With --daily-count 0 no money may leave.`,
		Example: `  atmctl account limit 200
  atmctl account limit 200 --per-operation 500 --daily-amount 2000 --zone America/New_York
  atmctl account limit 200 --no-daily-amount
  atmctl account limit 200 --none`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			limits, err := limitArgs(cmd)
			if err != nil {
				return err
			}
			return changeLimits(cmd.Context(), env, args[0], limits)
		},
	}
	flags := cmd.Flags()
	flags.String("per-operation", "", "`dollars` that may leave in one operation")
	flags.String("daily-amount", "", "`dollars` that may leave in a day")
	flags.Int64("daily-count", 0, "`times` that money may leave in a day; 0 for never")
	flags.String("zone", "", "time `zone` in which a day begins, such as America/New_York")
	flags.Bool("no-per-operation", false, "lift the limit per operation")
	flags.Bool("no-daily-amount", false, "lift the limit of dollars per day")
	flags.Bool("no-daily-count", false, "lift the limit of operations per day")
	flags.Bool("no-zone", false, "let days begin at midnight UTC again")
	flags.Bool("none", false, "lift all limits")
	return cmd
}

// limitArgs returns the arguments of admin.account.limit after the account, as the flags of
// cmd say; nil if they ask for no change.
func limitArgs(cmd *cobra.Command) ([]any, error) {
	flags := cmd.Flags()
	limits := make([]any, 0, len(limitFlags)+1)
	changed := ""
	for _, name := range limitFlags {
		lift, err := flags.GetBool("no-" + name)
		if err != nil {
			return nil, err
		}
		switch given := flags.Changed(name); {
		case given && lift:
			return nil, exit.Usagef("--%[1]s and --no-%[1]s exclude each other", name)
		case given:
			text, err := limitText(name, flags.Lookup(name).Value.String())
			if err != nil {
				return nil, err
			}
			limits, changed = append(limits, text), name
		case lift:
			limits, changed = append(limits, "none"), "no-"+name
		default:
			limits = append(limits, "")
		}
	}
	switch none, err := flags.GetBool("none"); {
	case err != nil:
		return nil, err
	case none && changed != "":
		return nil, exit.Usagef("--none lifts all limits: it excludes --%s", changed)
	case none:
		return append(limits, "set"), nil
	case changed == "":
		return nil, nil
	}
	return append(limits, "change"), nil
}

// limitText checks the value of a limit.
func limitText(name, text string) (string, error) {
	switch name {
	case "daily-count":
		if n, err := strconv.ParseInt(text, 10, 64); err != nil || n < 0 {
			return "", exit.Usagef("--daily-count is 0 or more, not %s", text)
		}
	case "zone":
		if text == "" {
			return "", exit.Usagef("--zone is the name of a time zone; --no-zone is UTC")
		}
	default:
		if _, code := atm.ParseAmount(text); code != atm.OK {
			return "", exit.Usagef("--%[1]s: %[2]q is no amount; --no-%[1]s lifts the limit, "+
				"and with --daily-count 0 nothing may leave", name, text)
		}
	}
	return text, nil
}

// changeLimits changes the limits of an account, unless limits is nil, and shows them.
func changeLimits(ctx context.Context, env *ctl.Env, number string, limits []any) error {
	id, ok := atm.ParseAccountID(number)
	if !ok {
		return exit.Usagef("%q is no account number", number)
	}
	op := atm.AccountShow
	if limits != nil {
		op = atm.AccountLimit
	}
	result, err := env.Call(ctx, string(op), append([]any{id.String()}, limits...)...)
	if err != nil {
		return err
	}
	if env.IsJSON() {
		return env.WriteJSON(result)
	}
	record, _ := result.(map[string]any)
	row := map[string]any{"account": record["account"]}
	if of, _ := record["limits"].(map[string]any); of != nil {
		maps.Copy(row, of)
	}
	return env.PrintOne(limitColumns, row)
}

var limitColumns = []string{"account", "per_operation", "daily_amount", "daily_count", "zone"}
