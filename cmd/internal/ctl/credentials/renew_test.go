package credentials

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"example.com/atm/client"
)

// TestReplacedPairAlwaysMatches replaces a pair many times while it is read. The two files
// match at every moment. A reader that reads them before and after a change gets the new pair
// by reading again.
func TestReplacedPairAlwaysMatches(t *testing.T) {
	files := client.InFolder(t.TempDir())
	write := func(text string) error {
		return errors.Join(os.WriteFile(files.Cert, []byte(text), 0o644),
			os.WriteFile(files.Key, []byte(text), 0o600))
	}
	if err := write("0"); err != nil {
		t.Fatal(err)
	}
	var ended atomic.Bool
	done := make(chan error, 1)
	go func() {
		defer ended.Store(true)
		for i := range 100 {
			text := []byte(strings.Repeat("x", i+1))
			if err := replacePair(files, text, text); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	reads, apart, together := 0, 0, 0
	for !ended.Load() {
		current, before := os.Readlink(filepath.Join(filepath.Dir(files.Cert), currentPair))
		cert, noCert := os.ReadFile(files.Cert)
		key, noKey := os.ReadFile(files.Key)
		again, after := os.Readlink(filepath.Join(filepath.Dir(files.Cert), currentPair))
		reads++
		switch changed := current != again || before != nil || after != nil; {
		case noCert == nil && noKey == nil && string(cert) == string(key):
			together++
		case !changed:
			t.Fatalf("without a change: %d and %d bytes, %v, %v", len(cert), len(key),
				noCert, noKey)
		default:
			apart++
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Logf("%d reads, %d across a change", reads, apart)
	if together == 0 {
		t.Error("the pair was never read together")
	}
	cert, err := os.ReadFile(files.Cert)
	if err != nil || len(cert) != 100 {
		t.Errorf("%d bytes, %v", len(cert), err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(files.Cert), pairPrefix+"*"))
	if err != nil || len(left) != 1 {
		t.Errorf("folders of pairs: %v, %v", left, err)
	}
}
