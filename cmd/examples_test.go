//go:build unix

package cmd_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/internal/needs"
)

// TestExamplesWorkInEachLanguage runs the programs in examples/ against the server, with a
// client certificate. All print the same.
func TestExamplesWorkInEachLanguage(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	examples, err := filepath.Abs("../examples")
	if err != nil {
		t.Fatal(err)
	}
	built := t.TempDir()
	compile(t, exec.Command("go", "build", "-o", filepath.Join(built, "go"), examples+"/go"))

	const want = `balance 1000.00
deposited 12.50, balance 1012.50
asked again, deposited once
withdrew 12.50, balance 1000.00
refused: Insufficient Funds
fault -32601
`
	for language, example := range map[string]struct{ needs, program string }{
		"Python": {"python3", examples + "/python/atm.py"},
		"Ruby":   {"ruby", examples + "/ruby/atm.rb"},
		"PHP":    {"php", examples + "/php/atm.php"},
		"Perl":   {"perl", examples + "/perl/atm.pl"},
		"Node":   {"node", examples + "/node/atm.mjs"},
		"curl":   {"curl", examples + "/curl/atm.sh"},
		"C":      {"xmlrpc-c-config", built + "/c"},
		"Go":     {"go", built + "/go"},
	} {
		t.Run(language, func(t *testing.T) { // one after another, because each expects the balance
			needs.Program(t, example.needs)
			if language == "C" {
				compile(t, exec.Command("cc", "-Wall", "-Wextra", "-Werror", "-o", example.program,
					examples+"/c/atm.c", "-lxmlrpc_client", "-lxmlrpc", "-lxmlrpc_util"))
			}
			cmd := exec.Command(example.program, s.url+"/RPC2", filepath.Join(s.dir, "atm-data",
				"clients",
				"demo"))
			var stdout, stderr strings.Builder
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil || stdout.String() != want {
				t.Errorf("%v\n%s%s", err, stdout.String(), stderr.String())
			}
		})
	}
	s.stop(t)
	s.verify(t)
}

func compile(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
