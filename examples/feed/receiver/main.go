// Receiver takes the event feed of a bank, and refuses what was left out, altered, out of order
// or forged.
//
// usage: receiver [-listen ADDR] -cert FILE -key FILE -secret FILE -vkey FILE -state FILE
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"example.com/atm/feed/webhook"
)

// maxEventBytes bounds an event: an entry with its escapes, and a proof.
const maxEventBytes = 1 << 20

// patience bounds a request and its answer.
const patience = 10 * time.Second

// maxIdle is how long a connection is kept for the next event. The sender gives up first.
const maxIdle = time.Minute

func main() {
	listen := flag.String("listen", "localhost:9443", "where to listen")
	cert := flag.String("cert", "server.crt", "file with the certificate")
	key := flag.String("key", "server.key", "file with its key")
	secret := flag.String("secret", "secret", "file with the secret of the subscription")
	vkey := flag.String("vkey", "log.vkey", "file with the public key of the audit log")
	state := flag.String("state", "feed.state", "file for what must survive a restart")
	flag.Parse()
	if err := run(*listen, *cert, *key, *secret, *vkey, *state); err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
		os.Exit(1)
	}
}

func run(listen, cert, key, secret, vkey, state string) error {
	text, err := os.ReadFile(secret)
	if err != nil {
		return err
	}
	verifier, err := webhook.ParseVerifier(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("%s: %w", secret, err)
	}
	keys, err := os.ReadFile(vkey)
	if err != nil {
		return err
	}
	kept, err := open(state)
	if err != nil {
		return err
	}
	defer kept.close()
	server := &http.Server{
		Addr:              listen,
		Handler:           &receiver{verifier: verifier, stream: stream{kept, string(keys)}},
		ReadHeaderTimeout: patience, ReadTimeout: patience, WriteTimeout: patience,
		IdleTimeout: maxIdle,
	}
	return server.ListenAndServeTLS(cert, key)
}

// A receiver takes one event at a time.
type receiver struct {
	verifier webhook.Verifier
	mu       sync.Mutex
	stream   stream // guarded by mu
}

// ServeHTTP acknowledges an event that is good, and says what is wrong with another one. It is
// sent again then.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxEventBytes))
	if err != nil {
		http.Error(w, "the event could not be read", http.StatusBadRequest)
		return
	}
	said, err := r.take(req.Header, body)
	switch {
	case err == nil:
		fmt.Println(said)
		w.WriteHeader(http.StatusNoContent)
		return
	case errors.Is(err, errWrong): // the sender shows its operator why
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		w.WriteHeader(http.StatusInternalServerError)
	}
	log.Printf("refused %q: %v", req.Header.Get(webhook.HeaderID), err)
}

func (r *receiver) take(h http.Header, body []byte) (said string, err error) {
	received, err := webhook.Verify(h, body, time.Now(), r.verifier)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errWrong, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stream.take(received.ID, body)
}
