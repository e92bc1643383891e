//go:build unix

package documents_test

import (
	"os"
	"path/filepath"
	"testing"

	"example.com/atm/audit/certificate"
	"example.com/atm/cmd/internal/daemontest"
	"example.com/atm/cmd/internal/documents"
)

// earlier is a folder with a statement in each form, and a certificate, of version 0.9.0.
const earlier = "testdata/0.9"

// TestDocumentsOfEarlierVersionsAreVerified checks what customers may have kept. If it fails
// because a form has changed, the form gets another number, and these files stay.
func TestDocumentsOfEarlierVersionsAreVerified(t *testing.T) {
	if os.Getenv("ATM_UPDATE") == "documents" {
		makeEarlier(t)
	}
	read := func(name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(earlier, name))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	key := string(read("log.vkey"))
	for _, form := range documents.Forms {
		name := "statement." + string(form)
		r := documents.CheckStatement(read(name), read(name+documents.ProofSuffix), key)
		if !r.OK() || len(r.Statement.Movements) < 10 {
			t.Errorf("%s: %d %s", name, r.Code, r.Sentence)
		}
	}
	if _, r := certificate.Check(string(read("certificate.txt")), key); !r.OK() {
		t.Errorf("the certificate: %d %s", r.Code, r.Sentence)
	}
}

// makeEarlier writes the files. It is for a version that has not been released.
func makeEarlier(t *testing.T) {
	b := newBank(t)
	b.busy()
	put := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(earlier, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(earlier, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, form := range documents.Forms {
		file, proof := b.fetch(200, "", "", form)
		put("statement."+string(form), file)
		put("statement."+string(form)+documents.ProofSuffix, proof)
	}
	put("log.vkey", []byte(b.key()))
	put("certificate.txt",
		[]byte(daemontest.Must(t)(b.demo.Certificate(t.Context(), 200)).Text()))
}
