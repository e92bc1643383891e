// Package needs states what a test requires besides Go: a program, the rights of root, or a free
// port.
//
// A test whose requirement is missing is skipped by name. The reason is appended to the file
// named by ATM_SKIPPED, and make test prints that file at its end. With CI=true nothing may be
// skipped: the test fails.
package needs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// folders are searched after those in PATH: Debian has programs for administration there, and
// those of PostgreSQL, of which the newest version is used.
var folders = []string{"/usr/sbin", "/sbin", "/usr/lib/postgresql/*/bin"}

// Find returns the path of a program, or false if this machine does not have it.
func Find(name string) (path string, ok bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, folder := range folders {
		found, _ := filepath.Glob(filepath.Join(folder, name))
		if len(found) > 0 {
			return found[len(found)-1], true
		}
	}
	return "", false
}

// Program returns the path of a program that the test runs. It ends the test if the program is
// missing.
func Program(t testing.TB, name string) (path string) {
	t.Helper()
	path, ok := Find(name)
	if !ok {
		Skip(t, name+" is not installed")
	}
	return path
}

// Installed returns the path of what make installs in the repository: the first match of pattern
// below its folder. It ends the test if there is none.
func Installed(t testing.TB, pattern, name string) (path string) {
	t.Helper()
	for dir := "."; ; dir = filepath.Join(dir, "..") {
		found, _ := filepath.Glob(filepath.Join(dir, filepath.FromSlash(pattern)))
		if len(found) > 0 {
			return found[0]
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			Skip(t, name+" is not installed; make requirements gateway installs it")
		}
	}
}

// Root ends the test unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		Skip(t, "only root can do this")
	}
}

// Skip ends the test because this machine lacks something.
func Skip(t testing.TB, why string) {
	t.Helper()
	if Lacking(t.Name(), why) {
		t.Skip(why)
	}
	t.Fatalf("%s, and with CI=true nothing is skipped", why)
}

// Lacking records that a test cannot run, and reports whether it may be skipped.
func Lacking(test, why string) (skip bool) {
	if os.Getenv("CI") == "true" {
		return false
	}
	if path := os.Getenv("ATM_SKIPPED"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintf(f, "%s: %s\n", test, why)
			f.Close()
		}
	}
	return true
}

// Unraced skips a long test when the race detector is on: it runs in the pass without it.
func Unraced(t testing.TB) {
	t.Helper()
	if raced {
		t.Skip("runs without the race detector")
	}
}

// Raced reports whether the race detector is on.
func Raced() bool { return raced }
