package audit_test

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"example.com/atm/audit/audittest"
)

// largeSize has partial tiles on three levels.
const largeSize = 70_000

var largeFolder string // removed after the tests

func TestMain(m *testing.M) {
	folder, err := os.MkdirTemp("", "atm-audit-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	largeFolder = folder
	code := m.Run()
	os.RemoveAll(folder)
	os.Exit(code)
}

var large struct {
	once sync.Once
	log  *audittest.Log
	dir  string
}

// publishLarge returns a log of 70,000 entries that was published at 300 entries and at its
// end. Tests share the log and its files, so a test that grows the log or edits files calls
// copyLarge.
func publishLarge(t testing.TB) (*audittest.Log, string) {
	t.Helper()
	large.once.Do(func() {
		l, dir := audittest.New(t), largeFolder
		p := audittest.PublishIn(t, dir, l)
		for _, size := range []int{300, largeSize} {
			l.Grow(t, size-len(l.Leaves))
			if err := p.Publish(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		p.Tidy()
		large.log, large.dir = l, dir
	})
	if large.log == nil {
		t.Fatal("the large log could not be published")
	}
	return large.log, large.dir
}

// copyLarge is publishLarge for a test that grows the log or edits files.
func copyLarge(t testing.TB) (*audittest.Log, string) {
	t.Helper()
	l, dir := publishLarge(t)
	return l.Clone(), audittest.Copy(t, dir)
}
