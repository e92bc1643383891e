package boltstore

import (
	"testing"
	"time"
)

// KeepInLog leaves what is committed in the write-ahead log alone until the end of a
// test, unless it fills a layer.
func KeepInLog(t testing.TB) {
	age, quiet := layerAge, layerQuiet
	layerAge, layerQuiet = time.Hour, time.Hour
	t.Cleanup(func() { layerAge, layerQuiet = age, quiet })
}
