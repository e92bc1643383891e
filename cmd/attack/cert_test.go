//go:build unix

package attack_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"example.com/atm/cmd/internal/daemontest"
)

func authorityTemplate(name string, pathLength int) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: daemontest.NextSerial(), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		MaxPathLen: pathLength, MaxPathLenZero: pathLength == 0,
	}
}

func newForeignAuthority(t *testing.T) *daemontest.ForeignAuthority {
	t.Helper()
	f := &daemontest.ForeignAuthority{Key: daemontest.NewKey(t)}
	template := authorityTemplate("Another bank", 1)
	template.PermittedDNSDomainsCritical, template.PermittedDNSDomains = true,
		[]string{"shop.example"}
	f.Cert = daemontest.Parsed(t, daemontest.Signed(t, template, template, f.Key.Public(), f.Key))
	return f
}

// hugeRequest is an unsigned certificate request for an RSA key of 16,384 bits. The reason of
// its refusal shows which check came first.
func hugeRequest(t *testing.T) string {
	t.Helper()
	const bits = 16384
	public, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1),
		bits-1, 1), E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	type info struct {
		Version      int
		Subject, Key asn1.RawValue
		Attributes   []asn1.RawValue `asn1:"tag:0,set"`
	}
	der, err := asn1.Marshal(struct {
		Info      info
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{
		info{
			Subject: asn1.RawValue{FullBytes: []byte{0x30, 0}},
			Key:     asn1.RawValue{FullBytes: public},
		},
		pkix.AlgorithmIdentifier{
			Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11},
			Parameters: asn1.NullRawValue,
		},
		asn1.BitString{Bytes: make([]byte, bits/8), BitLength: bits},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// attackCertificates presents certificates that prove nothing.
func (a *arena) attackCertificates(t *testing.T) {
	demo := "spiffe://" + a.domain + "/user/demo"
	as := func(change func(*x509.Certificate), uris ...string) *tls.Certificate {
		return a.issued(t, change, uris...)
	}
	with := func(uris ...string) *tls.Certificate {
		return a.issued(t, func(*x509.Certificate) {}, uris...)
	}

	// An authority with the name of the right one, and a self-signed certificate.
	namesake := newForeignAuthority(t)
	named := authorityTemplate("", 0)
	named.RawSubject, named.SerialNumber, named.SubjectKeyId = a.own.Certificate.RawSubject,
		a.own.Certificate.SerialNumber, a.own.Certificate.SubjectKeyId
	namesake.Cert = daemontest.Parsed(t, daemontest.Signed(t, named, named, namesake.Key.Public(),
		namesake.Key))
	self := daemontest.NewKey(t)
	selfSigned := daemontest.GoodTemplate(t, demo)
	// A leaf that issued a certificate, and a chain with one authority too many.
	leafKey := readKeyOf(a.demo)
	leaf := daemontest.Parsed(t, a.demo.Certificate[0])
	underLeaf := daemontest.NewKey(t)
	belowKey, deep := daemontest.NewKey(t), daemontest.NewKey(t)
	below := daemontest.Parsed(t, daemontest.Signed(t, authorityTemplate("below", 0),
		a.own.Certificate,
		belowKey.Public(), a.clientsKey(t)))
	servers, root := daemontest.Parsed(t, readPEM(t, filepath.Join(a.Data, "ca/servers.crt"))),
		daemontest.Parsed(t, readPEM(t, filepath.Join(a.Data, "ca/ca.crt")))
	serversKey, rootKey := readKey(t, filepath.Join(a.Data, "ca/servers.key")),
		readKey(t, filepath.Join(a.Data, "ca/ca.key"))
	forged := daemontest.NewKey(t)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	dns := func(names ...string) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.DNSNames = names }
	}
	usage := func(list ...x509.ExtKeyUsage) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.ExtKeyUsage = list }
	}
	chain := func(key *ecdsa.PrivateKey, ders ...[]byte) *tls.Certificate {
		return &tls.Certificate{Certificate: ders, PrivateKey: key}
	}
	list := []attack{
		{name: "expired", by: as(func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Second)
		}, demo)},
		{name: "not valid yet", by: as(func(c *x509.Certificate) {
			c.NotBefore = time.Now().Add(time.Hour / 2)
		}, demo)},
		{
			name: "another authority of the same name",
			by:   namesake.Issue(t, func(*x509.Certificate) {}, demo),
		},
		{name: "signed by itself", by: chain(self, daemontest.Signed(t, selfSigned, selfSigned,
			self.Public(),
			self))},
		{
			name: "signed by a client",
			by: chain(underLeaf, daemontest.Signed(t, daemontest.GoodTemplate(t, demo), leaf,
				underLeaf.Public(), leafKey), a.demo.Certificate[0]),
		},
		{name: "an authority as a client", by: chain(belowKey, below.Raw)},
		{name: "the authority of clients itself", by: chain(a.clientsKey(t),
			a.own.Certificate.Raw)},
		{
			name: "a chain that is too long for its authority",
			by: chain(deep, daemontest.Signed(t, daemontest.GoodTemplate(t, demo), below,
				deep.Public(), belowKey),
				below.Raw),
		},
		{name: "five certificates", by: chain(readKeyOf(a.demo), a.demo.Certificate[0], below.Raw,
			below.Raw, below.Raw, below.Raw)},
		{
			name: "by the authority of servers",
			by: chain(forged, daemontest.Signed(t, daemontest.GoodTemplate(t, demo),
				servers, forged.Public(), serversKey)),
		},
		{
			name: "by the root",
			by: chain(forged, daemontest.Signed(t, daemontest.GoodTemplate(t, demo), root,
				forged.Public(), rootKey)),
		},
		{name: "by the authority of servers, with its own certificate", by: chain(forged,
			daemontest.Signed(t, daemontest.GoodTemplate(t, demo), servers, forged.Public(),
				serversKey), servers.Raw)},
		{name: "the server's own certificate", by: serverPair(t, a)},
		{name: "a common name alone", by: as(func(c *x509.Certificate) {
			c.Subject = pkix.Name{CommonName: "user/demo"}
		})},
		{name: "an email address alone", by: as(func(c *x509.Certificate) {
			c.EmailAddresses = []string{"demo@" + a.domain}
		})},
		{name: "two identities", by: with(demo, "spiffe://"+a.domain+"/user/alice")},
		{name: "the same identity twice", by: with(demo, demo)},
		{name: "another trust domain", by: with("spiffe://atm-00000000.local/user/demo")},
		{name: "a trust domain with a port", by: with("spiffe://" + a.domain + ":443/user/demo")},
		{
			name: "a trust domain with user information",
			by:   with("spiffe://x@" + a.domain + "/user/demo"),
		},
		{
			name: "a trust domain as a prefix",
			by:   with("spiffe://" + a.domain + ".evil.example/user/demo"),
		},
		{name: "a trust domain in upper case", by: with("spiffe://ATM" + a.domain[3:] +
			"/user/demo")},
		{name: "another scheme", by: with("https://" + a.domain + "/user/demo")},
		{name: "an identity with a query", by: with(demo + "?x=1")},
		{name: "an identity with a fragment", by: with(demo + "#x")},
		{name: "an identity with an escape", by: as(func(c *x509.Certificate) {
			c.URIs = []*url.URL{{
				Scheme: "spiffe", Host: a.domain, Path: "/user/demo",
				RawPath: "/user/%64emo",
			}}
		})},
		{
			name: "an identity with dot segments",
			by:   with("spiffe://" + a.domain + "/service/../user/demo"),
		},
		{name: "an identity with a slash at its end", by: with(demo + "/")},
		{name: "an identity that goes deeper", by: with(demo + "/admin")},
		{name: "an identity with two slashes", by: with("spiffe://" + a.domain + "//user/demo")},
		{name: "an identity of another kind", by: with("spiffe://" + a.domain + "/system/init")},
		{name: "an identity without a name", by: with("spiffe://" + a.domain + "/user/")},
		{name: "somebody unknown", by: with("spiffe://" + a.domain + "/user/nobody")},
		{name: "a user's name as a service", by: with("spiffe://" + a.domain + "/service/demo")},
		{name: "somebody disabled", by: with("spiffe://" + a.domain + "/user/dave")},
		{name: "for servers", by: as(usage(x509.ExtKeyUsageServerAuth), demo)},
		{name: "for anything", by: as(usage(x509.ExtKeyUsageAny), demo)},
		{name: "for nothing that is said", by: as(usage(), demo)},
		{name: "for signing code", by: as(usage(x509.ExtKeyUsageCodeSigning), demo)},
		{name: "a critical extension that nobody knows", by: as(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{
				1, 3, 6, 1, 4, 1, 99999,
				1,
			}, Critical: true, Value: []byte{5, 0}}}
		}, demo)},
		{
			name: "another's certificate with one's own key",
			by:   chain(daemontest.NewKey(t), a.demo.Certificate[0]), want: -1,
		},
		{
			name: "of another authority without an identity",
			by:   a.foreign.Issue(t, dns("till-9.shop.example")),
		},
		{
			name: "of another authority, in our trust domain",
			by:   a.foreign.Issue(t, func(*x509.Certificate) {}, demo),
		},
		{
			name: "of another authority, that fits two identities",
			by:   a.foreign.Issue(t, dns("till-2.shop.example", "till-3.shop.example")),
		},
		{
			name: "of another authority, outside its names",
			by:   a.foreign.Issue(t, dns("till.elsewhere.example")),
		},
		{
			name: "of another authority, a name that prints alike",
			by: a.foreign.Issue(t, func(c *x509.Certificate) {
				c.RawSubject = daemontest.OneName(t, asn1.TagUTF8String)
			}),
		},
		{
			name: "of another authority, the right name of another issuer",
			by: as(func(c *x509.Certificate) {
				c.RawSubject = daemontest.OneName(t, asn1.TagPrintableString)
			}),
		},
		{
			name: "of another authority, for servers",
			by: a.foreign.Issue(t, func(c *x509.Certificate) {
				c.DNSNames, c.ExtKeyUsage = []string{"till-2.shop.example"},
					[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			}),
		},
		{name: "of another authority, expired", by: a.foreign.Issue(t, func(c *x509.Certificate) {
			c.DNSNames, c.NotAfter = []string{"till-2.shop.example"}, time.Now().Add(-time.Second)
		})},
		{name: "of another authority, with a weak key", by: &tls.Certificate{
			PrivateKey: weak,
			Certificate: [][]byte{func() []byte {
				template := daemontest.GoodTemplate(t)
				template.DNSNames = []string{"till-2.shop.example"}
				return daemontest.Signed(t, template, a.foreign.Cert, weak.Public(), a.foreign.Key)
			}()},
		}},
	}
	for i := range list {
		switch list[i].want {
		case 0:
			list[i].want = 401
		case -1:
			list[i].want = 0
		}
	}
	list = append(list, attack{
		name: "renewed over a huge key", by: a.mallory, body: daemontest.Call("admin.cert.renew",
			hugeRequest(t)), want: 200, says: "RSA of 2048 to 8192 bits",
	})
	a.run(t, list)
	t.Run("signed with SHA-1", func(t *testing.T) {
		template := daemontest.GoodTemplate(t, demo)
		template.SignatureAlgorithm = x509.ECDSAWithSHA1
		key := daemontest.NewKey(t)
		der, err := x509.CreateCertificate(rand.Reader, template, a.own.Certificate, key.Public(),
			a.clientsKey(t))
		if err != nil {
			t.Fatal(err)
		}
		if code, answer := a.exchange(t, a.address(t.Name()), chain(key, der),
			(&attack{}).bytes()); code != 401 {
			t.Errorf("answered %d %s", code, answer)
		}
	})
	t.Run("revoked on an open connection", a.attackWithRevoked)
	t.Run("a session that is resumed", a.attackByResumption)
}

// attackWithRevoked revokes a certificate while its connection is open.
func (a *arena) attackWithRevoked(t *testing.T) {
	rita := a.of(t, "/user/rita")
	from := a.address(t.Name())
	conn, err := a.dial(t, from, rita)
	if err != nil {
		t.Fatal(err)
	}
	kept := newKept(conn)
	if code, answer := kept.ask(t, daemontest.Call("inquiry", "300")); code != 200 ||
		!bytes.Contains(answer, []byte("ACCOUNT_NOT_FOUND")) {
		t.Fatalf("before: %d %s", code, answer)
	}
	daemontest.Must(t)(a.As(t, "operator").Call(t.Context(), "admin.cert.revoke",
		daemontest.Parsed(t, rita.Certificate[0]).SerialNumber.Text(16), "foreign"))
	daemontest.AwaitReplicas()
	if code, answer := kept.ask(t, daemontest.Call("inquiry", "300")); code != 401 {
		t.Errorf("after: %d %s", code, answer)
	}
}

// attackByResumption resumes an earlier TLS session.
func (a *arena) attackByResumption(t *testing.T) {
	cfg := a.config(a.demo)
	cfg.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	for range 2 {
		conn, err := tls.Dial("tcp4", a.Addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if conn.ConnectionState().DidResume {
			t.Error("a session was resumed")
		}
		newKept(conn).ask(t, daemontest.Call("system.listMethods"))
		conn.Close()
	}
}

func serverPair(t *testing.T, a *arena) *tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.Data, "tls/server.crt"),
		filepath.Join(a.Data, "tls/server.key"))
	if err != nil {
		t.Fatal(err)
	}
	return &pair
}

func readKeyOf(pair *tls.Certificate) *ecdsa.PrivateKey {
	return pair.PrivateKey.(*ecdsa.PrivateKey)
}
