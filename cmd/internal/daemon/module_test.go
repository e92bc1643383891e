//go:build pkcs11

package daemon_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.com/atm/certs"
	"example.com/atm/cmd/internal/daemon"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/internal/needs"
)

// softHSM creates a token of SoftHSM with a key on P-256, and returns its URI.
func softHSM(t testing.TB) string {
	t.Helper()
	const library = "/usr/lib/softhsm/libsofthsm2.so"
	dir := t.TempDir()
	conf, tokens, pin := filepath.Join(dir, "softhsm2.conf"), filepath.Join(dir, "tokens"),
		filepath.Join(dir, "pin")
	if err := os.Mkdir(tokens, 0o700); err != nil {
		t.Fatal(err)
	}
	key, err := newKeyPEM()
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		conf: "directories.tokendir = " + tokens + "\nobjectstore.backend = file\n", pin: "4711\n",
		filepath.Join(dir, "key.pem"): key,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	softhsm := needs.Program(t, "softhsm2-util")
	for _, args := range [][]string{
		{"--init-token", "--free", "--label", "atm", "--pin", "4711", "--so-pin", "0815"},
		{
			"--import", filepath.Join(dir, "key.pem"), "--token", "atm", "--label",
			"tokens", "--id",
			"01", "--pin", "4711",
		},
	} {
		if out, err := exec.Command(softhsm, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	}
	return fmt.Sprintf("pkcs11:token=atm;object=tokens?module-path=%s&pin-source=%s", library, pin)
}

func newKeyPEM() (string, error) {
	key, err := certs.NewKey()
	if err != nil {
		return "", err
	}
	text, err := certs.EncodeKey(key)
	return string(text), err
}

// TestModuleSignsTokens signs tokens with a key that never leaves SoftHSM.
func TestModuleSignsTokens(t *testing.T) {
	uri := strings.Replace(softHSM(t), "pin-source=", "pin-source=file:", 1)
	h := daemontest.Start(t, func(o *daemon.Options) { o.TokenKey = uri })
	daemontest.WithAlice(t, h)
	operator := h.As(t, "operator")
	nobody := h.TLS(t, "demo")
	nobody.GetClientCertificate = nil
	c := daemontest.HTTPClient(t, nobody)
	for range 20 { // takes more than one session of the module
		record, _ := daemontest.Must(t)(operator.Call(t.Context(), "admin.token.issue",
			"user:alice")).Result.(map[string]any)
		resp, text := h.Post(t, c, daemontest.Call("inquiry", "200"), func(r *http.Request) {
			r.Header.Set("Authorization", fmt.Sprint("Bearer ", record["token"]))
		})
		if resp.StatusCode != 200 || !strings.Contains(text, "50.00") {
			t.Fatalf("%s %s", resp.Status, text)
		}
	}
	if _, err := operator.Call(t.Context(), "admin.token.rotate"); err == nil ||
		!strings.Contains(err.Error(), "in a module") {
		t.Errorf("rotated: %v", err)
	}
	if err := h.Stop(); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"a PIN in the URI": uri + "&pin-value=4711",
		"no such object":   strings.Replace(uri, "object=tokens", "object=x", 1),
		"no such token":    strings.Replace(uri, "token=atm", "token=x", 1),
		"no module":        strings.Replace(uri, "libsofthsm2", "none", 1),
		"no PIN":           strings.Replace(uri, "pin-source=", "x-source=", 1),
		"no URI":           "token",
	} {
		if srv, err := daemon.Open(t.Context(), daemon.Options{
			Data: h.Data, TokenKey: bad,
			Log: daemontest.Discard,
		}); err == nil {
			t.Errorf("%s: opened", name)
			srv.Close()
		}
	}
}
