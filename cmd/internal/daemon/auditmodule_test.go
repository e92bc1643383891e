//go:build pkcs11 && unix

package daemon_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/auth"
	"example.com/atm/client"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/doctor"
	"example.com/atm/cmd/internal/offline"
	"example.com/atm/internal/needs"
	"example.com/atm/monitor"
	"example.com/atm/teller/replay"
	"github.com/miekg/pkcs11"
)

// auditModule adds keys of Ed25519 to the token of softHSM, and returns the URI of each.
func auditModule(t testing.TB, labels ...string) (uris []string) {
	t.Helper()
	tokens := softHSM(t)
	for i, label := range labels {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{
			Type: "PRIVATE KEY", Bytes: der,
		}), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("softhsm2-util", "--import", file, "--token", "atm", "--label",
			label, "--id", fmt.Sprintf("a%d", i), "--pin", "4711").CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
		uris = append(uris, strings.Replace(tokens, "object=tokens", "object="+label, 1))
	}
	return uris
}

// signedBy starts a server with keys of the log in modules.
func signedBy(t *testing.T, data string, uris ...string) *daemontest.Server {
	t.Helper()
	return daemontest.StartOne(t, data, func(o *daemon.Options) { o.AuditKeys = uris })
}

func stop(t *testing.T, h *daemontest.Server) {
	t.Helper()
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
}

// vkeys are the public keys beside the log of a folder.
func vkeysOf(t *testing.T, data string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "audit", "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// verified requires that the log of a folder verifies by keys.
func verified(t *testing.T, data string, keys ...string) {
	t.Helper()
	r, err := audit.Verify(t.Context(), audit.Dir(filepath.Join(data, "audit")),
		audit.VerifyOptions{VKey: strings.Join(keys, "\n")})
	if err != nil || !r.OK() {
		t.Errorf("by %s: %+v, %v", checkpoint.Short(keys...), r, err)
	}
}

// turnedAway requires that a folder is not opened with these keys, and returns why.
func turnedAway(t *testing.T, data string, uris ...string) string {
	t.Helper()
	srv, err := daemon.Open(t.Context(), daemon.Options{
		Data: data, AuditKeys: uris, Log: daemontest.Discard,
	})
	if err == nil {
		srv.Close()
		t.Fatalf("opened with %q", uris)
	}
	if strings.Contains(err.Error(), "4711") {
		t.Errorf("the PIN is in the error: %v", err)
	}
	return err.Error()
}

// auditKeyFile is the content of keys/audit.key.
func auditKeyFile(t *testing.T, data string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(data, "keys", "audit.key"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestModuleSucceedsTheKeyOfTheLog moves the key of a log into a module, and then to another key
// there. The log verifies by each key of before, a monitor that knows only the first follows it,
// and nothing starts that could not sign.
func TestModuleSucceedsTheKeyOfTheLog(t *testing.T) {
	uris := auditModule(t, "log1", "log2")
	data := filepath.Join(t.TempDir(), "atm-data")
	h := daemontest.StartOne(t, data, nil)
	stop(t, h)
	first := vkeysOf(t, data)
	follow := followed(t, data, first)

	h = signedBy(t, data, uris[0])
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, ""))
	if _, err := h.As(t, "operator").Call(t.Context(), "admin.audit.rotate"); err == nil ||
		!strings.Contains(err.Error(), "in a module") {
		t.Errorf("rotated: %v", err)
	}
	stop(t, h)
	second := vkeysOf(t, data)
	if second[0] == first[0] || second[1] == first[1] ||
		!strings.HasPrefix(auditKeyFile(t, data), second[0]+"\nPRIVATE+KEY+") {
		t.Errorf("signed by %q, with %q before", second, first)
	}
	verified(t, data, first...)
	verified(t, data, first[0])
	verified(t, data, second...)
	follow()

	before := auditKeyFile(t, data)
	for name, bad := range map[string][]string{
		"none": nil, "another one alone": {uris[1]},
		"no such key": {strings.Replace(uris[0], "object=log1", "object=x", 1)},
		"a key of another kind": {
			strings.Replace(uris[0], "object=log1", "object=tokens", 1),
		},
		"no such token": {strings.Replace(uris[0], "token=atm", "token=x", 1)},
		"no module":     {strings.Replace(uris[0], "libsofthsm2", "none", 1)},
		"a PIN":         {uris[0] + "&pin-value=4711"},
	} {
		why := turnedAway(t, data, bad...)
		if len(bad) == 0 && !strings.Contains(why, second[0]+", which is in a PKCS #11 module") {
			t.Errorf("%s: %s", name, why)
		}
	}
	if auditKeyFile(t, data) != before {
		t.Error("a start that was refused changed keys/audit.key")
	}

	h = signedBy(t, data, uris[1], uris[0])
	stop(t, h)
	third := vkeysOf(t, data)
	for _, keys := range [][]string{first, second, third, first[:1], second[:1], third[:1]} {
		verified(t, data, keys...)
	}
	follow()
	if strings.Contains(auditKeyFile(t, data), first[0]) || len(third) != 2 ||
		third[0] == second[0] {
		t.Errorf("signed by %q", third)
	}
	if why := turnedAway(t, data, uris[0], uris[1]); !strings.Contains(why,
		"name its --audit-key first") {
		t.Errorf("in the wrong order: %s", why)
	}
	h = signedBy(t, data, uris[1]) // the key before signs no more
	stop(t, h)
	verified(t, data, first...)
	if !strings.Contains(h.Log.String(), "no longer signs") {
		t.Errorf("nobody is told: %s", h.Log)
	}
	follow()
	if strings.Contains(h.Log.String(), "4711") {
		t.Error("the PIN is in the log")
	}
}

// followed returns what has a monitor look at the log of a folder, as it does for good.
func followed(t *testing.T, data string, keys []string) (look func()) {
	t.Helper()
	log, err := checkpoint.OriginOf(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	m, err := monitor.New(monitor.Config{
		Files: audit.Dir(filepath.Join(data, "audit")), Dir: t.TempDir(), Keys: keys,
		Rules: replay.Rules{Permit: daemon.Permit, Issuer: auth.IssuerOf(log)},
		Alarm: func(a monitor.Alarm) { t.Errorf("alarm: %+v", a) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := m.Round(context.Background(), time.Now()); err != nil {
			t.Error(err)
		}
	}
}

// TestModuleBeginsALog makes a folder whose key of the log was never on the disk, checks it
// without the module, gives the log up without it, and goes on with the key of the module.
func TestModuleBeginsALog(t *testing.T) {
	uri := auditModule(t, "log")[0]
	data := filepath.Join(t.TempDir(), "atm-data")
	h := signedBy(t, data, uri)
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, ""))
	daemontest.Must(t)(h.As(t, "operator").Call(t.Context(), "admin.status"))
	stop(t, h)
	if n := strings.Count(auditKeyFile(t, data), "PRIVATE"); n != 1 {
		t.Errorf("%d secret keys are on the disk", n)
	}
	keys := vkeysOf(t, data)
	verified(t, data, keys...)
	for _, problem := range checked(t, offline.Folder{Data: data}) {
		t.Errorf("fsck: %s", problem)
	}
	if !slices.ContainsFunc(doctor.Examine(t.Context(), doctor.Options{Data: data}),
		func(f doctor.Finding) bool {
			return f.Severity == doctor.Note && strings.Contains(f.Text, "in a PKCS #11 module")
		}) {
		t.Error("doctor does not say where the key is")
	}
	r, err := offline.Folder{Data: data}.Recover(t.Context(), daemontest.Discard)
	if err != nil || !strings.HasSuffix(r.Origin, "/2") {
		t.Fatalf("%+v, %v", r, err)
	}
	given := vkeysOf(t, data)
	h = signedBy(t, data, uri)
	daemontest.Must(t)(h.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, ""))
	stop(t, h)
	verified(t, data, given...)
	if !strings.HasSuffix(vkeysOf(t, data)[0][9:], keys[0][len(keys[0])-20:]) {
		t.Errorf("signed by %q, by %q before", vkeysOf(t, data), keys)
	}
}

// serving starts a server that will end by itself, and returns what it ends with.
func serving(t *testing.T, opts daemon.Options) (*daemontest.Server, <-chan error) {
	t.Helper()
	listen, err := daemon.Addresses("localhost:0", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	opts.Log = daemontest.Discard
	open, err := daemon.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- open.Serve(context.Background(), listen) }()
	return &daemontest.Server{Data: opts.Data, Addr: listen.RPC.Addr().String()}, served
}

// TestModuleThatFailsEndsTheServer takes the module away from a server while it runs. What it then
// answers is in doubt, and the next start goes on.
func TestModuleThatFailsEndsTheServer(t *testing.T) {
	uri := auditModule(t, "log")[0]
	data := filepath.Join(t.TempDir(), "atm-data")
	h, served := serving(t, daemon.Options{Data: data, AuditKeys: []string{uri}})
	demo := daemontest.At(t, h, h, "demo") // which does not try again
	daemontest.Must(t)(demo.Deposit(t.Context(), daemontest.Account, 1, "before"))
	module := pkcs11.New("/usr/lib/softhsm/libsofthsm2.so")
	if err := module.Finalize(); err != nil {
		t.Fatal(err)
	}
	module.Destroy()
	if a, err := demo.Deposit(t.Context(), daemontest.Account, 1, "after"); err == nil && a.OK() {
		t.Errorf("answered without a signature: %+v", a)
	}
	if err := <-served; err == nil || !strings.Contains(err.Error(), "does not sign") {
		t.Errorf("the server ended with %v", err)
	}
	again := signedBy(t, data, uri)
	daemontest.Must(t)(again.As(t, "demo").Deposit(t.Context(), daemontest.Account, 1, "after"))
	again.Entries(t)
}

// TestModuleSucceedsTheKeyWhereverTheStartIsKilled kills the start that moves a key into a module
// before each of its changes of a file. The start after it completes the rotation.
func TestModuleSucceedsTheKeyWhereverTheStartIsKilled(t *testing.T) {
	needs.Program(t, "strace")
	uri := auditModule(t, "log")[0]
	dir := t.TempDir()
	was := filepath.Join(dir, "was")
	stop(t, daemontest.StartOne(t, was, nil))
	first := vkeysOf(t, was)
	t.Setenv(victimKeys, uri)
	for n, at := range []struct {
		call, file string
		begun      bool // the rotation has left a file
	}{
		{"renameat", "keys/audit.rotation", false},
		{"renameat", "keys/audit.key", true},
		{"unlinkat", "keys/audit.rotation", true},
		{"renameat", "audit/log.vkey", false},
	} {
		data := filepath.Join(dir, fmt.Sprint("killed", n))
		daemontest.Run(t, "cp", "-a", was, data)
		port, err := needs.Port()
		if err != nil {
			t.Fatal(err)
		}
		v := &victim{data: data, away: t.TempDir(), address: "localhost:" + port}
		t.Cleanup(v.kill)
		v.begin(t, "strace", "-f", "-qqq", "-o", os.DevNull, "-P", filepath.Join(data, at.file),
			"-e", "inject="+at.call+":signal=SIGKILL:when=1")
		if v.answers() {
			t.Fatalf("nothing was killed at %s %s", at.call, at.file)
		}
		if left := exists(filepath.Join(data, "keys", "audit.rotation")); left != at.begun {
			t.Errorf("killed at %s %s: keys/audit.rotation is there: %t", at.call, at.file, left)
		}
		v.start(t)
		v.stop(t)
		verified(t, data, first...)
		verified(t, data, first[0])
		now := vkeysOf(t, data)
		verified(t, data, now...)
		if now[0] == first[0] || !strings.HasPrefix(auditKeyFile(t, data), now[0]) {
			t.Errorf("killed at %s %s: signed by %q, %q before", at.call, at.file, now, first)
		}
		if exists(filepath.Join(data, "keys", "audit.rotation")) {
			t.Errorf("killed at %s %s: the rotation is not complete", at.call, at.file)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// BenchmarkModule has two servers make as many deposits in turn, one with the key of the log in its
// folder, one with the key in SoftHSM, and compares the times.
func BenchmarkModule(b *testing.B) {
	const deposits = 320
	uris := auditModule(b, "log")
	servers := []*daemontest.Server{
		daemontest.StartOne(b, filepath.Join(b.TempDir(), "folder"), nil),
		daemontest.StartOne(b, filepath.Join(b.TempDir(), "module"),
			func(o *daemon.Options) { o.AuditKeys = uris }),
	}
	for _, callers := range []int{1, 32} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			clients := make([][]*client.Client, len(servers))
			for i, h := range servers {
				for range callers {
					clients[i] = append(clients[i], h.As(b, "demo"))
				}
			}
			took := make([]time.Duration, len(servers))
			for b.Loop() {
				for i := range servers {
					begin := time.Now()
					var all sync.WaitGroup
					for _, demo := range clients[i] {
						all.Go(func() {
							for range deposits / callers {
								daemontest.Must(b)(demo.Deposit(b.Context(), daemontest.Account, 1, ""))
							}
						})
					}
					all.Wait()
					took[i] += time.Since(begin)
				}
			}
			for i, where := range []string{"folder", "module"} {
				b.ReportMetric(float64(took[i].Microseconds())/float64(b.N)/deposits, where+"-µs/deposit")
			}
			b.ReportMetric(float64(took[1])/float64(took[0]), "ratio")
		})
	}
}
