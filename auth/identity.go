package auth

import (
	"crypto/x509"
	"encoding/asn1"
	"net/url"
	"strings"

	"example.com/atm"
)

// Identity is the URI that names subject in a trust domain in a certificate, a SPIFFE ID:
// "user:demo" is spiffe://DOMAIN/user/demo.
func Identity(domain, subject string) *url.URL {
	kind, name, _ := strings.Cut(subject, ":")
	return &url.URL{Scheme: "spiffe", Host: domain, Path: "/" + kind + "/" + name}
}

// identity reads the subject from the only URI name of a certificate. The common name and other
// kinds of names never count, and a certificate with two URIs has no identity (SPIFFE
// X.509-SVID, section 2).
func identity(leaf *x509.Certificate, domain string) (string, error) {
	names := uris(leaf)
	switch len(names) {
	case 0:
		return "", &Error{"certificate without an identity"}
	case 1:
	default:
		return "", &Error{"certificate with two identities"}
	}
	// The text is compared as a whole. An identity has only one spelling, without escapes, port,
	// user information, query or fragment.
	rest, ours := strings.CutPrefix(names[0], "spiffe://"+domain+"/")
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

// uriName is the tag of a URI among the alternative names of a certificate, and
// alternativeNames is the OID of their extension (RFC 5280, section 4.2.1.6).
const uriName = 6

var alternativeNames = asn1.ObjectIdentifier{2, 5, 29, 17}

// uris are the URI names of a certificate as written. crypto/x509 parses them to url.URL, which
// loses an empty fragment and the case of the scheme.
func uris(leaf *x509.Certificate) []string {
	var list []string
	for _, extension := range leaf.Extensions {
		if !extension.Id.Equal(alternativeNames) {
			continue
		}
		var names []asn1.RawValue
		if _, err := asn1.Unmarshal(extension.Value, &names); err != nil {
			return nil // crypto/x509 has parsed it, so this does not happen
		}
		for _, name := range names {
			if name.Class == asn1.ClassContextSpecific && name.Tag == uriName {
				list = append(list, string(name.Bytes))
			}
		}
	}
	return list
}
