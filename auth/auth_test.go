package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/auth"
)

const domain = "atm.example"

// certificate is a self-signed certificate with these URI names. Chains are verified elsewhere.
func certificate(t testing.TB, life time.Duration, uris ...string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(90), Subject: pkix.Name{CommonName: "user:demo"},
		DNSNames:  []string{"demo"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
	}
	for _, uri := range uris {
		u, err := url.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		template.URIs = append(template.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func request(cert *x509.Certificate, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "https://localhost/RPC2", nil)
	r.RemoteAddr = "[::ffff:192.0.2.7]:4711"
	r.TLS = &tls.ConnectionState{}
	if cert != nil {
		r.TLS.PeerCertificates = []*x509.Certificate{cert}
	}
	for _, h := range headers {
		r.Header.Add("Authorization", h)
	}
	return r
}

func directory() *auth.Directory {
	d := auth.NewDirectory()
	d.Update(map[string]auth.Member{
		"user:demo":      {Roles: []atm.Role{atm.Customer}},
		"service:till-1": {Roles: []atm.Role{atm.Service, atm.Teller}},
	})
	return d
}

func authenticator(verify func([]*x509.Certificate, time.Time) error) *auth.Authenticator {
	if verify == nil {
		verify = func([]*x509.Certificate, time.Time) error { return nil }
	}
	return auth.New(auth.Config{TrustDomain: domain, Directory: directory(), VerifyChain: verify})
}

func TestCertificateNamesItsHolderByOneURI(t *testing.T) {
	for _, tt := range []struct {
		uris         []string
		want, reason string
	}{
		{uris: []string{"spiffe://atm.example/user/demo"}, want: "user:demo"},
		{uris: []string{"spiffe://atm.example/service/till-1"}, want: "service:till-1"},
		{reason: "without an identity"}, // its common name user:demo does not count
		{
			uris:   []string{"spiffe://atm.example/user/demo", "spiffe://atm.example/user/demo"},
			reason: "two identities",
		},
		{uris: []string{"spiffe://other.example/user/demo"}, reason: "another trust domain"},
		{uris: []string{"spiffe://atm.example:443/user/demo"}, reason: "another trust domain"},
		{uris: []string{"spiffe://x@atm.example/user/demo"}, reason: "another trust domain"},
		{uris: []string{"spiffe://ATM.example/user/demo"}, reason: "another trust domain"},
		{uris: []string{"https://atm.example/user/demo"}, reason: "another trust domain"},
		{uris: []string{"spiffe://atm.example.evil/user/demo"}, reason: "another trust domain"},
		{uris: []string{"spiffe://atm.example/user/demo/"}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example/user/demo/x"}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example//user/demo"}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example/user/%64emo"}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example/user/demo?x"}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example/user/demo#x"}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example/user/.."}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example/user/"}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example/system/init"}, reason: "malformed"},
		{uris: []string{"spiffe://atm.example/USER/demo"}, reason: "malformed"},
		{
			uris:   []string{"spiffe://atm.example/user/" + strings.Repeat("a", 65)},
			reason: "malformed",
		},
		{uris: []string{"spiffe://atm.example/user/mallory"}, reason: "nobody known"},
	} {
		caller, _, err := authenticator(nil).Authenticate(request(certificate(t, time.Hour,
			tt.uris...)))
		var failure *auth.Error
		switch {
		case tt.reason == "":
			if err != nil || caller.Subject != tt.want || caller.IP != "192.0.2.7" ||
				caller.Method != "mtls" || caller.Serial != "5a" {
				t.Errorf("%v: %+v, %v", tt.uris, caller, err)
			}
		case !errors.As(err, &failure) || !strings.Contains(failure.Reason, tt.reason):
			t.Errorf("%v: %+v, %v, want %q", tt.uris, caller, err, tt.reason)
		}
	}
	if got := auth.Identity(domain, "user:demo").String(); got != "spiffe://atm.example/user/demo" {
		t.Errorf("identity %s", got)
	}
}

// TestIdentityIsComparedAsWritten has names that url.URL would write differently.
func TestIdentityIsComparedAsWritten(t *testing.T) {
	for _, uri := range []string{
		"spiffe://atm.example/user/demo#",
		"SPIFFE://atm.example/user/demo",
	} {
		value, err := asn1.Marshal([]asn1.RawValue{{
			Class: asn1.ClassContextSpecific, Tag: 6,
			Bytes: []byte(uri),
		}})
		if err != nil {
			t.Fatal(err)
		}
		cert := certificate(t, time.Hour)
		cert.Extensions = append(cert.Extensions[:0],
			pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: value})
		if caller, _, err := authenticator(nil).Authenticate(request(cert)); err == nil {
			t.Errorf("%s is %s", uri, caller.Subject)
		}
	}
}

// TestRevokedForeignCertificateIsRefused revokes everything of a subject whose certificate is
// from another authority, which does not backdate certificates as ours does.
func TestRevokedForeignCertificateIsRefused(t *testing.T) {
	d, mappings := directory(), &auth.Mappings{}
	if err := mappings.Update([]auth.Mapping{{Subject: "user:demo", DNS: "demo"}}); err != nil {
		t.Fatal(err)
	}
	unknown := func([]*x509.Certificate, time.Time) error { return errors.New("unknown authority") }
	known := func([]*x509.Certificate, time.Time) error { return nil }
	a := auth.New(auth.Config{
		TrustDomain: domain, Directory: d, VerifyChain: unknown, VerifyForeign: known,
		Mappings: mappings, Backdate: 2 * time.Hour,
	})
	cert := certificate(t, time.Hour)
	if _, _, err := a.Authenticate(request(cert)); err != nil {
		t.Fatal(err)
	}
	d.Revoke(map[string]time.Time{"subject:user:demo": time.Now()})
	if caller, _, err := a.Authenticate(request(cert)); err == nil {
		t.Errorf("a certificate of an hour ago is %s", caller.Subject)
	}
}

func TestRequestIsOfTheHolderOfItsCertificate(t *testing.T) {
	good := certificate(t, time.Hour, "spiffe://atm.example/user/demo")
	a := authenticator(nil)
	if _, _, err := a.Authenticate(request(nil)); !errors.Is(err, auth.ErrNothing) {
		t.Errorf("nothing: %v", err)
	}
	var failure *auth.Error
	for _, header := range []string{"Bearer x", "Digest x", "", "nonsense"} {
		if caller, _, err := a.Authenticate(request(good, header)); !errors.As(err, &failure) {
			t.Errorf("a good certificate with %q: %+v, %v", header, caller, err)
		}
	}
	if _, _, err := a.Authenticate(request(good, "Bearer x", "Bearer x")); !errors.Is(err,
		auth.ErrTwoHeaders) {
		t.Errorf("two headers: %v", err)
	}
	bad := authenticator(func([]*x509.Certificate, time.Time) error {
		return errors.New("of another authority")
	})
	if _, _, err := bad.Authenticate(request(good)); !errors.As(err, &failure) ||
		failure.Reason != "of another authority" {
		t.Errorf("a chain that is not trusted: %v", err)
	}
}

// TestGoodChainIsRememberedForAMinute counts how often a chain is verified, and makes sure that
// the cache does not outlive the certificate or a minute.
func TestGoodChainIsRememberedForAMinute(t *testing.T) {
	verified := 0
	now := time.Now()
	cert := certificate(t, 90*time.Second, "spiffe://atm.example/user/demo")
	d := directory()
	a := auth.New(auth.Config{
		TrustDomain: domain, Directory: d, Now: func() time.Time { return now },
		VerifyChain: func(chain []*x509.Certificate, now time.Time) error {
			verified++
			if now.After(chain[0].NotAfter) {
				return errors.New("expired")
			}
			return nil
		},
	})
	for _, step := range []struct {
		after time.Duration
		want  int
		fails bool
	}{
		{0, 1, false},
		{30 * time.Second, 1, false},
		{31 * time.Second, 2, false},
		{30 * time.Second, 3, true},
		{0, 4, true},
	} {
		now = now.Add(step.after)
		again, err := x509.ParseCertificate(cert.Raw) // as each connection does
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = a.Authenticate(request(again))
		if verified != step.want || (err != nil) != step.fails {
			t.Errorf("after %s more: verified %d times, want %d; %v", step.after, verified,
				step.want, err)
		}
	}
	now = now.Add(-time.Minute)
	if _, _, err := a.Authenticate(request(cert)); err != nil {
		t.Error(err)
	}
	d.Update(map[string]auth.Member{"user:demo": {}})
	if _, _, err := a.Authenticate(request(cert)); err == nil {
		t.Error("somebody who is unknown now was let in")
	}
}

// TestForgottenChainIsVerifiedAgain puts other authorities in force while a chain is being
// verified. The result under the old authorities must not be cached.
func TestForgottenChainIsVerifiedAgain(t *testing.T) {
	var a *auth.Authenticator
	verified := 0
	trusted := true
	a = authenticator(func([]*x509.Certificate, time.Time) error {
		verified++
		if !trusted {
			return errors.New("of another authority")
		}
		trusted = false
		a.Forget()
		return nil
	})
	cert := certificate(t, time.Hour, "spiffe://atm.example/user/demo")
	if _, _, err := a.Authenticate(request(cert)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Authenticate(request(cert)); err == nil || verified != 2 {
		t.Errorf("verified %d times, %v", verified, err)
	}
}

func TestDirectoryLosesNoUpdate(t *testing.T) {
	d := auth.NewDirectory()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			subject := "user:" + string(rune('a'+i%25)) + string(rune('a'+i/25))
			d.Update(map[string]auth.Member{subject: {Roles: []atm.Role{atm.Customer}}})
			if _, known := d.Member(subject); !known {
				t.Errorf("%s was lost", subject)
			}
		})
	}
	wg.Wait()
	for i := range 50 {
		if _, known := d.Member("user:" + string(rune('a'+i%25)) + string(rune('a'+i/25))); !known {
			t.Errorf("subject %d was lost", i)
		}
	}
}

func TestAddressIsWithoutPortAndMappedForm(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7:80": "192.0.2.7", "[::ffff:192.0.2.7]:80": "192.0.2.7",
		"[2001:db8::1]:80":  "2001:db8::1",
		"[fe80::1%eth0]:80": "fe80::1", "192.0.2.7": "192.0.2.7", "@": "invalid IP",
	} {
		if got := auth.Address(in).String(); got != want {
			t.Errorf("Address(%q) = %s, want %s", in, got, want)
		}
	}
}
