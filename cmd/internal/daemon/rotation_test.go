package daemon_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/cmd/internal/daemontest"
)

// TestRotationThatWasInterruptedIsCompleted begins with a folder as a rotation leaves it that is
// killed once the new keys are on the disk, also one of a program that knew Ed25519 alone. After
// the start the log leads from the keys of before to those of later.
func TestRotationThatWasInterruptedIsCompleted(t *testing.T) {
	t.Parallel()
	daemontest.Once(t)
	for name, keys := range map[string]int{"both keys": 2, "a key of Ed25519": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "atm-data")
			s := daemontest.StartOne(t, data, nil)
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			secret, err := os.ReadFile(filepath.Join(data, "keys", "audit.key"))
			if err != nil {
				t.Fatal(err)
			}
			kept, err := os.ReadFile(filepath.Join(data, "audit", "log.vkey"))
			if err != nil {
				t.Fatal(err)
			}
			first := func(text []byte) string {
				return strings.Join(strings.SplitAfter(string(text), "\n")[:keys], "")
			}
			if err := os.WriteFile(filepath.Join(data, "audit", "log.vkey"), []byte(first(kept)),
				0o600); err != nil {
				t.Fatal(err)
			}
			interrupt(t, data, first(secret), keys)
			s = daemontest.StartOne(t, data, nil)
			operator := daemontest.At(t, s, s, "operator")
			for range 2 { // until the keys of before sign no more
				daemontest.Must(t)(operator.Call(t.Context(), "admin.audit.rotate"))
			}
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			r, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(data, "audit")),
				audit.VerifyOptions{VKey: first(kept)})
			if err != nil || !r.OK() {
				t.Errorf("%+v, %v", r, err)
			}
			if _, err := os.Stat(filepath.Join(data, "keys", "audit.rotation")); err == nil {
				t.Error("the rotation is not completed")
			}
		})
	}
}

// interrupt leaves the new keys of a rotation in a folder, and the note of their entries: a list,
// or of a program with one key an object.
func interrupt(t *testing.T, data, secret string, keys int) {
	t.Helper()
	before, err := checkpoint.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	both, _, err := checkpoint.GenerateKeys(before.Origin())
	if err != nil {
		t.Fatal(err)
	}
	fresh := strings.Join(strings.SplitAfter(both, "\n")[:keys], "")
	next, err := checkpoint.NewSigner(fresh + secret)
	if err != nil {
		t.Fatal(err)
	}
	list, err := before.Rotations(next)
	if err != nil || len(list) != keys {
		t.Fatalf("%d rotations, %v", len(list), err)
	}
	note, err := json.Marshal(list)
	if keys == 1 {
		note, err = json.Marshal(list[0])
	}
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		"audit.rotation": string(note), "audit.key": fresh + secret,
	} {
		if err := os.WriteFile(filepath.Join(data, "keys", file), []byte(text),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
}
