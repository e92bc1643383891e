package webhook_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"example.com/atm/certs"
	"example.com/atm/feed/webhook"
)

func TestReceiverGetsWhatWasSignedForIt(t *testing.T) {
	network := newNetwork(t, loopback)
	v, answers := parse(t, key(1).Public()), make(chan error, 1)
	url := serve(t, listen(t, loopback, 0), network.settings(t),
		func(w http.ResponseWriter, r *http.Request) {
			got, err := io.ReadAll(r.Body)
			if err == nil {
				_, err = webhook.Verify(r.Header, got, now, v)
			}
			if r.Proto != "HTTP/1.1" || r.Method != http.MethodPost ||
				r.URL.RequestURI() != "/hook?token=t" ||
				r.Header.Get("Content-Type") != "application/cloudevents+json" {
				err = errors.Join(err, errors.New(r.Proto+" "+r.Method+" "+r.RequestURI))
			}
			answers <- err
			w.WriteHeader(http.StatusNoContent)
		})
	sender := network.sender(t, network.config(loopback), long)
	m := message()
	m.ContentType = "application/cloudevents+json"
	answer, err := sender.Send(t.Context(), url, m, key(2), key(1))
	if err != nil || answer.Status != http.StatusNoContent {
		t.Fatal(answer, err)
	}
	if err := <-answers; err != nil {
		t.Error(err)
	}
}

// TestNameIsCheckedAgainWhenItResolvesAnew has a name that means 127.0.0.2, which is allowed, and
// then 127.0.0.1, which is not. Something that must not be reached listens there.
func TestNameIsCheckedAgainWhenItResolvesAnew(t *testing.T) {
	allowed := netip.MustParseAddr("127.0.0.2")
	network := newNetwork(t, allowed)
	network.resolveAgain(loopback)
	port := freePort(t)
	outside, reached := listen(t, allowed, port), trap(t, listen(t, loopback, port))
	url := serve(t, outside, network.settings(t),
		func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	sender := network.sender(t, network.config(allowed), long)
	if _, err := sender.Send(t.Context(), url, message(), key(1)); err != nil {
		t.Fatalf("the first time: %v", err)
	}
	_, err := sender.Send(t.Context(), url, message(), key(1))
	refusal, ok := errors.AsType[*webhook.AddressError](err)
	if !ok || refusal.Address != loopback {
		t.Errorf("the second time: %v", err)
	}
	if reached.Load() != 0 {
		t.Error("what listens on 127.0.0.1 was connected to")
	}
}

// TestEveryAddressOfANameIsChecked has a name with two addresses, the first of which is not
// allowed.
func TestEveryAddressOfANameIsChecked(t *testing.T) {
	allowed := netip.MustParseAddr("127.0.0.2")
	network := newNetwork(t, loopback, allowed)
	port := freePort(t)
	outside, reached := listen(t, allowed, port), trap(t, listen(t, loopback, port))
	url := serve(t, outside, network.settings(t),
		func(http.ResponseWriter, *http.Request) {})
	sender := network.sender(t, network.config(allowed), long)
	if _, err := sender.Send(t.Context(), url, message(), key(1)); err != nil {
		t.Errorf("to the address that is allowed: %v", err)
	}
	if reached.Load() != 0 {
		t.Error("what listens on 127.0.0.1 was connected to")
	}
}

// trap counts the connections that l gets.
func trap(t testing.TB, l net.Listener) *atomic.Int64 {
	t.Helper()
	var reached atomic.Int64
	serveRaw(t, l, nil, func(net.Conn) { reached.Add(1) })
	return &reached
}

func TestProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	network := newNetwork(t, loopback)
	proxy := listen(t, loopback, 0)
	reached := trap(t, proxy)
	t.Setenv("HTTPS_PROXY", "http://"+proxy.Addr().String())
	t.Setenv("https_proxy", "http://"+proxy.Addr().String())
	t.Setenv("NO_PROXY", "")
	url := serve(t, listen(t, loopback, 0), network.settings(t),
		func(http.ResponseWriter, *http.Request) {})
	sender := network.sender(t, network.config(loopback), long)
	if _, err := sender.Send(t.Context(), url, message(), key(1)); err != nil {
		t.Error(err)
	}
	if reached.Load() != 0 {
		t.Error("the proxy was connected to")
	}
}

func TestCertificateOfTheReceiverIsVerified(t *testing.T) {
	network, stranger := newNetwork(t, loopback), newNetwork(t)
	plain := func(c tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{c}}
	}
	old := network.settings(t)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	const week = 7 * 24 * time.Hour
	for _, tt := range []struct {
		name     string
		settings *tls.Config
		want     string
	}{
		{"good", network.settings(t), ""},
		{
			"of another name", plain(network.certificate(t, "other.example", time.Now())),
			"it is for another name",
		},
		{
			"expired", plain(network.certificate(t, receiverName, time.Now().Add(-week))),
			"it has expired, or is not valid yet",
		},
		{
			"not valid yet", plain(network.certificate(t, receiverName, time.Now().Add(week))),
			"it has expired, or is not valid yet",
		},
		{
			"of another authority", plain(stranger.certificate(t, receiverName, time.Now())),
			"it is of an authority that is not trusted here",
		},
		{"TLS 1.1", old, "there was no answer: tls: "},
	} {
		var reached atomic.Int64
		url := serve(t, listen(t, loopback, 0), tt.settings.Clone(),
			func(http.ResponseWriter, *http.Request) { reached.Add(1) })
		sender := network.sender(t, network.config(loopback), long)
		answer, err := sender.Send(t.Context(), url, message(), key(1))
		if !saying(err, tt.want) || (reached.Load() == 1) != (tt.want == "") {
			t.Errorf("%s: %v, %v, %d requests", tt.name, answer, err, reached.Load())
		}
	}
}

func TestReceiverThatAsksForACertificateGetsOurs(t *testing.T) {
	network := newNetwork(t, loopback)
	clients, err := certs.NewAuthority("clients", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signed, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := clients.IssueClient(signed.Public(), &url.URL{Scheme: "atm", Opaque: "feed"},
		time.Hour, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	settings := network.settings(t)
	settings.ClientAuth, settings.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	settings.ClientCAs.AddCert(clients.Certificate)
	c := network.config(loopback)
	to := serve(t, listen(t, loopback, 0), settings.Clone(),
		func(http.ResponseWriter, *http.Request) {})
	c.Certificate = nil
	answer, err := network.sender(t, c, long).Send(t.Context(), to, message(), key(1))
	if err == nil {
		t.Errorf("without a certificate: %v", answer)
	}
	c.Certificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{ours.Raw}, PrivateKey: signed}, nil
	}
	answer, err = network.sender(t, c, long).Send(t.Context(), to, message(), key(1))
	if err != nil {
		t.Errorf("with a certificate: %v, %v", answer, err)
	}
}

// TestConnectionsAreKeptAndBounded has more webhooks in flight than connections are kept. All
// answers are held back until all requests have arrived.
func TestConnectionsAreKeptAndBounded(t *testing.T) {
	const flight, kept = 20, 16
	network := newNetwork(t, loopback)
	var arrived sync.WaitGroup
	arrived.Add(flight)
	l := &countingListener{Listener: listen(t, loopback, 0)}
	url := serve(t, l, network.settings(t),
		func(_ http.ResponseWriter, r *http.Request) {
			if r.Header.Get(webhook.HeaderID) == message().ID {
				arrived.Done()
				arrived.Wait()
			}
		})
	sender := network.sender(t, network.config(loopback), long)
	var flying sync.WaitGroup
	for range flight {
		flying.Go(func() {
			if _, err := sender.Send(t.Context(), url, message(), key(1)); err != nil {
				t.Error(err)
			}
		})
	}
	flying.Wait()
	if got := l.opened.Load(); got != flight {
		t.Errorf("%d connections for %d webhooks at a time", got, flight)
	}
	for l.closed.Load() < flight-kept { // the rest is closed, or the test never ends
		time.Sleep(time.Millisecond)
	}
	again := message()
	again.ID = "f4711.24"
	for range flight {
		if _, err := sender.Send(t.Context(), url, again, key(1)); err != nil {
			t.Error(err)
		}
	}
	if got := l.opened.Load(); got != flight {
		t.Errorf("%d more connections for webhooks one after the other", got-flight)
	}
	sender.Close()
	for l.closed.Load() < flight {
		time.Sleep(time.Millisecond)
	}
}

// TestConnectionThatWasClosedMeanwhileIsReplaced has a receiver that closes its first connection
// when it is used again.
func TestConnectionThatWasClosedMeanwhileIsReplaced(t *testing.T) {
	network := newNetwork(t, loopback)
	var connections, used atomic.Int64
	url := serveRaw(t, listen(t, loopback, 0), network.settings(t), func(c net.Conn) {
		first := connections.Add(1) == 1
		for buffer := bufio.NewReader(c); ; {
			r, err := http.ReadRequest(buffer)
			if err != nil {
				return
			}
			io.Copy(io.Discard, r.Body)
			if used.Add(1) == 2 && first {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	sender := network.sender(t, network.config(loopback), long)
	for range 2 {
		if _, err := sender.Send(t.Context(), url, message(), key(1)); err != nil {
			t.Error(err)
		}
	}
	if connections.Load() != 2 || used.Load() != 3 {
		t.Errorf("%d requests on %d connections", used.Load(), connections.Load())
	}
}

// A countingListener counts its connections.
type countingListener struct {
	net.Listener
	opened, closed atomic.Int64
}

func (l *countingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.opened.Add(1)
	return &countedConn{Conn: c, once: sync.OnceFunc(func() { l.closed.Add(1) })}, nil
}

type countedConn struct {
	net.Conn
	once func()
}

func (c *countedConn) Close() error {
	c.once()
	return c.Conn.Close()
}

func TestStoppedTryIsNoFaultOfTheReceiver(t *testing.T) {
	network := newNetwork(t, loopback)
	ctx, stop := context.WithCancel(t.Context())
	url := serve(t, listen(t, loopback, 0), network.settings(t),
		func(_ http.ResponseWriter, r *http.Request) {
			stop()
			<-r.Context().Done()
			panic(http.ErrAbortHandler)
		})
	_, err := network.sender(t, network.config(loopback), long).Send(ctx, url, message(), key(1))
	if !errors.Is(err, context.Canceled) || !saying(err, "stopped") {
		t.Error(err)
	}
}

func TestSendRefusesWhatCannotBeSent(t *testing.T) {
	network := newNetwork(t)
	sender := network.sender(t, network.config(), long)
	if _, err := sender.Send(t.Context(), "http://receiver.example/", message(),
		key(1)); !errors.Is(err, webhook.ErrURL) {
		t.Errorf("to http: %v", err)
	}
	url := "https://" + receiverName + "/"
	if _, err := sender.Send(t.Context(), url, message()); !saying(err, "0 keys") {
		t.Errorf("without a key: %v", err)
	}
	if network.questions() != 0 {
		t.Error("the name was resolved before the webhook was complete")
	}
	if _, err := sender.Send(t.Context(), url, message(),
		key(1)); !saying(err, "the name of the receiver has no address") {
		t.Errorf("to a name without an address: %v", err)
	}
}
