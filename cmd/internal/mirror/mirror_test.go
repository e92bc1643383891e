package mirror_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/audit"
	"example.com/atm/audit/audittest"
	"example.com/atm/audit/checkpoint"
	"example.com/atm/audit/policy"
	"example.com/atm/audit/remote"
	"example.com/atm/certs"
	"example.com/atm/cmd/internal/mirror"
)

// newMirror returns a mirror of a log, and a policy with its key, whose URL is at.
func newMirror(t *testing.T, l *audittest.Log, dir, file string, readers *certs.ClientVerifier) (
	*mirror.Mirror, func(at string) policy.Witness,
) {
	t.Helper()
	skey, vkey, err := checkpoint.GenerateCosigner("mirror.example/atm")
	if err != nil {
		t.Fatal(err)
	}
	cosigner, err := checkpoint.NewCosigner(skey)
	if err != nil {
		t.Fatal(err)
	}
	m, err := mirror.New(mirror.Config{
		Dir: dir, File: file, Origin: audittest.Origin, Cosigner: cosigner, Readers: readers,
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return m, func(at string) policy.Witness {
		policy, err := policy.Parse([]byte("witness m " + vkey + " " + at + "\nquorum m\n"))
		if err != nil {
			t.Fatal(err)
		}
		return policy.Witnesses[0]
	}
}

// published publishes a log in a new folder.
func published(t *testing.T, l *audittest.Log) string {
	t.Helper()
	dir := t.TempDir()
	audittest.PublishIn(t, dir, l)
	return dir
}

func open(t *testing.T, files audit.Files, l *audittest.Log) *audit.Log {
	t.Helper()
	log, err := audit.OpenLog(t.Context(), files, strings.Join(l.Signer.Keys(), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestMirrorServesWhatVerifiesAndCosignsIt(t *testing.T) {
	l := audittest.NewOf(t, 700)
	file := filepath.Join(t.TempDir(), "mirror")
	m, witness := newMirror(t, l, published(t, l), file, nil)
	s := httptest.NewServer(m)
	defer s.Close()
	_, err := audit.AskMirror(t.Context(), s.Client(), witness(s.URL), audittest.Origin)
	if err == nil {
		t.Error("a mirror that has nothing has a checkpoint")
	}
	if err := m.Copied(l.Checkpoint); err != nil {
		t.Fatal(err)
	}
	at := s.URL + "/" + audit.MirrorPath(audittest.Origin)
	report, err := audit.Verify(t.Context(), remote.Files{Base: at + "/", Client: s.Client()},
		audit.VerifyOptions{VKey: l.Signer.Keys()[0]})
	if err != nil || !report.OK() || report.Size != 700 {
		t.Fatalf("%+v, %v", report, err)
	}
	signed, err := audit.AskMirror(t.Context(), s.Client(), witness(s.URL), audittest.Origin)
	if err != nil {
		t.Fatal(err)
	}
	keys := l.Signer.Keys()
	size, seen, err := open(t, audit.Dir(published(t, l)), l).Mirrored(t.Context(),
		witness(s.URL), keys, signed)
	if err != nil || size != 700 || time.Since(seen).Abs() > time.Minute {
		t.Errorf("%d at %v, %v", size, seen, err)
	}
	early := l.At(t, 500)
	l.Grow(t, 300)
	grown := open(t, audit.Dir(published(t, l)), l)
	if size, _, err := grown.Mirrored(t.Context(), witness(""), keys, signed); err != nil ||
		size != 700 {
		t.Errorf("of a log that grew: %d, %v", size, err)
	}
	for name, other := range map[string]*audittest.Log{
		"a log that went back": early, "a fork": l.Forked(t, 900),
	} {
		_, _, err := open(t, audit.Dir(published(t, other)), l).Mirrored(t.Context(), witness(""),
			keys, signed)
		if !errors.Is(err, audit.ErrDiffers) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, stranger := newMirror(t, l, published(t, l), file, nil)
	if _, _, err := grown.Mirrored(t.Context(), stranger(""), keys, signed); err == nil ||
		errors.Is(err, audit.ErrDiffers) {
		t.Errorf("the cosignature of somebody else: %v", err)
	}
	again, _ := newMirror(t, l, published(t, l), file, nil) // after a restart
	rec := get(t, again, "/"+audit.MirrorPath(audittest.Origin)+"/checkpoint")
	if rec.Body.String() != string(signed) {
		t.Errorf("it does not go on with the checkpoint that it cosigned: %s", rec.Body)
	}
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return rec
}

func TestMirrorIsReadAndNothingElse(t *testing.T) {
	l := audittest.NewOf(t, 300)
	m, _ := newMirror(t, l, published(t, l), filepath.Join(t.TempDir(), "mirror"), nil)
	if err := m.Copied(l.Checkpoint); err != nil {
		t.Fatal(err)
	}
	at := "/" + audit.MirrorPath(audittest.Origin)
	for path, want := range map[string]int{
		at + "/checkpoint": http.StatusOK, at + "/log.vkey": http.StatusOK,
		at + "/tile/entries/000": http.StatusOK, at + "/tile/0/001.p/44": http.StatusOK,
		at + "/tile/0/009":      http.StatusNotFound,
		at + "/../checkpoint":   http.StatusNotFound,
		at + "/%2e%2e/mirror":   http.StatusNotFound,
		at + "/":                http.StatusNotFound,
		"/checkpoint":           http.StatusNotFound,
		"/":                     http.StatusNotFound,
		at + "x/checkpoint":     http.StatusNotFound,
		at + "/checkpoint.more": http.StatusNotFound,
	} {
		if rec := get(t, m, path); rec.Code != want {
			t.Errorf("%s: %d, not %d", path, rec.Code, want)
		}
	}
	rec := httptest.NewRecorder()
	m.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodPost,
		at+"/add-entries", nil))
	if rec.Code != http.StatusMethodNotAllowed || rec.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("a POST: %d", rec.Code)
	}
}

// TestEntriesAreForReadersAlone reads over real TLS, with the certificate of an authority that was
// named and with others.
func TestEntriesAreForReadersAlone(t *testing.T) {
	l := audittest.NewOf(t, 300)
	own, other := authority(t), authority(t)
	readers := certs.NewClientVerifier(own.Certificate)
	m, _ := newMirror(t, l, published(t, l), filepath.Join(t.TempDir(), "mirror"), readers)
	if err := m.Copied(l.Checkpoint); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cert := httptest.NewUnstartedServer(nil)
	cert.StartTLS()
	defer cert.Close()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- m.Serve(ctx, tls.NewListener(listener, &tls.Config{
			Certificates: cert.TLS.Certificates, ClientAuth: tls.RequestClientCert,
		}))
	}()
	for name, tt := range map[string]struct {
		by           *certs.Authority
		entries, top int
	}{
		"a reader":       {own, http.StatusOK, http.StatusOK},
		"somebody else":  {other, http.StatusForbidden, http.StatusOK},
		"no certificate": {nil, http.StatusForbidden, http.StatusOK},
	} {
		transport := cert.Client().Transport.(*http.Transport).Clone()
		if tt.by != nil {
			pair := reader(t, tt.by)
			transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (
				*tls.Certificate, error,
			) {
				return pair, nil
			}
		}
		c := &http.Client{Transport: transport}
		at := "https://" + listener.Addr().String() + "/" + audit.MirrorPath(audittest.Origin)
		for path, want := range map[string]int{
			"/checkpoint": tt.top, "/log.vkey": tt.top, "/tile/entries/000": tt.entries,
			"/tile/0/000": tt.entries,
		} {
			resp, err := c.Get(at + path)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s reads %s: %d, not %d", name, path, resp.StatusCode, want)
			}
		}
		transport.CloseIdleConnections()
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func authority(t *testing.T) *certs.Authority {
	t.Helper()
	a, err := certs.NewAuthority("readers.example", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// reader is a certificate of an authority for a client.
func reader(t *testing.T, by *certs.Authority) *tls.Certificate {
	t.Helper()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := by.IssueClient(key.Public(), &url.URL{
		Scheme: "spiffe", Host: "readers.example", Path: "/user/reader",
	}, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}
