package signed

import (
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/audit"
	"example.com/atm/auth/signature"
)

// What Check can find wrong, beside ErrNotKept.
var (
	// ErrUnsigned reports an entry whose caller did not sign.
	ErrUnsigned = errors.New("the request of this entry was not signed")

	// ErrForged reports a signature that is not that of the key over what was kept.
	ErrForged = errors.New("the signature does not verify")

	// ErrDiffers reports something that was signed and is not what the entry says.
	ErrDiffers = errors.New("what was signed is not what the entry says")
)

// A Proof is what was kept of a signed request, after it was checked.
type Proof struct {
	Record      *signature.Record
	Said        *signature.Statement // by the first signature
	Certificate *x509.Certificate
	Body        []byte // nil if it is not kept here
}

// slack is how much longer than its request an entry may take, and how far clocks may be apart.
const slack = time.Minute

// Check verifies that the caller of an entry signed its request. Nothing of that needs the server
// or the key of the log.
func (f Folder) Check(entry *audit.Entry) (*Proof, error) {
	if entry.Caller == nil || entry.Caller.Signature == "" {
		return nil, ErrUnsigned
	}
	record, err := f.Record(entry.Caller.Signature)
	if err != nil {
		return nil, err
	}
	p := &Proof{Record: record}
	for i := range record.Signed {
		said, err := record.Signed[i].Read()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForged, err)
		}
		if i == 0 {
			p.Said = said
			if p.Certificate, err = f.Certificate(said.KeyID); err != nil {
				return nil, err
			}
		}
		if err := record.Signed[i].Verify(p.Certificate); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrForged, err)
		}
		if err := compare(said, entry); err != nil {
			return nil, err
		}
	}
	if err := holds(p.Certificate, entry.Caller); err != nil {
		return nil, err
	}
	p.Body, err = f.Body(p.Said)
	if errors.Is(err, ErrNotKept) {
		err = nil
	}
	return p, err
}

// compare compares what was signed with an entry, except for the arguments, which are in the body
// as the caller wrote them and in the entry as they were understood.
func compare(said *signature.Statement, entry *audit.Entry) error {
	if said.Method != "POST" || !callsFor(said.Path, entry.Operation) {
		return fmt.Errorf("%w: %s of %s is no call of %s", ErrDiffers, said.Method, said.Path,
			entry.Operation)
	}
	apart := entry.Time.Sub(said.Created).Abs()
	if apart > signature.Skew+slack {
		return fmt.Errorf("%w: it was signed %s apart from the entry, at %s", ErrDiffers,
			apart.Round(time.Second), said.Created.Format(time.RFC3339))
	}
	if by := entry.Caller; by.Method == "mtls" {
		sum, err := base64.StdEncoding.DecodeString(by.SHA256)
		if err != nil || hex.EncodeToString(sum) != said.KeyID {
			return fmt.Errorf("%w: the caller signed in by another certificate", ErrDiffers)
		}
	}
	return nil
}

// holds returns an error unless a certificate is one of the caller. The entry names that of a
// caller who signed in by it. One who signed in by a token or a password is named by the only URI
// of the certificate, in the trust domain of whatever authority issued it.
func holds(cert *x509.Certificate, by *atm.Caller) error {
	if by.Method == "mtls" {
		return nil // compare has compared it
	}
	sender := cmp.Or(by.Actor, by.Subject) // under a grant, the actor and not the grantor
	if len(cert.URIs) == 1 {
		id := cert.URIs[0]
		if id.Scheme == "spiffe" && id.EscapedPath() == "/"+strings.Replace(sender, ":", "/", 1) {
			return nil
		}
	}
	return fmt.Errorf("%w: the caller is %s, and signed by a certificate of %v", ErrDiffers, sender,
		cert.URIs)
}

// callsFor reports whether a call of an operation can be sent to a path.
func callsFor(path string, op atm.Operation) bool {
	method, isJSON := strings.CutPrefix(path, "/v1/")
	if !isJSON {
		return path == "/RPC2" || path == "/"
	}
	return method == string(op) || method == "system.multicall"
}
