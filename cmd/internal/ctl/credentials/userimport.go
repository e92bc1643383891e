package credentials

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/ctl"
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/durable"
	"example.com/atm/internal/owner"
	"github.com/spf13/cobra"
)

// userFileColumns are the columns of a file of users, which never contains a secret.
var userFileColumns = []string{"name", "roles"}

func userImportCommand(env *ctl.Env) *cobra.Command {
	var apply bool
	var dir string
	cmd := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Add the users in a file, all of them or none",
		Long: `Add the users in a file of comma-separated values, at most 500. Its first line names the
columns: name, and optionally roles, separated by spaces. Without roles a user is a
customer and a service a service. No user in the file may be known to the server.

Without --apply nothing changes: the server checks every row, and the rows that it would
refuse are listed with their lines. With --apply all users are added in one transaction,
each with an entry of its own in the audit log, or none is. For each a password of 160
bits is generated here and written to NAME.secret in the folder of --secret-dir, before it
is sent. No file there is replaced, and if the server refuses, the new files are removed.`,
		Example: `  atmctl user import users.csv
  atmctl user import users.csv --secret-dir secrets --apply`,
		Args: exit.Args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if apply && dir == "" {
				return exit.Usagef("--secret-dir is missing: a folder for the passwords")
			}
			rows, err := ctl.ReadRows(args[0], userFileColumns, checkUserRow)
			if err != nil {
				return err
			}
			secrets, err := secretFiles(args[0], dir, rows)
			if err != nil {
				return err
			}
			return importUsers(cmd.Context(), env, rows, secrets, apply)
		},
	}
	cmd.Flags().BoolVar(&apply, "apply", false, "add them; without it they are only checked")
	cmd.Flags().StringVar(&dir, "secret-dir", "",
		"`folder` for the passwords, created with mode 0700 if it is missing")
	return cmd
}

// checkUserRow checks a row of a file of users, as far as that is possible without the server.
func checkUserRow(fields []string) error {
	subject, err := ctl.Subject(fields[0])
	if err != nil {
		return err
	}
	roles := strings.Fields(fields[1])
	fields[0], fields[1] = subject, strings.Join(roles, " ")
	return ctl.CheckRoles(roles)
}

// A secretFolder has a file for the password of each row of an import.
type secretFolder struct {
	dir   string
	paths []string // in the order of the rows
	made  bool     // whether it created the folder
	wrote int      // number of paths written
}

// secretFiles names the files in dir for the passwords of the rows of a file. It creates none,
// and refuses names that exist. With dir empty it checks the names alone.
func secretFiles(file, dir string, rows []ctl.Row) (*secretFolder, error) {
	s := &secretFolder{dir: dir}
	lines := make(map[string]int, len(rows))
	for _, row := range rows {
		_, name, _ := atm.ParseSubject(row.Fields[0])
		// Some file systems do not distinguish upper and lower case.
		if line, twice := lines[strings.ToLower(name)]; twice {
			return nil, exit.Usagef("%s: line %d: %s.secret is the file of line %d already; "+
				"each user needs a name of their own", file, row.Line, name, line)
		}
		lines[strings.ToLower(name)] = row.Line
		s.paths = append(s.paths, filepath.Join(dir, name+".secret"))
	}
	if dir == "" {
		return s, nil
	}
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return s, nil
	case err != nil:
		return nil, exit.Usagef("%w", err)
	case !info.IsDir():
		return nil, exit.Usagef("%s is not a folder", dir)
	case owner.OthersMayUse(info):
		return nil, exit.Usagef("%s may be used by others (mode %04o); chmod 700 it",
			dir, info.Mode().Perm())
	}
	for i, path := range s.paths {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return nil, exit.Usagef("%s: line %d: %s exists; choose another folder",
				file, rows[i].Line, path)
		}
	}
	return s, nil
}

// write generates the passwords and stores them, before the server gets them.
func (s *secretFolder) write() (passwords []string, err error) {
	_, missing := os.Stat(s.dir)
	if err := durable.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	s.made = errors.Is(missing, fs.ErrNotExist)
	for _, path := range s.paths {
		password := newSecret()
		if err := durable.CreateFile(path, []byte(password+"\n"), 0o600); err != nil {
			return nil, err
		}
		passwords = append(passwords, password)
		s.wrote++
	}
	return passwords, nil
}

// remove undoes write.
func (s *secretFolder) remove() (err error) {
	for _, path := range s.paths[:s.wrote] {
		err = errors.Join(err, os.Remove(path))
	}
	if s.made && err == nil {
		err = os.Remove(s.dir)
	}
	return err
}

func importUsers(
	ctx context.Context, env *ctl.Env, rows []ctl.Row, secrets *secretFolder, apply bool,
) error {
	text, err := env.CheckImport(ctx, atm.UserImport, rows, "added")
	if err != nil {
		return err
	}
	if !apply {
		return env.Tell(map[string]any{"rows": len(rows), "added": 0},
			"%d users can be added; --apply adds them\n", len(rows))
	}
	passwords, err := secrets.write()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return with(err, secrets.remove())
	}
	_, err = env.Call(ctx, string(atm.UserImport), text, strings.Join(passwords, "\n"))
	switch {
	case err == nil:
		return env.Tell(map[string]any{
			"rows": len(rows), "added": len(rows),
			"folder": secrets.dir,
		},
			"%d users are added; their passwords are in %s\n", len(rows), secrets.dir)
	case refusedForSure(err):
		return with(err, secrets.remove())
	}
	return &exit.Error{Code: exit.Code(exit.FromClient(err)), Err: err, Advice: []string{
		"The passwords are kept in " + secrets.dir +
			": atmctl user list says whether the users are known.",
	}}
}

// refusedForSure reports whether an error of a call proves that nothing was changed.
func refusedForSure(err error) bool {
	var coded *exit.Error
	var answer *client.HTTPError
	switch {
	case errors.Is(err, client.ErrConnect):
		return true
	case errors.As(err, &answer) && answer.StatusCode >= 500:
		return false // it may come from a proxy that lost the answer
	}
	return errors.As(exit.FromClient(err), &coded) && coded.Word != atm.OutcomeUnknown &&
		(coded.Code == exit.Refused || coded.Code == exit.NotAuthenticated)
}
