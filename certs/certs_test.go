package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/internal/needs"
)

var demo = &url.URL{Scheme: "spiffe", Host: "atm.example", Path: "/user/demo"}

func authority(t testing.TB, name string) *certs.Authority {
	t.Helper()
	a, err := certs.NewAuthority(name, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func key(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAuthorityIsLoadedOnlyFromItsOwnPrivateFiles(t *testing.T) {
	dir := t.TempDir()
	cert, secret := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	a := authority(t, "servers")
	if err := a.Save(cert, secret); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(secret); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info.Mode(), err)
	}
	again, err := certs.LoadAuthority(cert, secret)
	if err != nil || !again.Certificate.Equal(a.Certificate) {
		t.Errorf("loaded: %v", err)
	}
	other := filepath.Join(dir, "other.key")
	if err := authority(t, "x").Save(filepath.Join(dir, "other.crt"), other); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.LoadAuthority(cert, other); err == nil || !strings.Contains(err.Error(),
		"is not the key of") {
		t.Errorf("another's key: %v", err)
	}
	if err := os.Chmod(secret, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.LoadAuthority(cert, secret); err == nil || !strings.Contains(err.Error(),
		"may be read by others") {
		t.Errorf("a key that others may read: %v", err)
	}
}

func TestIssuedCertificateIsForItsPurposeAlone(t *testing.T) {
	a, now := authority(t, "x"), time.Now()
	server, err := a.IssueServer(key(t).Public(), []string{"localhost", "127.0.0.1", "::1"},
		time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	client, err := a.IssueClient(key(t).Public(), demo, 20*365*24*time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := server.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	if len(server.ExtKeyUsage) != 1 || server.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth ||
		server.IsCA {
		t.Errorf("server certificate: %v, CA %v", server.ExtKeyUsage, server.IsCA)
	}
	if len(client.ExtKeyUsage) != 1 || client.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth ||
		client.IsCA || len(client.URIs) != 1 || *client.URIs[0] != *demo {
		t.Errorf("client certificate: %v, CA %v, %v", client.ExtKeyUsage, client.IsCA, client.URIs)
	}
	if client.NotAfter.After(a.Certificate.NotAfter) {
		t.Error("a certificate outlives its authority")
	}
	if !a.Certificate.IsCA || a.Certificate.MaxPathLen != 1 ||
		server.SerialNumber.Cmp(client.SerialNumber) == 0 {
		t.Error("the authority is none, or repeats a serial number")
	}
	if _, err := a.IssueServer(key(t).Public(), nil, time.Hour, now); err == nil {
		t.Error("a server certificate without a name")
	}
}

// TestIssuingAuthoritiesSpeakOnlyForTheirPurpose has two authorities under one root. Neither
// can issue for the purpose of the other, or certify a further authority.
func TestIssuingAuthoritiesSpeakOnlyForTheirPurpose(t *testing.T) {
	root, now := authority(t, "root"), time.Now()
	servers, err := root.NewIssuing("servers", x509.ExtKeyUsageServerAuth, now)
	if err != nil {
		t.Fatal(err)
	}
	clients, err := root.NewIssuing("clients", x509.ExtKeyUsageClientAuth, now)
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := clients.NewIssuing("deeper", x509.ExtKeyUsageClientAuth, now)
	if err != nil {
		t.Fatal(err)
	}
	trusted := certs.NewClientVerifier(clients.Certificate)
	for _, tt := range []struct {
		name   string
		by     *certs.Authority
		behind []*x509.Certificate
		good   bool
	}{
		{"clients", clients, nil, true},
		{"clients, with its certificate", clients, []*x509.Certificate{clients.Certificate}, true},
		{"servers", servers, nil, false},
		{"servers, with its certificate", servers, []*x509.Certificate{
			servers.Certificate,
			root.Certificate,
		}, false},
		{"the root", root, []*x509.Certificate{root.Certificate}, false},
		{"an authority under clients", deeper, []*x509.Certificate{
			deeper.Certificate,
			clients.Certificate,
		}, false},
	} {
		leaf, err := tt.by.IssueClient(key(t).Public(), demo, time.Hour, now)
		if err != nil {
			t.Fatal(err)
		}
		if err := trusted.Verify(append([]*x509.Certificate{leaf}, tt.behind...),
			now); (err == nil) != tt.good {
			t.Errorf("by %s: %v", tt.name, err)
		}
	}
	if servers.Certificate.NotAfter.After(root.Certificate.NotAfter) {
		t.Error("an authority outlives its root")
	}
}

func TestRequestIsSignedOnlyForAStrongKey(t *testing.T) {
	a := authority(t, "x")
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		key  crypto.Signer
		good bool
	}{
		"P-256": {key(t), true}, "Ed25519": {ed, true}, "RSA 2048": {rsa2048, true},
		"P-224": {p224, false},
	} {
		request, err := certs.NewRequest(tt.key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := a.SignRequest(request, demo, time.Hour, time.Now())
		if (err == nil) != tt.good {
			t.Errorf("%s: %v", name, err)
		}
		if tt.good && cert.URIs[0].String() != demo.String() {
			t.Errorf("%s: identity %v", name, cert.URIs)
		}
	}
	request, err := certs.NewRequest(key(t))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing":           "",
		"a certificate":     string(certs.EncodeCertificate(a.Certificate)),
		"two requests":      string(request) + string(request),
		"damaged signature": strings.Replace(string(request), "\n-----END", "AAAA\n-----END", 1),
	} {
		if _, err := a.SignRequest([]byte(text), demo, time.Hour, time.Now()); err == nil {
			t.Errorf("%s was signed", name)
		}
	}
}

// hugeRequest is an unsigned certificate request for an RSA key of so many bits.
func hugeRequest(t testing.TB, bits int) []byte {
	t.Helper()
	n := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	public, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	type info struct {
		Version    int
		Subject    asn1.RawValue
		Key        asn1.RawValue
		Attributes []asn1.RawValue `asn1:"tag:0,set"`
	}
	sha256WithRSA := pkix.AlgorithmIdentifier{
		Algorithm:  asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11},
		Parameters: asn1.NullRawValue,
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
		sha256WithRSA,
		asn1.BitString{Bytes: make([]byte, bits/8), BitLength: bits},
	})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

// TestSizesComeBeforeSignatures sends keys and requests that are too large and wrongly signed.
// Each is refused for its size, so its signature, which is slow to verify, was not looked at.
func TestSizesComeBeforeSignatures(t *testing.T) {
	a := authority(t, "x")
	for bits, want := range map[int]string{
		4096:    "not signed by its key",
		8192:    "not signed by its key",
		8200:    "RSA of 2048 to 8192 bits",
		16384:   "RSA of 2048 to 8192 bits",
		184_000: "bytes",
	} {
		_, err := a.SignRequest(hugeRequest(t, bits), demo, time.Hour, time.Now())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a certificate request over %d bits: %v, want %q", bits, err, want)
		}
	}
	huge := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 16383, 1), E: 65537}
	slow := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8191, 1), E: 1<<31 - 1}
	stranger, good := authority(t, "stranger"), key(t).Public()
	leaf := func(public crypto.PublicKey) *x509.Certificate {
		cert, err := stranger.IssueClient(public, demo, time.Hour, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	verifier := certs.NewClientVerifier(a.Certificate)
	for name, tt := range map[string]struct {
		chain []*x509.Certificate
		want  error
	}{
		"good keys": {
			[]*x509.Certificate{leaf(good), stranger.Certificate},
			certs.ErrUnknownAuthority,
		},
		"a large key":      {[]*x509.Certificate{leaf(huge)}, certs.ErrWeakKey},
		"a large exponent": {[]*x509.Certificate{leaf(slow)}, certs.ErrWeakKey},
		"a large key of an authority": {
			[]*x509.Certificate{leaf(good), leaf(huge)},
			certs.ErrWeakKey,
		},
		"a slow one of the second one": {[]*x509.Certificate{
			leaf(good), stranger.Certificate,
			leaf(slow),
		}, certs.ErrWeakKey},
	} {
		if err := verifier.Verify(tt.chain, time.Now()); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// TestBothSidesAuthenticateOverTLS connects client and server over TLS and verifies the
// certificate that the client presented.
func TestBothSidesAuthenticateOverTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key")
	servers, clients := authority(t, "servers"), authority(t, "clients")
	k := key(t)
	served, err := servers.IssueServer(k.Public(), []string{"localhost"}, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secret, err := certs.EncodeKey(k)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(certFile, certs.EncodeCertificate(served), 0o600),
		os.WriteFile(keyFile, secret, 0o600)); err != nil {
		t.Fatal(err)
	}
	verifier := certs.NewClientVerifier(clients.Certificate)

	connect := func(cfg *tls.Config, cert *x509.Certificate, k crypto.Signer) (*tls.ConnectionState,
		error,
	) {
		t.Helper()
		l, err := tls.Listen("tcp", "localhost:0", cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		seen := make(chan *tls.ConnectionState, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				seen <- nil
				return
			}
			defer conn.Close()
			io.Copy(io.Discard, conn)
			state := conn.(*tls.Conn).ConnectionState()
			seen <- &state
		}()
		roots := x509.NewCertPool()
		roots.AddCert(servers.Certificate)
		side := &tls.Config{RootCAs: roots, ServerName: "localhost"}
		if cert != nil {
			side.Certificates = []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: k}}
		}
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp",
			l.Addr().String(), side)
		if err != nil {
			return nil, err
		}
		conn.Close()
		return <-seen, nil
	}
	reloader, err := certs.NewReloader(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	cfg := certs.ServerConfig(reloader, verifier, false)
	k = key(t)
	cert, err := clients.IssueClient(k.Public(), demo, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	state, err := connect(cfg, cert, k)
	if err != nil {
		t.Fatal(err)
	}
	if state.Version != tls.VersionTLS13 {
		t.Errorf("version %x", state.Version)
	}
	if err := verifier.Verify(state.PeerCertificates, time.Now()); err != nil {
		t.Error(err)
	}
	if err := verifier.Verify(state.PeerCertificates, time.Now().Add(2*time.Hour)); !errors.Is(err,
		certs.ErrExpired) {
		t.Errorf("in two hours: %v", err)
	}
	if state, err = connect(cfg, nil, nil); err != nil || len(state.PeerCertificates) != 0 {
		t.Errorf("without a certificate: %v", err)
	}
}

func TestChainIsGoodOnlyForClientsOfItsAuthority(t *testing.T) {
	clients, now := authority(t, "clients"), time.Now()
	verifier := certs.NewClientVerifier(clients.Certificate)
	issue := func(a *certs.Authority) *x509.Certificate {
		t.Helper()
		cert, err := a.IssueClient(key(t).Public(), demo, time.Hour, now)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	server, err := clients.IssueServer(key(t).Public(), []string{"localhost"}, time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	namesake := authority(t, "clients")
	good := issue(clients)
	for name, tt := range map[string]struct {
		chain []*x509.Certificate
		want  error
	}{
		"good":               {[]*x509.Certificate{good}, nil},
		"with its authority": {[]*x509.Certificate{good, clients.Certificate}, nil},
		"nothing":            {nil, certs.ErrBadChain},
		"too many": {
			[]*x509.Certificate{good, good, good, good, good},
			certs.ErrBadChain,
		},
		"a namesake's": {[]*x509.Certificate{issue(namesake)}, certs.ErrUnknownAuthority},
		"a namesake's, complete": {
			[]*x509.Certificate{issue(namesake), namesake.Certificate},
			certs.ErrUnknownAuthority,
		},
		"the authority itself": {
			[]*x509.Certificate{clients.Certificate},
			certs.ErrNotForClients,
		},
		"for servers": {[]*x509.Certificate{server}, certs.ErrNotForClients},
	} {
		if err := verifier.Verify(tt.chain, now); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

func TestCertificateIsRenewedInItsLastThirdOrForOtherHosts(t *testing.T) {
	now := time.Now()
	cert, err := authority(t, "x").IssueServer(key(t).Public(), []string{"localhost", "127.0.0.1"},
		90*24*time.Hour, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		hosts []string
		after time.Duration
		want  bool
	}{
		{[]string{"localhost"}, 0, false},
		{[]string{"127.0.0.1", "localhost"}, 59 * 24 * time.Hour, false},
		{[]string{"localhost"}, 61 * 24 * time.Hour, true},
		{[]string{"atm.example"}, 0, true},
		{[]string{"127.0.0.2"}, 0, true},
	} {
		if got := certs.NeedsRenewal(cert, tt.hosts, now.Add(tt.after)); got != tt.want {
			t.Errorf("%v after %s: %v", tt.hosts, tt.after, got)
		}
	}
}

func TestOpensslAcceptsOurCertificates(t *testing.T) {
	openssl := needs.Program(t, "openssl")
	dir, a := t.TempDir(), authority(t, "clients")
	cert, err := a.IssueClient(key(t).Public(), demo, time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]*x509.Certificate{"ca.crt": a.Certificate, "client.crt": cert} {
		if err := os.WriteFile(filepath.Join(dir, name), certs.EncodeCertificate(c),
			0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(openssl, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca.crt", "client.crt")
	if got := run("x509", "-in", "ca.crt", "-noout", "-fingerprint",
		"-sha256"); !strings.Contains(got, certs.Fingerprint(a.Certificate)) {
		t.Errorf("fingerprint %s, openssl says %s", certs.Fingerprint(a.Certificate), got)
	}
}
