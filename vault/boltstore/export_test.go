package boltstore

import (
	"testing"
	"time"
)

// KeepInLog leaves what is committed in the write-ahead log and the memtable until the end
// of a test, unless it fills them.
func KeepInLog(t testing.TB) {
	age, quiet := flushAge, flushQuiet
	flushAge, flushQuiet = time.Hour, time.Hour
	t.Cleanup(func() { flushAge, flushQuiet = age, quiet })
}
