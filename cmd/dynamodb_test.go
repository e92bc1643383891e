//go:build unix

package cmd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/vault/dynstore/dyntest"
)

// TestProgramsWorkOnATable makes a table, runs two replicas on it, and does with them what an
// operator does: status, backup, a check, another key, a move into a file and back.
func TestProgramsWorkOnATable(t *testing.T) {
	t.Parallel()
	url := dyntest.Shared(t).Table()
	owner := &server{dir: t.TempDir(), env: os.Environ()}
	for range 2 {
		if out := owner.atmctl(t, "", "migrate", "--store", url); !strings.Contains(out,
			"up to date") {
			t.Errorf("migrate: %s", out)
		}
	}
	all := startReplicas(t, 2, url)
	first := all[0]
	for i, s := range all {
		if a, err := clientOf(t, first, s.url).Deposit(t.Context(), 100, 1, ""); err != nil ||
			!a.OK() {
			t.Fatalf("replica %d: %+v, %v", i, a, err)
		}
	}
	if out := first.atmctl(t, "", "status"); !strings.Contains(out, "dynamodb, 2 replicas") ||
		!strings.Contains(out, all[1].dir) {
		t.Errorf("status: %s", out)
	}
	first.atmctl(t, "", "backup", "backup.tar")
	if out, err := first.command("atmctl", "export", "early.vault").CombinedOutput(); err == nil {
		t.Errorf("exported while replicas run: %s", out)
	}
	for _, s := range []*server{all[1], first} {
		s.stop(t)
		s.verify(t)
		s.fsck(t)
	}
	first.atmctl(t, "ATM_STORE=bolt:", "restore", "backup.tar", "--data", "restored")
	first.atmctl(t, "ATM_STORE=bolt:", "fsck", "--data", "restored")

	first.atmctl(t, "", "vault", "rekey")
	if out, err := all[1].command("atmctl", "fsck").CombinedOutput(); err == nil {
		t.Errorf("the old key opens the table: %s", out)
	}
	first.atmctl(t, "", "export", "all.vault")
	first.atmctl(t, "ATM_STORE=bolt:", "import", "all.vault")
	first.atmctl(t, "ATM_STORE=bolt:", "fsck")
	first.env = append(first.env, "ATM_STORE="+dyntest.Shared(t).Table())
	first.atmctl(t, "", "import", "all.vault")
	first.start(t)
	if a, err := first.demo(t, 1).Inquiry(t.Context(), 100); err != nil ||
		a.Text() != "1000.02" {
		t.Errorf("after all: %+v, %v", a, err)
	}
	if _, err := os.Stat(filepath.Join(first.dir, "atm-data", "vault.db")); err == nil {
		t.Error("there is a vault.db beside the table")
	}
}

// TestCredentialsAreNotTakenFromTheURL tries what must be refused before anything is asked for.
func TestCredentialsAreNotTakenFromTheURL(t *testing.T) {
	t.Parallel()
	s := &server{dir: t.TempDir(), env: os.Environ()}
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"--store", "dynamodb://AKIA:hidden@atm?region=eu-central-1"}, "credentials"},
		{[]string{"--store", "dynamodb://atm", "--store-password-file", "x"}, "PostgreSQL"},
		{[]string{"--store", "dynamodb://atm?regio=eu-central-1"}, "regio"},
		{[]string{"--store", "dynamodb://atm?endpoint=http://db.example.com"}, "endpoint"},
		{[]string{"--store", "dynamodb://atm", "--grant", "server"}, "IAM"},
		{[]string{"--store", "sqlite:atm"}, "dynamodb://TABLE"},
	} {
		cmd := s.command("atmctl", append([]string{"migrate"}, tt.args...)...)
		out, err := cmd.CombinedOutput()
		if err == nil || cmd.ProcessState.ExitCode() != 2 ||
			!strings.Contains(string(out), tt.says) || strings.Contains(string(out), "hidden") {
			t.Errorf("%q: %v: %s", tt.args, err, out)
		}
	}
}
