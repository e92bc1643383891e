package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/merkle"
)

func TestEntriesAreReadInOrderWithinTheLog(t *testing.T) {
	m, dir := audittest.Publish(t, 1000)
	log, err := audit.OpenLog(t.Context(), audit.Dir(dir), m.Signer.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	read := func(from, to int64) (indexes []int64, err error) {
		err = log.Entries(t.Context(), from, to, func(index int64, leaf []byte,
			h merkle.Hash,
		) error {
			if !bytes.Equal(leaf, m.Leaves[index]) || h != merkle.LeafHash(leaf) {
				t.Errorf("entry %d is %s", index, leaf)
			}
			indexes = append(indexes, index)
			return nil
		})
		return indexes, err
	}
	if got, err := read(254, 258); err != nil || fmt.Sprint(got) != "[254 255 256 257]" {
		t.Errorf("entries 254 to 257: %v, %v", got, err)
	}
	if got, err := read(998, 5000); err != nil || fmt.Sprint(got) != "[998 999]" {
		t.Errorf("the last entries: %v, %v", got, err)
	}
	if got, err := read(2000, 5000); err != nil || len(got) != 0 {
		t.Errorf("entries beyond the end: %v, %v", got, err)
	}
	mine := errors.New("mine")
	if err := log.Entries(t.Context(), 0, 1000, func(int64, []byte, merkle.Hash) error {
		return mine
	}); !errors.Is(err, mine) {
		t.Errorf("Entries = %v, want yield's error", err)
	}
	audittest.Edit(t, dir, "tile/entries/001", func(b []byte) []byte {
		return bytes.Replace(b, []byte("392.00"), []byte("392.01"), 1)
	})
	if got, err := read(250, 260); err == nil || len(got) != 6 {
		t.Errorf("a changed entry was read: %v, %v", got, err)
	}
	if _, err := audit.OpenLog(t.Context(), audit.Dir(dir),
		audittest.New(t).Signer.Verifier()); !errors.Is(err,
		checkpoint.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
	audittest.Remove(t, dir, "tile/1")
	if _, err := audit.OpenLog(t.Context(), audit.Dir(dir), m.Signer.Verifier()); err == nil {
		t.Error("a log without its last tiles was opened")
	}
}
