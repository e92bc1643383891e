//go:build pkcs11 && unix

package daemon_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/offline"
)

// TestModuleSignsForReplicas has two servers on one database sign by one module, and go from one
// of its keys to the next one after the other. A server without the module ends, and does not
// start again.
func TestModuleSignsForReplicas(t *testing.T) {
	uris := auditModule(t, "log1", "log2")
	oldFirst, newFirst := uris, []string{uris[1], uris[0]}
	store := daemontest.Database(t)
	a, b := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	with := func(folder string, keys ...string) *daemontest.Server {
		return daemontest.StartOne(t, folder, func(o *daemon.Options) {
			o.Store, o.AuditKeys = store, keys
		})
	}
	onA := with(a)
	first := vkeysOf(t, a)
	daemontest.Join(t, a, b)
	stop(t, onA)
	without, ended := serving(t, daemon.Options{Data: b, Store: store})
	deposit := func(servers ...*daemontest.Server) {
		t.Helper()
		for _, h := range servers {
			demo := daemontest.At(t, h, &daemontest.Server{Data: a, Name: onA.Name}, "demo")
			daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 1, ""))
		}
	}

	onA = with(a, oldFirst...)
	demo := daemontest.At(t, without, onA, "demo")
	if answer, err := demo.Deposit(t.Context(), daemontest.Account, 1, ""); err == nil &&
		answer.OK() {
		t.Errorf("answered without the key of the others: %+v", answer)
	}
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "in a PKCS #11 module") {
		t.Errorf("the server without the module ended with %v", err)
	}
	if _, err := daemon.Open(t.Context(), daemon.Options{
		Data: b, Store: store, Log: daemontest.Discard,
	}); err == nil || !strings.Contains(err.Error(), "in a PKCS #11 module") {
		t.Errorf("without the module: %v", err)
	}
	onB := with(b, oldFirst...)
	deposit(onA, onB, onA, onB)
	second := auditKeyFile(t, b)
	stop(t, onA)
	onA = with(a, newFirst...) // b follows
	deposit(onB, onA, onB)
	if third := auditKeyFile(t, b); third == second || third != auditKeyFile(t, a) {
		t.Error("b does not sign by the keys of a")
	}
	stop(t, onA)
	stop(t, onB)
	for _, data := range []string{a, b} {
		verified(t, data, first...)
		verified(t, data, vkeysOf(t, data)...)
	}
}

// TestModuleIsNotNeededToRestore restores a backup where the module is not. The log of the copy is
// whole, has no key that could sign it alone, and goes on where the module is.
func TestModuleIsNotNeededToRestore(t *testing.T) {
	uri := auditModule(t, "log")[0]
	h := signedBy(t, filepath.Join(t.TempDir(), "atm-data"), uri)
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, ""))
	taken := backupOf(t, h)
	stop(t, h)
	keys := vkeysOf(t, h.Data)
	data := filepath.Join(t.TempDir(), "restored")
	var said bytes.Buffer
	if _, err := (offline.Folder{Data: data}).Restore(t.Context(),
		slog.New(slog.NewTextHandler(&said, nil)),
		offline.Backup{Content: bytes.NewReader(taken)}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "in a PKCS #11 module") ||
		!strings.Contains(said.String(), keys[0]) {
		t.Errorf("restore does not say which key is missing: %s", said.String())
	}
	verified(t, data, keys...)
	goesOnWithModule(t, data, uri, keys)
}

// goesOnWithModule requires that a folder which was made without the module does not start without
// it, and signs with it by the keys of before.
func goesOnWithModule(t *testing.T, data, uri string, keys []string) {
	t.Helper()
	if n := strings.Count(auditKeyFile(t, data), "PRIVATE"); n != 1 {
		t.Errorf("%d secret keys of the log are in the folder", n)
	}
	turnedAway(t, data)
	h := signedBy(t, data, uri)
	if !exists(filepath.Join(data, "clients", "operator")) {
		certify(t, data, "operator")
	}
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.status"))
	stop(t, h)
	verified(t, data, keys...)
	if now := vkeysOf(t, data); now[0] != keys[0] || now[1] != keys[1] {
		t.Errorf("signed by %q, by %q before", now, keys)
	}
	for _, problem := range checked(t, offline.Folder{Data: data}) {
		t.Errorf("fsck: %s", problem)
	}
}

// TestModuleIsNotNeededToRebuild rebuilds a vault from an archive and keys/ where the module is
// not. What has an entry waits for the server that has it.
func TestModuleIsNotNeededToRebuild(t *testing.T) {
	uri := auditModule(t, "log")[0]
	away := filepath.Join(t.TempDir(), "archive")
	if err := os.Mkdir(away, 0o700); err != nil {
		t.Fatal(err)
	}
	h := daemontest.StartOne(t, filepath.Join(t.TempDir(), "atm-data"), func(o *daemon.Options) {
		quickly(away)(o)
		o.AuditKeys = []string{uri}
	})
	made := daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, ""))
	archived(t, away, []string{made.Receipt})
	stop(t, h)
	keys := vkeysOf(t, h.Data)
	fresh := filepath.Join(t.TempDir(), "atm-data")
	keysOf(t, h.Data, fresh)
	done, err := offline.Folder{Data: fresh, Archive: away}.RebuildFrom(t.Context(),
		daemontest.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(done.Anew, "\n"), "runs with its --audit-key: atmctl cert") {
		t.Errorf("to be made anew: %q", done.Anew)
	}
	verified(t, fresh, keys...)
	goesOnWithModule(t, fresh, uri, keys)
}
