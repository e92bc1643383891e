package credentials

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"strings"
	"unicode/utf8"

	"example.com/atm"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/output"
	"example.com/atm/internal/durable"
	"github.com/spf13/cobra"
)

func userCommand(env *ctl.Env) *cobra.Command {
	return ctl.Group(&cobra.Command{Use: "user", Short: "Add, list and disable users"},
		userAddCommand(env), userImportCommand(env), userRoleCommand(env), userPasswordCommand(env),
		userActCommand(env, "show", "Show the record of a user", atm.UserShow),
		userInviteCommand(env), userPasskeysCommand(env), userSessionsCommand(env),
		&cobra.Command{
			Use: "list", Short: "List the users", Args: exit.Args(cobra.NoArgs),
			RunE: func(cmd *cobra.Command, _ []string) error {
				return listUsers(cmd.Context(), env)
			},
		},
		userActCommand(env, "disable", "Keep a user from signing in, by any method",
			atm.UserDisable),
		userActCommand(env, "enable", "Let a user sign in again", atm.UserEnable),
		&cobra.Command{
			Use: "revoke NAME", Short: "Revoke every certificate and token that a user has " +
				"now", Args: exit.Args(cobra.ExactArgs(1)),
			RunE: func(cmd *cobra.Command, args []string) error {
				subject, err := ctl.Subject(args[0])
				if err != nil {
					return err
				}
				if _, err := env.Call(cmd.Context(), string(atm.UserRevoke), subject); err != nil {
					return err
				}
				return env.Tell(map[string]string{"subject": subject}, "%s has no certificate and "+
					"no token from before now\n", subject)
			},
		},
	)
}

func userAddCommand(env *ctl.Env) *cobra.Command {
	u := newUser{expect: "new"}
	add := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a user, with roles and a password",
		Long: `Add a user, with roles and a password. Without --role a user is a customer and a service a
service. For a known user, atmctl user role changes the roles and atmctl user passwd the
password.

With --secret-out a password of 160 bits is generated here and written to a file; with
--secret-file a password of at least 15 characters is read from a file. The server keeps
a verifier, not the password.

The verifier of HTTP Digest is enough to sign in, for anybody who can read the unsealed
vault. With --no-digest the server keeps an argon2id hash in its place, and the password
works for one thing: to get a token from POST /token, as client_id and client_secret.`,
		Example: "  atmctl user add alice --role customer --secret-out alice.secret",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(args[0]); err != nil {
				return err
			}
			if u.noDigest && !u.hasSecret() {
				return exit.Usagef("--no-digest is about a new password: " +
					"it needs --secret-out or --secret-file")
			}
			err := addUser(cmd.Context(), env, u)
			var coded *exit.Error
			if errors.As(err, &coded) && coded.Word == atm.AccountExists {
				coded.Advice = []string{"atmctl user role changes their roles, and atmctl user " +
					"passwd their password"}
			}
			if err != nil {
				return err
			}
			return env.Tell(map[string]string{"subject": u.subject}, "%s is added\n", u.subject)
		},
	}
	u.addRoles(add)
	u.addSecret(add)
	return add
}

func userRoleCommand(env *ctl.Env) *cobra.Command {
	u := newUser{expect: "known"}
	role := &cobra.Command{
		Use:   "role NAME --role ROLE",
		Short: "Set the roles of a user",
		Long: `Set the roles of a user: those that are named, and no others. Invitations from before give
no role any more.`,
		Example: "  atmctl user role alice --role customer --role teller",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(args[0]); err != nil {
				return err
			}
			if len(u.roles) == 0 {
				return exit.Usagef("--role is missing: what they are from now on; " +
					"atmctl user disable keeps somebody out")
			}
			if err := addUser(cmd.Context(), env, u); err != nil {
				return err
			}
			return env.Tell(map[string]any{"subject": u.subject, "roles": u.roles},
				"roles of %s: %s\n", u.subject, strings.Join(u.roles, ", "))
		},
	}
	u.addRoles(role)
	return role
}

func userPasswordCommand(env *ctl.Env) *cobra.Command {
	u := newUser{expect: "known"}
	passwd := &cobra.Command{
		Use:   "passwd NAME --secret-out FILE",
		Short: "Give a user another password",
		Long: `Give a user another password: with --secret-out a generated one, which is written to a file,
or with --secret-file one of your choice. The old password stops working. atmctl user add
explains --no-digest.`,
		Example: "  atmctl user passwd alice --secret-out alice-2.secret",
		Args:    exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := u.check(args[0]); err != nil {
				return err
			}
			if !u.hasSecret() {
				return exit.Usagef("--secret-out or --secret-file is missing: a file for the new " +
					"password, or with it")
			}
			if err := addUser(cmd.Context(), env, u); err != nil {
				return err
			}
			return env.Tell(map[string]string{"subject": u.subject}, "%s has another password\n",
				u.subject)
		},
	}
	u.addSecret(passwd)
	return passwd
}

// A newUser is a user to add or to change.
type newUser struct {
	subject               string
	expect                string // new or known
	roles                 []string
	secretOut, secretFile string
	noDigest              bool
}

func (u *newUser) addRoles(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&u.roles, "role", nil, "`role` of the user: customer, teller, "+
		"auditor, operator or service; repeatable")
}

func (u *newUser) addSecret(cmd *cobra.Command) {
	cmd.Flags().StringVar(&u.secretOut, "secret-out", "", "`file` for a generated password")
	cmd.Flags().StringVar(&u.secretFile, "secret-file", "",
		"`file` with a password of your choice")
	cmd.Flags().BoolVar(&u.noDigest, "no-digest", false, "keep an argon2id hash of the password, "+
		"which works for getting tokens alone")
}

func (u *newUser) hasSecret() bool { return u.secretOut != "" || u.secretFile != "" }

// check parses the name, and refuses flags that contradict each other.
func (u *newUser) check(name string) error {
	if err := ctl.CheckRoles(u.roles); err != nil {
		return err
	}
	if u.secretOut != "" && u.secretFile != "" {
		return exit.Usagef("--secret-out and --secret-file exclude each other")
	}
	var err error
	u.subject, err = ctl.Subject(name)
	return err
}

// newSecret generates a password of 160 bits.
func newSecret() string {
	random := make([]byte, 20)
	rand.Read(random) // never fails
	return base32.StdEncoding.EncodeToString(random)
}

// addUser adds u, or changes u if expect is "known".
func addUser(ctx context.Context, env *ctl.Env, u newUser) error {
	var secret []byte
	takeBack := func() error { return nil }
	switch {
	case u.secretOut != "":
		secret = []byte(newSecret())
		// Store the secret before sending it to the server.
		out, err := output.CreateNew(ctx, u.secretOut, 0o600)
		if err != nil {
			return err
		}
		_, err = out.Write(append(secret, '\n'))
		if err == nil {
			err = out.Commit()
		}
		if err = errors.Join(err, out.Close()); err != nil {
			return err
		}
		takeBack = out.Remove
	case u.secretFile != "":
		text, err := durable.ReadSecret(u.secretFile)
		if err != nil {
			return exit.Usagef("%w", err)
		}
		if secret = bytes.TrimRight(text, "\r\n"); len(secret) == 0 {
			return exit.Usagef("%s is empty", u.secretFile)
		}
		if !utf8.Valid(secret) || bytes.ContainsRune(secret, 0) ||
			bytes.HasPrefix(secret, []byte("\ufeff")) {
			return exit.Usagef("%s is not plain UTF-8 text: nobody could sign in with it",
				u.secretFile)
		}
	}
	use := ""
	if u.noDigest {
		use = "token"
	}
	_, err := env.Call(ctx, string(atm.UserAdd), u.subject, strings.Join(u.roles, " "),
		string(secret), use, u.expect)
	switch {
	case err == nil:
		return nil
	case u.secretOut == "" || refusedForSure(err):
		return with(err, takeBack())
	}
	// Keep the file: the server may have the password by now.
	return &exit.Error{Code: exit.Code(exit.FromClient(err)), Err: err, Advice: []string{
		"The password is kept in " + u.secretOut + ": atmctl user show " + u.subject +
			" says whether the user is known.",
	}}
}

// with joins err with an error of the clean-up after it.
func with(err, after error) error {
	if after == nil {
		return err
	}
	return errors.Join(err, after)
}

var userColumns = []string{"subject", "roles", "disabled", "password"}

func listUsers(ctx context.Context, env *ctl.Env) error {
	users, err := env.Pages(ctx, atm.UserList, "users")
	if err != nil {
		return err
	}
	return env.Print(userColumns, users)
}

func userActCommand(env *ctl.Env, name, short string, op atm.Operation) *cobra.Command {
	return &cobra.Command{
		Use: name + " NAME", Short: short, Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			subject, err := ctl.Subject(args[0])
			if err != nil {
				return err
			}
			result, err := env.Call(cmd.Context(), string(op), subject)
			if err != nil {
				return err
			}
			return env.PrintOne(userColumns, result)
		},
	}
}
