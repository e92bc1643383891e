package doctor

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// permissions reports files that other users can access and should not. Certificates are
// public, and so is the published log for users that may enter the folder.
func (e *exam) permissions() {
	if info, err := os.Stat(e.dir.Root); err == nil && info.Mode().Perm()&0o077 != 0 {
		e.tell(Critical, "chmod 700 "+quoted(e.dir.Root),
			"%s may be used by others (mode %04o): the server refuses it",
			e.dir.Root, info.Mode().Perm())
	}
	for _, folder := range []string{"keys", "ca", "tls", "clients"} {
		e.walk(folder, func(path string, info fs.FileInfo) {
			secret := info.Mode().IsRegular() && !strings.HasSuffix(path, ".crt")
			if secret && info.Mode().Perm()&0o077 != 0 {
				e.tell(Critical, "chmod 600 "+quoted(path),
					"%s may be used by others (mode %04o)", path, info.Mode().Perm())
			}
		})
	}
	for _, name := range []string{"config.toml", "vault.db", "vault.db-wal", "snapshots"} {
		e.walk(name, func(path string, info fs.FileInfo) {
			if info.Mode().Perm()&0o022 != 0 && info.Mode().IsRegular() {
				e.tell(Warning, "chmod 600 "+quoted(path),
					"%s may be changed by others (mode %04o)", path, info.Mode().Perm())
			}
		})
	}
}

// owners reports files that belong to another user than the folder does, as after a command was
// run as root.
func (e *exam) owners() {
	info, err := os.Stat(e.dir.Root)
	if err != nil {
		e.tell(Critical, "", "%v", err)
		return
	}
	owner, known := ownerOf(info)
	if !known {
		e.tell(Note, "", "whose a file is cannot be told on this system")
		return
	}
	others, first := 0, ""
	for _, folder := range []string{
		"keys", "ca", "tls", "clients", "audit", "snapshots", "config.toml",
		"vault.db", "vault.db-wal",
	} {
		e.walk(folder, func(path string, info fs.FileInfo) {
			if whose, known := ownerOf(info); known && whose != owner {
				if others++; first == "" {
					first = path
				}
			}
		})
	}
	if others > 0 {
		e.tell(Critical, "chown -R --reference="+quoted(e.dir.Root)+" "+quoted(e.dir.Root),
			"%s and %d other files do not belong to the user that the folder belongs to", first,
			others-1)
	}
}

// walk calls visit for everything below a name in the folder, and reports what cannot be read.
// It ignores files that vanish during the walk, as tiles of a running server do.
func (e *exam) walk(name string, visit func(path string, info fs.FileInfo)) {
	err := filepath.WalkDir(e.dir.Path(name), func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			var info fs.FileInfo
			if info, err = d.Info(); err == nil {
				visit(path, info)
			}
		}
		if os.IsNotExist(err) {
			return nil
		}
		return err
	})
	if err != nil {
		e.tell(Critical, "", "%v", err)
	}
}

// inside is the name of a file in a backup.
func (e *exam) inside(file string) string {
	name, err := filepath.Rel(e.dir.Root, file)
	if err != nil {
		return file
	}
	return filepath.ToSlash(name)
}

func present(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// escaped is a name for use in a pattern of filepath.Glob.
func escaped(name string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
}

// quoted is a path quoted for a shell.
func quoted(path string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+,@"
	if path != "" && strings.Trim(path, plain) == "" {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
