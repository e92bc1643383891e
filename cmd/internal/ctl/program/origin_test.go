package program

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

// namedLog is the folder of a log of this name.
func namedLog(t *testing.T, origin string) string {
	t.Helper()
	l := audittest.NewOf(t, 3)
	secret, _, err := checkpoint.GenerateKey(origin)
	if err != nil {
		t.Fatal(err)
	}
	if l.Signer, err = checkpoint.NewSigner(secret); err != nil {
		t.Fatal(err)
	}
	if l.Checkpoint, err = l.Signer.Sign(nil, merkle.Head{}, l.Head); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	audittest.PublishIn(t, dir, l)
	return dir
}

// TestNameOfALogLeadsToNoOtherFolder follows and pins logs that call themselves as the folders
// above are called: what is kept of them stays in the folders for that.
func TestNameOfALogLeadsToNoOtherFolder(t *testing.T) {
	for _, origin := range []string{"..", ".", "../..", "log.example/2"} {
		log, here := namedLog(t, origin), t.TempDir()
		t.Setenv("XDG_CONFIG_HOME", filepath.Join(here, "config"))
		copies, pins := filepath.Join(here, "copies"), filepath.Join(here, "config/atm/checkpoints")
		// The entries are nothing that a bank does.
		printed(t, 16, "monitor", log, "--copy", copies, "--once", "--max-age", "0")
		printed(t, 0, "audit", "checkpoint", "save", log)
		for dir, want := range map[string]int{here: 2, copies: 1, pins: 1} {
			found, err := os.ReadDir(dir)
			if err != nil || len(found) != want {
				t.Errorf("of %q there is in %s: %v, %v", origin, dir, found, err)
			}
		}
	}
}

// TestDamagedPinIsNotPassedOver pins a log and damages the pin. Whatever needs the key in it says
// so, rather than to go by the key beside the log.
func TestDamagedPinIsNotPassedOver(t *testing.T) {
	log, here := namedLog(t, "log.example"), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", here)
	printed(t, 0, "audit", "checkpoint", "save", log)
	audittest.Edit(t, here, "atm/checkpoints/log.example", func(b []byte) []byte {
		return b[:len(b)/2]
	})
	printed(t, 10, "audit", "verify", log)
	printed(t, 10, "monitor", log, "--copy", filepath.Join(here, "copies"), "--once", "--max-age",
		"0")
}
