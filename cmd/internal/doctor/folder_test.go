package doctor_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/internal/machine"
)

var discard = slog.New(slog.DiscardHandler)

func open(t *testing.T, data string) *daemon.Server {
	t.Helper()
	h, err := daemon.Open(t.Context(), daemon.Options{
		Data: data, Name: "atm.example",
		Log: discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// fresh creates the data folder of a stopped server.
func fresh(t *testing.T) string {
	t.Helper()
	data := filepath.Join(t.TempDir(), "atm-data")
	if err := open(t, data).Close(); err != nil {
		t.Fatal(err)
	}
	return data
}

// serve starts a server on a folder and stops it, which adds entries to its log.
func serve(t *testing.T, data string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := open(t, data).Serve(ctx, daemon.Listen{RPC: listener}); err != nil {
		t.Fatal(err)
	}
}

// like copies a data folder.
func like(t *testing.T, data string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "atm-data")
	if err := os.CopyFS(to, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(data, path)
		return errors.Join(err, os.Chmod(filepath.Join(to, inside), info.Mode().Perm()))
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// replace replaces one path in a folder by another.
func replace(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// state is everything in a folder, with permissions and times.
func state(t *testing.T, data string) string {
	t.Helper()
	sum := sha256.New()
	err := filepath.WalkDir(filepath.Dir(data), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintln(sum, path, info.Mode(), info.ModTime(), info.Size())
		if !info.Mode().IsRegular() {
			return nil
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(sum, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(sum.Sum(nil))
}

func synchronised() (machine.Clock, bool) { return machine.Clock{Synchronised: true}, true }
