package program

import (
	"slices"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/audit/export"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/ctl/auditlog"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completeWithin is how long a completion waits for the server. A person would rather type
// than wait longer.
const completeWithin = time.Second

// completeValues adds completion of values to root and the commands below it: for flags by
// their names, and for arguments by their names in the usage line.
func completeValues(env *ctl.Env, root *cobra.Command) {
	events := []string{
		string(audit.EventOp), string(audit.EventAdmin), string(audit.EventAuditRead),
		string(audit.EventAuthFail),
		string(audit.EventAuthFailSummary), string(audit.EventDeniedSummary),
		string(audit.EventStart),
		string(audit.EventStop), string(audit.EventHeartbeat), string(audit.EventKeyRotate),
		string(audit.EventClockStep), string(audit.EventRecover), string(audit.EventSettings),
	}
	operations := []string{
		string(atm.Inquiry), string(atm.Deposit), string(atm.Withdraw), string(atm.Transfer),
		string(atm.Authorize),
	}
	accounts := known(env, atm.AccountList, "accounts", "account")
	subjects := known(env, atm.UserList, "users", "subject")
	serials := known(env, atm.CertList, "certificates", "serial", "subject")
	flags := map[string]cobra.CompletionFunc{
		"role":      oneOf(ctl.RoleNames...),
		"event":     oneOf(events...),
		"operation": oneOf(operations...),
		"status":    oneOf("OK", "ERROR"),
		"format":    oneOf(export.Forms...),
		"profile": func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return env.Sign.Names(), noFile
		},
		"account": accounts,
		"owner":   subjects, "for": subjects, "to": subjects, "who": subjects,
		"subject": subjects,
	}
	arguments := map[string]cobra.CompletionFunc{
		"NUMBER": accounts, "NAME": subjects, "KIND:NAME": subjects, "SERIAL": serials,
	}
	root.RegisterFlagCompletionFunc("output", oneOf(output.FormTable, output.FormJSON,
		output.FormJSONL))
	each(root, func(cmd *cobra.Command) {
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			complete := flags[f.Name]
			if f.Name == "output" && cmd != root {
				complete = oneOf(auditlog.ListForms...)
			}
			if complete != nil { // a command that has a completion of its own keeps it
				cmd.RegisterFlagCompletionFunc(f.Name, complete)
			}
		})
		usage := append(strings.Fields(cmd.Use), "")
		if complete := arguments[usage[1]]; complete != nil && cmd.ValidArgsFunction == nil &&
			usage[0] != "open" && usage[0] != "add" {
			cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string,
				cobra.ShellCompDirective,
			) {
				if len(args) > 0 {
					return nil, noFile
				}
				return complete(cmd, args, typed)
			}
		}
	})
}

const noFile = cobra.ShellCompDirectiveNoFileComp

// each calls do for cmd and the commands below it.
func each(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, below := range cmd.Commands() {
		each(below, do)
	}
}

func oneOf(words ...string) cobra.CompletionFunc { return cobra.FixedCompletions(words, noFile) }

// known completes from a list of the server: word is the field of a record to propose, and
// about are fields that describe it. It proposes nothing if the server does not answer at
// once, or a person would be asked for a secret.
func known(env *ctl.Env, list atm.Operation, member, word string, about ...string,
) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, typed string) (found []string,
		_ cobra.ShellCompDirective,
	) {
		if env.Prepare(cmd) != nil || env.Way.Asks() {
			return nil, noFile
		}
		env.Timeout = min(env.Timeout, completeWithin)
		records, err := env.FirstPage(cmd.Context(), list, member)
		if err != nil {
			return nil, noFile
		}
		for _, item := range records {
			record, _ := item.(map[string]any)
			text, _ := record[word].(string)
			if word == "subject" && !strings.Contains(typed, ":") {
				text = strings.TrimPrefix(text, "user:")
			}
			if !strings.HasPrefix(text, typed) {
				continue
			}
			for _, field := range about {
				if more, is := record[field].(string); is {
					text += "\t" + more
				}
			}
			found = append(found, text)
		}
		slices.Sort(found)
		return found, noFile
	}
}
