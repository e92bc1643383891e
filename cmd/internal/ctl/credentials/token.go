package credentials

import (
	"crypto/sha256"
	"encoding/base64"
	"os"
	"strconv"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"github.com/spf13/cobra"
)

func tokenCommand(env *ctl.Env) *cobra.Command {
	return ctl.Group(&cobra.Command{Use: "token", Short: "Issue, list and revoke tokens"},
		tokenIssueCommand(env), tokenListCommand(env), tokenRevokeCommand(env),
		tokenRotateCommand(env))
}

func tokenIssueCommand(env *ctl.Env) *cobra.Command {
	var subject, out, bind string
	var scope []string
	var life time.Duration
	issue := &cobra.Command{
		Use:   "issue --for KIND:NAME --out FILE",
		Short: "Issue a token for a subject",
		Example: "  atmctl token issue --for service:billing --scope inquiry --scope deposit " +
			"--ttl 15m --out billing.token",
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			who, err := ctl.Subject(subject)
			if err != nil {
				return err
			}
			if out == "" {
				return exit.Usagef("--out is missing: a file for the token")
			}
			if err := output.CheckNew(out); err != nil {
				return err
			}
			if life < time.Second || life > time.Hour {
				return exit.Usagef("--ttl is a second to an hour")
			}
			args := []any{who, strings.Join(scope, " "), strconv.Itoa(int(life / time.Second))}
			if bind != "" {
				bound, err := thumbprint(bind)
				if err != nil {
					return err
				}
				args = append(args, bound)
			}
			result, err := env.Call(cmd.Context(), string(atm.TokenIssue), args...)
			if err != nil {
				return err
			}
			return env.SaveToken(cmd.Context(), result, out)
		},
	}
	issue.Flags().StringVar(&subject, "for", "", "`subject`: user:NAME or service:NAME")
	issue.Flags().StringArrayVar(&scope, "scope", nil, "`method` that the token is for, or "+
		"several separated by spaces; repeatable (default all)")
	issue.Flags().DurationVar(&life, "ttl", 15*time.Minute, "life of the token, at most an hour")
	issue.Flags().StringVar(&out, "out", "", "`file` for the token")
	issue.Flags().StringVar(&bind, "bind", "", "`file` with a certificate; the token works only "+
		"together with it")
	return issue
}

func tokenRevokeCommand(env *ctl.Env) *cobra.Command {
	var issuer string
	revoke := &cobra.Command{
		Use: "revoke JTI", Short: "Revoke a token",
		Long: `Revoke a token by its id: a token, a grant or an invitation of this server, or with --issuer
a token of another issuer that this server accepts. If this server did not issue it, or it
ended long ago, the exit code is 3. This server does not know the tokens of another issuer,
so with --issuer it takes any id.`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := env.Call(cmd.Context(), string(atm.TokenRevoke), args[0],
				issuer); err != nil {
				return err
			}
			return env.Tell(map[string]string{"jti": args[0]}, "token %s is revoked\n", args[0])
		},
	}
	revoke.Flags().StringVar(&issuer, "issuer", "", "`issuer` of the token, when it is not this "+
		"server")
	return revoke
}

func tokenRotateCommand(env *ctl.Env) *cobra.Command {
	var force bool
	rotate := &cobra.Command{
		Use: "rotate", Short: "Sign tokens with a new key",
		Long: `Sign tokens with a new key. Tokens of the previous key stay valid until they end, which takes
an hour at most. Until then another rotation is refused unless it is forced; tokens of the
key before the previous one then stop working.`,
		Args: exit.Args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var args []any
			if force {
				args = append(args, "force")
			}
			kid, err := env.Call(cmd.Context(), string(atm.TokenRotate), args...)
			if err != nil {
				return err
			}
			return env.Tell(map[string]any{"kid": kid},
				"tokens are signed with another key now: %v\n", kid)
		},
	}
	rotate.Flags().BoolVar(&force, "force", false, "also if valid tokens stop working")
	return rotate
}

// thumbprint returns the SHA-256 of the certificate in a file, in the form of tokens.
func thumbprint(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	cert, err := certs.ParseCertificate(text)
	if err != nil {
		return "", exit.Usagef("%s: %w", path, err)
	}
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:]), nil
}

func tokenListCommand(env *ctl.Env) *cobra.Command {
	return ctl.Listing{
		Short: "List the tokens of this server that have not ended",
		Long: `List the tokens of this server that have not ended. Grants are among them, with the actor,
and invitations, whose scope is enroll.`,
		Operation: atm.TokenList, Member: "tokens",
		Columns: []string{"jti", "subject", "actor", "scope", "issued", "expires", "revoked"},
	}.Command(env)
}
