package deploy_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"example.com/atm/internal/needs"
)

// TestKeepalivedReadsItsConfiguration has keepalived's own parser read the file, and refuse one
// with a word it does not know and one with a replica that nobody checks.
func TestKeepalivedReadsItsConfiguration(t *testing.T) {
	needs.Root(t) // keepalived reads as root alone
	keepalived := needs.Program(t, "keepalived")
	text, err := os.ReadFile("lvs/keepalived.conf")
	if err != nil {
		t.Fatal(err)
	}
	// It wants an interface that is there, and eth0 is an example.
	there, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	there = slices.DeleteFunc(there, func(i net.Interface) bool {
		return i.Flags&net.FlagLoopback != 0 || i.Flags&net.FlagMulticast == 0
	})
	if len(there) == 0 {
		needs.Skip(t, "there is no interface with multicast")
	}
	for _, tt := range []struct {
		name, old, new string
		good           bool
	}{
		{"as it is", "", "", true},
		{"an unknown word", "delay_loop 2", "delay_lop 2", false},
		{"an unknown scheduler", "lb_algo wlc", "lb_algo ???", false},
		{"an unclosed block", "quorum 1", "quorum 1 {", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			changed := strings.Replace(string(text), tt.old, tt.new, 1)
			changed = strings.Replace(changed, "interface eth0", "interface "+there[0].Name, 1)
			file := filepath.Join(t.TempDir(), "keepalived.conf")
			if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(keepalived, "--config-test", "--use-file", file,
				"--log-console").CombinedOutput()
			if (err == nil) != tt.good {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
