// Package signed keeps what proves that requests were signed: signature bases with signatures,
// certificates, and bodies.
//
// Each is a file whose name is its hash, in hexadecimal, so that it never changes and is never
// kept twice. The hash of a record is in an entry of the audit log; the record names the hash of
// the certificate, and that of the body. So the entry tells whether the other three are what they
// were, wherever they are from.
package signed

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"example.com/atm/auth/signature"
	"example.com/atm/internal/durable"
)

// A Folder is where the files are. Their first two digits name a folder in it.
type Folder string

// maxFileBytes is the size of the largest file.
const maxFileBytes = 256 << 10

// Keep keeps what proves that a request was signed. When it returns, that is durable. The body is
// nil if it is not to be kept.
func (f Folder) Keep(record *signature.Record, cert *x509.Certificate, body []byte) error {
	if body != nil {
		said, err := record.Signed[0].Read()
		if err != nil {
			return err
		}
		if err := f.put(said.Body(), body); err != nil {
			return err
		}
	}
	sum := record.Sum()
	return errors.Join(f.put(signature.KeyID(cert), cert.Raw),
		f.put(hex.EncodeToString(sum[:]), []byte(record.Text())))
}

// put keeps a file.
func (f Folder) put(name string, content []byte) error {
	path := f.path(name)
	if err := durable.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = durable.CreateFile(path, content, 0o600)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		return durable.SyncDir(filepath.Dir(path)) // another request that writes it may not be done
	}
	return err
}

func (f Folder) path(name string) string { return filepath.Join(string(f), name[:2], name) }

// ErrNotKept reports a file that is not there.
var ErrNotKept = errors.New("it is not kept here")

// read reads the file with a hash, which it checks.
func (f Folder) read(name string) ([]byte, error) {
	if len(name) < 2 || strings.Trim(name, "0123456789abcdef") != "" {
		return nil, fmt.Errorf("%q is no hash", name)
	}
	content, err := durable.ReadChecked(f.path(name), maxFileBytes, func(fs.FileInfo) error {
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", f.path(name), ErrNotKept)
	}
	if err != nil {
		return nil, err
	}
	short, long := sha256.Sum256(content), sha512.Sum512(content)
	sum, err := hex.DecodeString(name)
	if err != nil || !bytes.Equal(sum, short[:]) && !bytes.Equal(sum, long[:]) {
		return nil, fmt.Errorf("%s is not what its name says", f.path(name))
	}
	return content, nil
}

// Record reads the record that an entry names.
func (f Folder) Record(name string) (*signature.Record, error) {
	sum, err := signature.SumOf(name)
	if err != nil {
		return nil, err
	}
	text, err := f.read(sum)
	if err != nil {
		return nil, err
	}
	return signature.ParseRecord(string(text))
}

// Certificate reads the certificate that a signature names by its keyid.
func (f Folder) Certificate(keyID string) (*x509.Certificate, error) {
	der, err := f.read(keyID)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// Body reads the body that a signature is over. The error is ErrNotKept if it may have been
// private.
func (f Folder) Body(said *signature.Statement) ([]byte, error) {
	body, err := f.read(said.Body())
	if err != nil {
		return nil, err
	}
	return body, said.Holds(body)
}
