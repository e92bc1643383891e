package credentials

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
)

// userInviteCommand prints the link of an invitation to the console.
func userInviteCommand(env *ctl.Env) *cobra.Command {
	var u newUser
	var out string
	var wait time.Duration
	invite := &cobra.Command{
		Use: "invite NAME", Short: "Create a link by which a user gets a passkey for the console",
		Long: `Create a link by which a user gets a passkey for the console. It works once, and its reader
becomes the user: give it to nobody else. On a terminal that is wide enough it is printed as
a QR code as well. atmctl cert invite creates the same code for a certificate.`,
		Example: "  atmctl user invite alice --role customer",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			subject, err := ctl.Subject(args[0])
			if err != nil {
				return err
			}
			if err := ctl.CheckRoles(u.roles); err != nil {
				return err
			}
			if out != "" {
				if err := output.CheckNew(out); err != nil {
					return err
				}
			}
			result, err := env.Call(cmd.Context(), string(atm.CertInvite), subject,
				strings.Join(u.roles, " "), wait.String())
			if err != nil {
				return err
			}
			record, _ := result.(map[string]any)
			return printInvitation(cmd.Context(), env, record, out)
		},
	}
	u.addRoles(invite)
	invite.Flags().StringVar(&out, "out", "", "`file` for the link, in place of the terminal")
	invite.Flags().DurationVar(&wait, "ttl", 24*time.Hour, "how long the link can be used, at "+
		"most 144h")
	return invite
}

func printInvitation(ctx context.Context, env *ctl.Env, record map[string]any, out string) error {
	code, ok := record["code"].(string)
	if !ok {
		return errors.New("the server's answer has no code")
	}
	c, err := env.Connect()
	if err != nil {
		return err
	}
	link := c.Base() + "/console/invite/" + code
	shown := map[string]any{"jti": record["jti"], "expires": record["expires"], "link": link}
	switch {
	case out != "":
		if err := output.WriteNew(ctx, out, []byte(link+"\n"), 0o600); err != nil {
			return err
		}
		delete(shown, "link")
		shown["file"] = out
		return env.PrintOne([]string{"jti", "expires", "file"}, shown)
	case env.IsJSON():
		return env.WriteJSON(shown)
	}
	if err := env.Tell(shown, "%s", link); err != nil {
		return err
	}
	terminal := env.Terminal()
	if terminal == nil {
		return nil
	}
	printed, columns, err := output.QR(terminal, link)
	if err == nil && !printed {
		env.Warn("the QR code of the link needs a terminal of " + strconv.Itoa(columns) +
			" columns")
	}
	return err
}

// userPasskeysCommand lists the passkeys of a user, or removes one.
func userPasskeysCommand(env *ctl.Env) *cobra.Command {
	var remove string
	cmd := &cobra.Command{
		Use: "passkeys NAME", Short: "List the passkeys of a user, or remove one",
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return listOrEnd(cmd.Context(), env, args[0], remove, signIns{
				list: atm.UserPasskeys, member: "passkeys",
				columns: []string{"id", "name", "added", "synced"},
				end:     atm.UserPasskeyRemove, done: "the passkey of %s is removed\n",
			})
		},
	}
	cmd.Flags().StringVar(&remove, "remove", "", "`id` of the passkey to remove")
	return cmd
}

// userSessionsCommand lists the sessions of a user, or ends them.
func userSessionsCommand(env *ctl.Env) *cobra.Command {
	var end string
	cmd := &cobra.Command{
		Use: "sessions NAME", Short: "List the sessions of a user in the console, or end them",
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if end == "all" {
				end = "*"
			}
			return listOrEnd(cmd.Context(), env, args[0], end, signIns{
				list: atm.UserSessions, member: "sessions",
				columns: []string{"id", "method", "agent", "begun", "seen"},
				end:     atm.UserSessionEnd, done: "the session of %s is ended\n",
			})
		},
	}
	cmd.Flags().StringVar(&end, "end", "", "`id` of the session to end, or all")
	return cmd
}

// signIns are what a user signs in by, and how one of them is ended.
type signIns struct {
	list    atm.Operation
	member  string
	columns []string
	end     atm.Operation
	done    string
}

func listOrEnd(ctx context.Context, env *ctl.Env, name, id string, s signIns) error {
	subject, err := ctl.Subject(name)
	if err != nil {
		return err
	}
	if id != "" {
		if _, err := env.Call(ctx, string(s.end), subject, id); err != nil {
			return err
		}
		return env.Tell(map[string]string{"subject": subject}, s.done, subject)
	}
	result, err := env.Call(ctx, string(s.list), subject)
	if err != nil {
		return err
	}
	record, _ := result.(map[string]any)
	rows, _ := record[s.member].([]any)
	return env.Print(s.columns, rows)
}
