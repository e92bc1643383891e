package signed_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/big"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth/signature"
	"example.com/atm/cmd/internal/signed"
)

const body = `{"account":100,"amount":"1"}`

// proof returns the record of a signed request, and the certificate that signed it.
func proof(t *testing.T) (*signature.Record, *x509.Certificate) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), URIs: []*url.URL{
		{Scheme: "spiffe", Host: "test.example", Path: "/user/demo"},
	}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := signature.NewSigner(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", "/v1/deposit", nil)
	now := time.Now()
	if err := signer.Sign(r, []byte(body), now); err != nil {
		t.Fatal(err)
	}
	record, err := signature.Verify(r, []byte(body), cert, now)
	if err != nil {
		t.Fatal(err)
	}
	return record, cert
}

// TestWhatIsKeptIsReadByItsHash keeps a proof twice, and reads it.
func TestWhatIsKeptIsReadByItsHash(t *testing.T) {
	folder := signed.Folder(filepath.Join(t.TempDir(), "signed"))
	record, cert := proof(t)
	for range 2 {
		if err := folder.Keep(record, cert, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := folder.Record(record.Name())
	if err != nil || kept.Text() != record.Text() {
		t.Fatalf("%v, %v", kept, err)
	}
	said, err := kept.Signed[0].Read()
	if err != nil {
		t.Fatal(err)
	}
	if read, err := folder.Certificate(said.KeyID); err != nil || !read.Equal(cert) {
		t.Errorf("the certificate: %v", err)
	}
	if read, err := folder.Body(said); err != nil || string(read) != body {
		t.Errorf("the body: %q, %v", read, err)
	}
	files := 0
	err = filepath.WalkDir(string(folder), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
			if info, _ := d.Info(); info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
		}
		return err
	})
	if err != nil || files != 3 {
		t.Errorf("%d files are kept, %v", files, err)
	}
}

// TestChangedOrMissingProofIsRefused changes the record, keeps no body, and asks for what is
// no hash.
func TestChangedOrMissingProofIsRefused(t *testing.T) {
	folder := signed.Folder(filepath.Join(t.TempDir(), "signed"))
	record, cert := proof(t)
	if _, err := folder.Record(record.Name()); !errors.Is(err, signed.ErrNotKept) {
		t.Errorf("before it is kept: %v", err)
	}
	if err := folder.Keep(record, cert, nil); err != nil {
		t.Fatal(err)
	}
	said, err := record.Signed[0].Read()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Body(said); !errors.Is(err, signed.ErrNotKept) {
		t.Errorf("a body that is not kept: %v", err)
	}
	sum := record.Sum()
	name := hex.EncodeToString(sum[:])
	path := filepath.Join(string(folder), name[:2], name)
	if err := os.WriteFile(path, []byte(record.Text()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Record(record.Name()); err == nil {
		t.Error("a changed record is read")
	}
	for _, name := range []string{"", "sha256:", "sha256:AAAA", "../../etc/passwd"} {
		if _, err := folder.Record(name); err == nil {
			t.Errorf("%q names a record", name)
		}
	}
	if _, err := folder.Certificate("../../etc/passwd"); err == nil {
		t.Error("a path is read as a certificate")
	}
}

// TestProofIsOfItsEntryAlone checks a proof against its entry, and against entries that are
// different in one thing.
func TestProofIsOfItsEntryAlone(t *testing.T) {
	folder := signed.Folder(filepath.Join(t.TempDir(), "signed"))
	record, cert := proof(t)
	if err := folder.Keep(record, cert, []byte(body)); err != nil {
		t.Fatal(err)
	}
	other, _ := proof(t)
	lost, lostCert := proof(t)
	lost.Signed[0].Signature[3] ^= 1
	if err := folder.Keep(lost, lostCert, nil); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.Raw)
	for name, tt := range map[string]struct {
		change func(*audit.Entry)
		want   error
	}{
		"its entry":          {func(*audit.Entry) {}, nil},
		"a reading by token": {func(e *audit.Entry) { e.Caller.Method = "jwt" }, nil},
		"a password of another subject": {func(e *audit.Entry) {
			e.Caller.Method, e.Caller.Subject = "digest", "user:mallory"
		}, signed.ErrDiffers},
		"a token of a service of that name": {func(e *audit.Entry) {
			e.Caller.Method, e.Caller.Subject = "jwt", "service:demo"
		}, signed.ErrDiffers},
		"a token of the actor under a grant": {func(e *audit.Entry) {
			e.Caller.Method, e.Caller.Subject, e.Caller.Actor = "jwt", "user:bob", "user:demo"
		}, nil},
		"a token of another actor": {func(e *audit.Entry) {
			e.Caller.Method, e.Caller.Actor = "jwt", "user:bob"
		}, signed.ErrDiffers},
		"nobody": {func(e *audit.Entry) { e.Caller = nil }, signed.ErrUnsigned},
		"an unsigned entry": {
			func(e *audit.Entry) { e.Caller.Signature = "" }, signed.ErrUnsigned,
		},
		"another operation": {
			func(e *audit.Entry) { e.Operation = atm.Withdraw }, signed.ErrDiffers,
		},
		"another certificate": {
			func(e *audit.Entry) { e.Caller.SHA256 = "AAAA" }, signed.ErrDiffers,
		},
		"an earlier entry": {
			func(e *audit.Entry) { e.Time = e.Time.Add(-7 * time.Minute) }, signed.ErrDiffers,
		},
		"a later entry": {
			func(e *audit.Entry) { e.Time = e.Time.Add(7 * time.Minute) }, signed.ErrDiffers,
		},
		"another record": {
			func(e *audit.Entry) { e.Caller.Signature = other.Name() }, signed.ErrNotKept,
		},
		"a bad signature": {
			func(e *audit.Entry) { e.Caller.Signature = lost.Name() }, signed.ErrForged,
		},
	} {
		entry := &audit.Entry{
			Time: time.Now(), Operation: atm.Deposit, Caller: &atm.Caller{
				Principal: atm.Principal{Subject: "user:demo"},
				Credential: atm.Credential{
					Method: "mtls", SHA256: base64.StdEncoding.EncodeToString(sum[:]),
				},
				Signature: record.Name(),
			},
		}
		tt.change(entry)
		found, err := folder.Check(entry)
		if !errors.Is(err, tt.want) || err == nil && string(found.Body) != body {
			t.Errorf("%s: %+v, %v, want %v", name, found, err, tt.want)
		}
	}
}
