package boltstore

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"example.com/atm"
	"example.com/atm/internal/needs"
	"example.com/atm/vault"
)

// TestFlushOnAFullDiskIsRepeated has another program fill the disk between a commit and
// its flush. Nothing that needs the flush can be read meanwhile, and all of it afterwards.
func TestFlushOnAFullDiskIsRepeated(t *testing.T) {
	needs.Root(t)
	disk := t.TempDir()
	mount := exec.Command("mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk)
	if out, err := mount.CombinedOutput(); err != nil {
		needs.Skip(t, "root may not mount here: "+string(out))
	}
	t.Cleanup(func() { exec.Command("umount", "-l", disk).Run() })
	path := filepath.Join(disk, "vault.db")
	var accounts []vault.Name
	for n := range 500 {
		accounts = append(accounts, vault.Name(strconv.Itoa(1000+n)))
	}
	store, l := filled(t, path, accounts...)
	filler := filepath.Join(disk, "filler")
	if err := exec.Command("sh", "-c", "cat /dev/zero >"+filler).Run(); err == nil {
		t.Fatal("the disk has no end")
	}
	read := func() error { return store.engine.snapshot(func(view) error { return nil }) }
	for range 2 {
		if err := read(); !errors.Is(err, vault.ErrUnavailable) {
			t.Fatalf("read on a full disk: %v, want %v", err, vault.ErrUnavailable)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if s := l.Do(t.Context(), deposit(accounts[0])); s.Code != atm.OK {
		t.Error(s)
	}
	if err := read(); err != nil {
		t.Error(err)
	}
	if err := errors.Join(l.Close(), store.Close()); err != nil {
		t.Fatal(err)
	}
	if got, err := balance(t, path, accounts[0]); got != 2 || err != nil {
		t.Errorf("balance %v, %v, want 0.02", got, err)
	}
	whole(t, path, accounts[1], accounts[len(accounts)-1])
}
