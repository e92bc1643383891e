//go:build unix

package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"
	"time"
)

var transactions = regexp.MustCompile(`tps = ([0-9.]+)`)

// Bench runs a script of pgbench by so many clients, for whole seconds, and returns how
// many transactions there were in a second.
func Bench(t testing.TB, url, script string, clients int, d time.Duration) float64 {
	t.Helper()
	file := filepath.Join(t.TempDir(), "script.sql")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	seconds := max(1, int(d.Seconds()))
	out, err := exec.Command(Program("pgbench"), "-n", "-M", "prepared", "-c",
		strconv.Itoa(clients), "-j", "2", "-T", fmt.Sprint(seconds), "-f", file,
		url).CombinedOutput()
	found := transactions.FindSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("pgbench: %v\n%s", err, out)
	}
	rate, err := strconv.ParseFloat(string(found[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return rate
}
