// Package peer is mutual TLS between programs that have certificates of the bank.
//
// Such a certificate says who its holder is, as spiffe://BANK/service/NAME, and not on which
// machine the holder runs. So both ends of a connection check the authority and the name. A
// program without a certificate of this bank gets no connection at all.
package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/client"
)

// A Peer is a program with a certificate of the bank.
type Peer struct {
	Bank *client.Client

	certificate *tls.Certificate
	authority   *x509.CertPool // signs the certificates of the bank's clients
	domain      string         // name of the bank in them
}

const (
	maxBody = 64 << 10
	timeout = 20 * time.Second
)

// Load reads the credentials in a folder, as atmctl cert issue writes them, and asks the bank
// which authority signs the certificates of its clients.
func Load(ctx context.Context, folder, bank string) (*Peer, error) {
	config, err := client.InFolder(folder).TLS()
	if err != nil {
		return nil, err
	}
	p := &Peer{authority: x509.NewCertPool()}
	if p.certificate, err = config.GetClientCertificate(nil); err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(p.certificate.Certificate[0])
	if err != nil {
		return nil, err
	}
	if len(leaf.URIs) != 1 {
		return nil, fmt.Errorf("the certificate in %s names nobody", folder)
	}
	p.domain = leaf.URIs[0].Host
	if p.Bank, err = client.New(client.Config{Server: bank, TLS: config}); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Bank.Base()+"/clients.crt",
		http.NoBody)
	if err != nil {
		return nil, err
	}
	text, err := answered(p.Bank.HTTP().Do(request))
	if err != nil {
		return nil, err
	}
	if !p.authority.AppendCertsFromPEM(text) {
		return nil, errors.New("the bank names no authority of its clients")
	}
	return p, nil
}

// subject returns whom a certificate of this bank names, such as service:payroll.
func (p *Peer) subject(cert *x509.Certificate) (string, error) {
	if len(cert.URIs) == 1 && cert.URIs[0].Scheme == "spiffe" && cert.URIs[0].Host == p.domain {
		name := strings.Replace(strings.TrimPrefix(cert.URIs[0].Path, "/"), "/", ":", 1)
		if _, _, ok := atm.ParseSubject(name); ok {
			return name, nil
		}
	}
	return "", errors.New("the certificate names nobody of this bank")
}

// Serve answers requests from those who have a certificate of the bank, until ctx ends.
func (p *Peer) Serve(ctx context.Context, l net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:     handler,
		ReadTimeout: timeout, WriteTimeout: 2 * timeout, IdleTimeout: time.Minute,
		TLSConfig: &tls.Config{
			MinVersion:   tls.VersionTLS13,
			Certificates: []tls.Certificate{*p.certificate},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    p.authority,
		},
	}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	if err := server.ServeTLS(l, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Client returns a client that speaks with this subject and nobody else.
func (p *Peer) Client(subject string) *http.Client {
	config := &tls.Config{
		MinVersion:   tls.VersionTLS13,
		Certificates: []tls.Certificate{*p.certificate},
		// The usual verification wants the name of a host in the certificate. VerifyConnection
		// takes its place: it sees every connection, and nothing is sent before it returns nil.
		InsecureSkipVerify: true,
		VerifyConnection: func(c tls.ConnectionState) error {
			return p.verify(c.PeerCertificates[0], subject)
		},
	}
	return &http.Client{Timeout: timeout, Transport: &http.Transport{TLSClientConfig: config}}
}

func (p *Peer) verify(cert *x509.Certificate, subject string) error {
	_, err := cert.Verify(x509.VerifyOptions{
		Roots: p.authority, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return err
	}
	name, err := p.subject(cert)
	if err == nil && name != subject {
		err = fmt.Errorf("this is %s and not %s", name, subject)
	}
	return err
}

// ErrRefused is for what a caller may not do, or did not say.
var ErrRefused = errors.New("refused")

// Answer returns a handler of one question. What answer learns of the caller has been verified.
func Answer[Q, A any](p *Peer,
	answer func(ctx context.Context, caller string, question Q) (A, error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		caller, err := p.subject(r.TLS.PeerCertificates[0])
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		var question Q
		body := http.MaxBytesReader(w, r.Body, maxBody)
		if err := json.NewDecoder(body).Decode(&question); err != nil {
			http.Error(w, "The question is no JSON.", http.StatusBadRequest)
			return
		}
		said, err := answer(r.Context(), caller, question)
		switch {
		case errors.Is(err, ErrRefused):
			reason := strings.TrimPrefix(err.Error(), ErrRefused.Error()+": ")
			http.Error(w, reason, http.StatusForbidden)
			return
		case err != nil:
			log.Print(err)
			http.Error(w, "This could not be done; ask again.", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(said); err != nil {
			log.Print(err)
		}
	}
}

// Ask sends a question and reads the answer.
func Ask[A any](ctx context.Context, c *http.Client, url string, question any) (answer A,
	err error,
) {
	body, err := json.Marshal(question)
	if err != nil {
		return answer, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return answer, err
	}
	text, err := answered(c.Do(request))
	if err != nil {
		return answer, err
	}
	err = json.Unmarshal(text, &answer)
	return answer, err
}

// answered reads the body of an answer.
func answered(response *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil || response.StatusCode == http.StatusOK {
		return text, err
	}
	reason := strings.TrimSpace(string(text))
	if response.StatusCode == http.StatusForbidden {
		return nil, fmt.Errorf("%w: %s", ErrRefused, reason)
	}
	return nil, errors.New(reason)
}
