package credentials

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/datadir"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/inbox"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/cmd/internal/settings"
	"example.com/atm/cmd/internal/storage"
	"example.com/atm/internal/durable"
	"github.com/spf13/cobra"
)

func certCommand(env *ctl.Env) *cobra.Command {
	return ctl.Group(&cobra.Command{Use: "cert", Short: "Issue and revoke client certificates"},
		issueCommand(env), revokeCommand(env), renewCommand(env), inviteCommand(env),
		certListCommand(env), crlCommand(env))
}

func issueCommand(env *ctl.Env) *cobra.Command {
	var roles []string
	var out string
	var days int
	var life time.Duration
	var owned ownedFolder
	issue := &cobra.Command{
		Use:   "issue KIND:NAME --out DIR",
		Short: "Issue a client certificate",
		Long: `Issue a client certificate for user:NAME or service:NAME.

The private key is created here, in DIR, and never travels: the server signs a request.
With --role the subject has these roles from now on. Without it a known subject keeps its
roles, a new user is a customer and a new service a service.

With --data no credential is needed, only the right to write to the data folder, whether
a server runs on it or not. A disabled subject is enabled. This is the way back in when
no operator has a valid certificate.`,
		Example: `  atmctl cert issue service:billing --role teller --out billing
  atmctl cert issue user:operator --role operator --role auditor --out back --data atm-data`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return exit.Usagef("--out is missing: a folder for client.crt, client.key and " +
					"ca.crt")
			}
			if err := ctl.CheckRoles(roles); err != nil {
				return err
			}
			if _, _, ok := atm.ParseSubject(args[0]); !ok {
				return exit.Usagef("%q is not a subject: user:NAME or service:NAME", args[0])
			}
			var asked any = days
			if cmd.Flags().Changed("ttl") {
				if cmd.Flags().Changed("days") {
					return exit.Usagef("--ttl and --days exclude each other")
				}
				asked = life.String()
			}
			return issueCertificate(cmd.Context(), env, args[0], out,
				func(request string) (map[string]any,
					error,
				) {
					if owned.data == "" {
						result, err := env.Call(cmd.Context(), string(atm.CertIssue), args[0],
							request,
							strings.Join(roles, " "), asked)
						record, _ := result.(map[string]any)
						return record, err
					}
					return owned.issue(cmd.Context(), inbox.Issuing{
						Subject: args[0], Roles: strings.Join(roles, " "), Life: fmt.Sprint(asked),
						Request: request,
					})
				})
		},
	}
	issue.Flags().StringArrayVar(&roles, "role", nil, "`role` of the subject: customer, teller, "+
		"auditor, operator or service; repeatable")
	issue.Flags().StringVar(&out, "out", "", "`folder` for the files")
	issue.Flags().IntVar(&days, "days", 365, "life of the certificate in `days`, at most 825")
	issue.Flags().DurationVar(&life, "ttl", 0, "life of the certificate in place of --days, "+
		"such as 1h, at least 5m; renew it with atmctl cert renew")
	owned.addFlags(issue)
	return issue
}

func certListCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List client certificates that were issued",
		Args: exit.Args(cobra.NoArgs),
		Long: `List the client certificates that were issued, the authority of each, and when each was last
used, according to the newest 10,000 entries of the audit log.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := env.Pages(cmd.Context(), atm.CertList, "certificates")
			if err != nil {
				return err
			}
			return env.Print([]string{
				"serial", "subject", "not_after", "revoked", "authority", "last_use",
			}, list)
		},
	}
}

func crlCommand(env *ctl.Env) *cobra.Command {
	return &cobra.Command{
		Use: "crl", Short: "Print the certificate revocation list, in PEM",
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			result, err := env.Call(cmd.Context(), string(atm.CertCRL))
			if err != nil {
				return err
			}
			record, _ := result.(map[string]any)
			if env.IsJSON() {
				return env.WriteJSON(record)
			}
			list, _ := record["crl"].(string)
			_, err = io.WriteString(env.Stdout, list)
			return err
		},
	}
}

// issueCertificate creates a key and a certificate request, and has ask issue the certificate.
func issueCertificate(ctx context.Context, env *ctl.Env, subject, out string,
	ask func(request string) (map[string]any, error),
) error {
	files := client.InFolder(out)
	if _, err := os.Lstat(files.Key); !errors.Is(err, fs.ErrNotExist) {
		return exit.Usagef("%s exists; choose another folder", files.Key)
	}
	if err := durable.MkdirAll(out, 0o700); err != nil {
		return err
	}
	for _, file := range []string{files.CA, files.Cert} {
		if err := output.Check(file); err != nil {
			return err
		}
	}
	key, err := certs.NewKey()
	if err != nil {
		return err
	}
	request, err := certs.NewRequest(key)
	if err != nil {
		return err
	}
	text, err := certs.EncodeKey(key)
	if err != nil {
		return err
	}
	// Store the key before the certificate exists: a certificate whose key is lost is useless,
	// and valid.
	if err := durable.CreateFile(files.Key, text, 0o600); err != nil {
		return err
	}
	record, err := ask(string(request))
	if err != nil {
		return with(err, os.Remove(files.Key))
	}
	for path, field := range map[string]string{files.CA: "authority", files.Cert: "certificate"} {
		pem, ok := record[field].(string)
		if !ok {
			return fmt.Errorf("the server's answer has no %s", field)
		}
		if err := output.Write(ctx, path, []byte(pem), 0o644); err != nil {
			return err
		}
	}
	return env.PrintOne([]string{"subject", "serial", "not_after", "folder"}, map[string]any{
		"subject": subject, "serial": record["serial"], "sha256": record["sha256"],
		"not_after": record["not_after"], "folder": out,
	})
}

// An ownedFolder is a data folder that the user may write to.
type ownedFolder struct {
	data, passphraseFile string
	store                settings.Store
}

func (f *ownedFolder) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.data, "data", "", "issue it in this data `folder`, without a "+
		"credential")
	cmd.Flags().StringVar(&f.passphraseFile, "vault-passphrase-file", "",
		"with --data of a stopped server: `file` with the passphrase of keys/vault.key; - for "+
			"standard input")
	f.store.AddFlags(cmd.Flags())
}

// issue issues a certificate in the folder.
func (f *ownedFolder) issue(ctx context.Context, asked inbox.Issuing) (map[string]any, error) {
	at, err := storage.FromFlags(&f.store)
	if errors.Is(err, datadir.ErrUsage) {
		err = exit.Usagef("%w", err)
	}
	if err != nil {
		return nil, err
	}
	folder := offline.Folder{
		Data: f.data, Store: at,
		Passphrase: settings.Passphrase(f.passphraseFile, "Passphrase of keys/vault.key"),
	}
	answer, err := folder.Issue(ctx, asked, slog.New(slog.DiscardHandler))
	return map[string]any{
		"certificate": answer.Certificate, "authority": answer.Authority, "serial": answer.Serial,
		"sha256": answer.SHA256, "not_after": answer.NotAfter,
	}, err
}
