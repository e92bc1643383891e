// Bare is a net/http server with TLS 1.3 that asks for a client certificate and
// answers every request with the same status dict, byte for byte. It is the
// least that an HTTPS server in Go can do, and so the yardstick of ours.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("bare", flag.ContinueOnError)
	listen := flags.String("listen", "localhost:9100", "`address`")
	cert := flags.String("cert", "", "`file` of the server certificate")
	key := flags.String("key", "", "`file` of its key")
	ca := flags.String("ca", "", "`file` of the authority of clients")
	answerFile := flags.String("answer", "", "`file` of the answer")
	if err := flags.Parse(args); err != nil {
		return err
	}
	answer, err := os.ReadFile(*answerFile)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(pem) {
		return errors.New("no authority of clients")
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s := &http.Server{
		Protocols: protocols,
		ErrorLog:  log.New(io.Discard, "", 0), // of connections that the load has given up
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13,
			SessionTicketsDisabled: true,
			ClientAuth:             tls.VerifyClientCertIfGiven, ClientCAs: clients,
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "text/xml; charset=utf-8")
			w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
			w.Write(answer) // a client that is gone is no matter here
		}),
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	return s.ServeTLS(l, "", "")
}
