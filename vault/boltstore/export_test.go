package boltstore

import (
	"testing"
	"time"
)

// KeepInLog leaves what is committed in the write-ahead log alone until the end of a
// test, unless it fills a layer.
func KeepInLog(t testing.TB) {
	usual := layerAge
	layerAge = time.Hour
	t.Cleanup(func() { layerAge = usual })
}
