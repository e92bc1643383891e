//go:build unix

package cmd_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"example.com/atm"
)

// TestLostVaultEndsTheServer removes or replaces the vault or its write-ahead log under a
// running server. The server exits with 1, so that a supervisor restarts it, and acknowledges
// nothing that is not in a file.
func TestLostVaultEndsTheServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(db, log string) error
	}{
		{"the vault is cut to one page", func(db, _ string) error { return os.Truncate(db, 4096) }},
		{"the vault is cut to nothing", func(db, _ string) error { return os.Truncate(db, 0) }},
		{"the vault is removed", func(db, _ string) error { return os.Remove(db) }},
		{"the vault is renamed", func(db, _ string) error { return os.Rename(db, db+".old") }},
		{"a copy of the vault replaces it", func(db, _ string) error { return replace(db) }},
		{"the write-ahead log is removed", func(_, log string) error { return os.Remove(log) }},
		{"a copy of the write-ahead log replaces it", func(_, log string) error {
			return replace(log)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := startServer(t)
			c := s.demo(t, 1)
			if a, err := c.Deposit(t.Context(), 100, 5, "before"); err != nil || !a.OK() {
				t.Fatal(a, err)
			}
			db := filepath.Join(s.dir, "atm-data", "vault.db")
			begun := time.Now()
			if err := tt.do(db, db+"-wal"); err != nil {
				t.Fatal(err)
			}
			select {
			case <-s.ended:
			case <-time.After(patience):
				s.cmd.Process.Signal(syscall.SIGQUIT)
				t.Fatal("the server goes on")
			}
			t.Logf("it had ended after %v", time.Since(begun).Round(time.Millisecond))
			if code := s.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("the server ended with %d, not 1", code)
			}
		})
	}
}

// replace replaces a file by a copy of it.
func replace(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path))
}

// TestBackupWithAnotherServerKeyIsRefused restores a backup whose server key does not match the
// server's certificate. No server could start on that folder.
func TestBackupWithAnotherServerKeyIsRefused(t *testing.T) {
	s, other := startServer(t), startServer(t)
	if a, err := s.demo(t, 1).Deposit(t.Context(), 100, atm.Amount(5), "before"); err != nil ||
		!a.OK() {
		t.Fatal(a, err)
	}
	if out, err := s.command("atmctl", "backup", "good.tar").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	key, err := os.ReadFile(filepath.Join(other.dir, "atm-data", "tls", "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := os.ReadFile(filepath.Join(s.dir, "atm-data", "tls", "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	tar, err := os.ReadFile(filepath.Join(s.dir, "good.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(key) != len(own) || bytes.Count(tar, own) != 1 {
		t.Fatalf("the key of %d bytes is not once in the backup, or the other one has %d", len(own),
			len(key))
	}
	if err := os.WriteFile(filepath.Join(s.dir, "bad.tar"), bytes.Replace(tar, own, key, 1),
		0o600); err != nil {
		t.Fatal(err)
	}
	out, err := s.command("atmctl", "restore", "bad.tar", "--data", "restored").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "tls/server.key") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := s.command("atmctl", "restore", "good.tar", "--data",
		"restored").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
