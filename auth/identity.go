package auth

import (
	"crypto/x509"
	"net/url"
	"strings"

	"example.com/atm"
)

// Identity is the URI by which a certificate names subject in a trust domain,
// a SPIFFE ID: "user:demo" is spiffe://DOMAIN/user/demo.
func Identity(domain, subject string) *url.URL {
	kind, name, _ := strings.Cut(subject, ":")
	return &url.URL{Scheme: "spiffe", Host: domain, Path: "/" + kind + "/" + name}
}

// identity reads the subject from the one URI name of a certificate. The
// common name and every other kind of name never count, and a certificate
// with two URIs names nobody (SPIFFE X.509-SVID, section 2).
func identity(leaf *x509.Certificate, domain string) (string, error) {
	switch len(leaf.URIs) {
	case 0:
		return "", &Error{"certificate without an identity"}
	case 1:
	default:
		return "", &Error{"certificate with two identities"}
	}
	// The text is compared, not its parts: an identity has one spelling, and
	// escapes, ports, user information or a query are not in it.
	rest, ours := strings.CutPrefix(leaf.URIs[0].String(), "spiffe://"+domain+"/")
	if !ours {
		return "", &Error{"certificate of another trust domain"}
	}
	kind, name, _ := strings.Cut(rest, "/")
	subject := kind + ":" + name
	if _, _, ok := atm.ParseSubject(subject); !ok {
		return "", &Error{"certificate with a malformed identity"}
	}
	return subject, nil
}
