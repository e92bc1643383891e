package server

import (
	"bytes"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"example.com/atm"
	"example.com/atm/auth/signature"
	"example.com/atm/teller/methods"
	"example.com/atm/xmlrpc"
)

// An unsignedError says why the signature of a request is refused.
type unsignedError struct{ reason string }

// Error implements error. What it begins with never changes.
func (e *unsignedError) Error() string { return "The signature is refused: " + e.reason }

// proven verifies the signatures of a request, if it has any (RFC 9421), and keeps them with what
// they are over. If they do not verify, the calls of the request are refused, each with an entry.
// It answers and returns false if nothing can be kept.
func (c *calls) proven(w http.ResponseWriter, r *http.Request, in *session, body []byte) bool {
	if !signature.IsSigned(r) {
		return true
	}
	unsigned := func(reason string) bool {
		in.unsigned = &unsignedError{reason}
		w.Header().Set(signature.AcceptHeader, signature.Accept)
		return true
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return unsigned("the connection has no client certificate, whose key alone can sign")
	}
	if len(body) > maxSignedBody {
		return unsigned("the body of a signed request has at most 64 KiB")
	}
	cert := r.TLS.PeerCertificates[0]
	record, err := signature.Verify(r, body, cert, time.Now())
	if err != nil {
		return unsigned(err.Error())
	}
	if mayBePrivate(r.URL.EscapedPath(), body) {
		body = nil
	}
	if err := c.keep(record, cert, body); err != nil {
		c.log.ErrorContext(r.Context(), "signature could not be kept",
			slog.String("trace", in.trace), slog.Any("error", err))
		w.Header().Set("Retry-After", "1")
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "The server cannot keep a signature at "+
			"the moment. Nothing was carried out.")
		return false
	}
	caller := *in.caller // which others may have as well
	caller.Signature = record.Name()
	in.caller = &caller
	return true
}

// maxSignedBody bounds the body of a signed request, in bytes, because it is kept.
const maxSignedBody = 64 << 10

// mayBePrivate reports whether there may be in the body of a request to a path what the audit log
// does not have in clear: a secret, or the name of a holder. Such a body is not kept.
func mayBePrivate(path string, body []byte) bool {
	if name, ok := strings.CutPrefix(path, jsonPrefix); ok {
		if op := methods.Of(atm.Operation(name)); op != nil {
			return isPrivate(op)
		}
	}
	// The names of methods are in the body. One that is written in another way is not looked for:
	// with escapes, in UTF-16, which has zeros, or in pieces between comments or CDATA sections.
	if bytes.ContainsAny(body, "\\&\x00") || bytes.Contains(body, []byte("<!")) {
		return true
	}
	for _, name := range privateMethods() {
		if bytes.Contains(body, []byte(name)) {
			return true
		}
	}
	return false
}

// privateMethods are the names of the methods whose arguments are not all in the audit log.
var privateMethods = sync.OnceValue(func() (names []string) {
	for _, op := range methods.All() {
		if isPrivate(&op) {
			names = append(names, string(op.Name))
		}
	}
	return names
})

func isPrivate(op *methods.Method) bool {
	return slices.ContainsFunc(op.Params, func(p methods.Param) bool {
		return p.Secret || p.Hashed
	})
}
