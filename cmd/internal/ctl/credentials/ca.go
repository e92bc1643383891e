package credentials

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/keys"
	"github.com/spf13/cobra"
)

func caCommand(env *ctl.Env) *cobra.Command {
	var data string // of the command that runs
	group := ctl.Group(&cobra.Command{Use: "ca", Short: "Authorities of the data folder"},
		exportRootCommand(env, &data), authoritiesCommand(env, &data), rolloverCommand(env, &data),
		retireCommand(env, &data))
	for _, cmd := range group.Commands() {
		cmd.Flags().StringVar(&data, "data", "./atm-data", "the data `folder`")
	}
	return group
}

func exportRootCommand(env *ctl.Env, data *string) *cobra.Command {
	var out string
	export := &cobra.Command{
		Use: "export --out FILE", Short: "Move the key of the root out of the data folder",
		Long: `Move the key of the root authority out of the data folder into a new file, to be kept
offline. A server does not need it to start or to run: the authorities under the root
sign certificates.`,
		Example: "  atmctl ca export --data atm-data --out /media/safe/root.key",
		Args:    exit.Args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			if out == "" {
				return exit.Usagef("--out is missing: a new file for the key")
			}
			// The key is read back before it is removed here, so it must be a file.
			if _, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
				return exit.Usagef("%s exists; choose another file", out)
			}
			if err := keys.ExportRoot(*data, out); err != nil {
				return err
			}
			return env.Tell(map[string]string{"file": out}, "the key of the root is in %s, and "+
				"here no longer\n", out)
		},
	}
	export.Flags().StringVar(&out, "out", "", "new `file` for the key")
	return export
}

func authoritiesCommand(env *ctl.Env, data *string) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the authorities, and which keys are here",
		Args: exit.Args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			list, err := keys.ListAuthorities(*data)
			if err != nil {
				return err
			}
			rows := make([]any, len(list))
			for i, a := range list {
				rows[i] = map[string]any{
					"name":      a.Name,
					"not_after": a.NotAfter.Format(time.RFC3339), "key": a.Key,
					"fingerprint": a.Fingerprint,
				}
			}
			return env.Print([]string{"name", "not_after", "key", "fingerprint"}, rows)
		},
	}
}

func rolloverCommand(env *ctl.Env, data *string) *cobra.Command {
	var rootKey string
	rollover := &cobra.Command{
		Use: "rollover", Short: "Replace the authorities under the root",
		Long: `Create new authorities for servers and clients under the root, and a new server certificate.
A running server takes them over within seconds, without losing a connection. Client
certificates of the previous authority stay valid until that is retired: have everybody
renew theirs, and then run atmctl ca retire.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			err := keys.Rollover(*data, rootKey)
			if errors.Is(err, keys.ErrNoRootKey) {
				return exit.Usagef("%w: name the file that has it with --root-key", err)
			}
			if err != nil {
				return err
			}
			return env.Tell(map[string]string{"data": *data},
				"other authorities are in force; the "+
					"one for clients before them is trusted until it is retired\n")
		},
	}
	rollover.Flags().StringVar(&rootKey, "root-key", "", "`file` with the key of the root, when "+
		"it is not in the folder")
	return rollover
}

func retireCommand(env *ctl.Env, data *string) *cobra.Command {
	var force bool
	retire := &cobra.Command{
		Use: "retire", Short: "Stop trusting the previous authority",
		Long: `Stop trusting the previous authority, the one before the last rollover. Certificates that it
issued stop working. Those that would still be valid are listed, and unless --force is
given, nothing is done while there are any. Their holders run atmctl cert renew; the
server renews those in its own folder. The list comes from the running server. A
certificate counts as renewed when its subject has another valid one.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !force {
				if err := checkRetired(cmd.Context(), env); err != nil {
					return err
				}
			}
			if err := keys.Retire(*data); err != nil {
				return err
			}
			return env.Tell(map[string]string{"data": *data}, "the authority before the last "+
				"rollover is trusted no longer\n")
		},
	}
	retire.Flags().BoolVar(&force, "force", false, "also if valid certificates stop working, or "+
		"the server does not answer")
	return retire
}

// checkRetired refuses to retire an authority while certificates of it are valid and needed.
func checkRetired(ctx context.Context, env *ctl.Env) error {
	list, err := env.Pages(ctx, atm.CertList, "certificates")
	if err != nil {
		return fmt.Errorf("which certificates end with the authority, the server does not say; "+
			"--force retires it all the same: %w", err)
	}
	// Renewing a certificate does not end the old one. So each certificate of the authority in
	// force makes up for one old certificate of the same subject.
	var good []map[string]any
	renewed := make(map[any]int)
	for _, item := range list {
		record, _ := item.(map[string]any)
		text, _ := record["not_after"].(string)
		if end, err := time.Parse(time.RFC3339, text); record["revoked"] == true || err == nil &&
			end.Before(time.Now()) {
			continue
		}
		if record["authority"] == "in force" {
			renewed[record["subject"]]++
		} else {
			good = append(good, record)
		}
	}
	var live []any
	for _, record := range good {
		if renewed[record["subject"]]--; renewed[record["subject"]] < 0 {
			live = append(live, record)
		}
	}
	if len(live) == 0 {
		return nil
	}
	if err := env.Print([]string{"serial", "subject", "not_after"}, live); err != nil {
		return err
	}
	return &exit.Error{Code: exit.Refused, Err: fmt.Errorf("%d certificates of the authority "+
		"before are good, and would end: have their holders run atmctl cert renew, revoke them, "+
		"or use --force", len(live))}
}
