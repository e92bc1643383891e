package certs

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReloaderFollowsGoodPairsAndReportsBadOnes replaces the files of a running reloader. A bad
// pair is reported and not used.
func TestReloaderFollowsGoodPairsAndReportsBadOnes(t *testing.T) {
	dir, now := t.TempDir(), time.Now()
	certFile, keyFile := filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	a, err := NewAuthority("servers", now)
	if err != nil {
		t.Fatal(err)
	}
	version := now
	write := func(file string, data []byte) {
		t.Helper()
		version = version.Add(time.Second) // file systems may have coarse timestamps
		if err := errors.Join(os.WriteFile(file, data, 0o600), os.Chtimes(file, version,
			version)); err != nil {
			t.Fatal(err)
		}
	}
	pair := func() (cert, key []byte) {
		t.Helper()
		k, err := NewKey()
		if err != nil {
			t.Fatal(err)
		}
		c, err := a.IssueServer(k.Public(), []string{"localhost"}, time.Hour, now)
		if err != nil {
			t.Fatal(err)
		}
		key, err = EncodeKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return EncodeCertificate(c), key
	}
	served := func(r *Reloader) []byte {
		now = now.Add(2 * reloadEvery)
		return EncodeCertificate(r.current(now).Leaf)
	}

	cert1, key1 := pair()
	cert2, key2 := pair()
	if _, err := NewReloader(certFile, keyFile, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a reloader of nothing")
	}
	write(certFile, cert1)
	write(keyFile, key1)
	var log strings.Builder
	r, err := NewReloader(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(served(r), cert1) {
		t.Error("the first pair is not served")
	}
	write(certFile, cert2) // does not match the old key
	if !bytes.Equal(served(r), cert1) || !strings.Contains(log.String(), "is not used") {
		t.Errorf("half a pair is served, or nothing was said: %s", &log)
	}
	write(keyFile, key2)
	if !bytes.Equal(served(r), cert2) {
		t.Error("the new pair is not served")
	}
	if err := os.Remove(keyFile); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(served(r), cert2) {
		t.Error("a pair that is gone is not served from memory")
	}
	write(keyFile, key1)
	write(certFile, cert1)
	if r.current(now) != r.pair || !bytes.Equal(EncodeCertificate(r.current(now).Leaf), cert2) {
		t.Error("the files were looked at twice within a second")
	}
}
