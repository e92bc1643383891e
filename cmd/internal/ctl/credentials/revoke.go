package credentials

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"github.com/spf13/cobra"
)

func revokeCommand(env *ctl.Env) *cobra.Command {
	foreign := false
	revoke := &cobra.Command{
		Use: "revoke SERIAL", Short: "Revoke a client certificate, on open connections too",
		Long: `Revoke a client certificate by its serial number, on open connections too. If this server
did not issue such a certificate, or it ended long ago, the exit code is 3, and the
certificates with the most similar serial numbers are named. With --foreign the
certificate is of another authority; the server takes any serial number then.`,
		Example: "  atmctl cert revoke 5f3a9c0e2b1d4f60817263544a5b6c7d",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			call := []any{args[0]}
			if foreign {
				call = append(call, "foreign")
			}
			if _, err := env.Call(cmd.Context(), string(atm.CertRevoke), call...); err != nil {
				return withNearest(cmd.Context(), env, err, args[0])
			}
			return env.Tell(map[string]string{"serial": args[0]}, "certificate %s is revoked\n",
				args[0])
		},
	}
	revoke.Flags().BoolVar(&foreign, "foreign", false, "a certificate that this server did not "+
		"issue")
	return revoke
}

const (
	nearestMost = 3 // certificates that are suggested
	likeLeast   = 4 // digits that two serial numbers must share, unless one is shorter
)

// withNearest adds the certificates with the most similar serial numbers to the refusal of
// one.
func withNearest(ctx context.Context, env *ctl.Env, refusal error, serial string) error {
	var coded *exit.Error
	if !errors.As(refusal, &coded) || coded.Word != atm.AccountNotFound {
		return refusal
	}
	list, err := env.Pages(ctx, atm.CertList, "certificates")
	if err != nil {
		return refusal
	}
	serial = strings.TrimLeft(strings.ToLower(strings.ReplaceAll(serial, ":", "")), "0")
	type certificate struct {
		like            int
		serial, subject string
	}
	var near []certificate
	for _, item := range list {
		record, _ := item.(map[string]any)
		other, _ := record["serial"].(string)
		subject, _ := record["subject"].(string)
		if like := likeness(serial, other); like >= min(likeLeast, len(serial)) {
			near = append(near, certificate{like, other, subject})
		}
	}
	slices.SortStableFunc(near, func(a, b certificate) int { return cmp.Compare(b.like, a.like) })
	for _, c := range near[:min(len(near), nearestMost)] {
		coded.Advice = append(coded.Advice, "near it: "+c.serial+" of "+c.subject)
	}
	if len(near) == 0 {
		coded.Advice = append(coded.Advice, "those that there are: atmctl cert list")
	}
	return coded
}

// likeness returns how many characters a and b share at their start and their end. It is high
// if one character was mistyped, left out or doubled.
func likeness(a, b string) int {
	shorter := min(len(a), len(b))
	begin := 0
	for begin < shorter && a[begin] == b[begin] {
		begin++
	}
	end := 0
	for end < shorter-begin && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	return begin + end
}
