//go:build unix

// Receiver takes events over TLS as fast as they come: at /good it answers at once, at /hang never,
// and at /error with 500. GET /count tells how many events /good has taken.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "receiver:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("receiver", flag.ContinueOnError)
	listen := flags.String("listen", "localhost:9443", "`address`")
	cert := flags.String("cert", "", "`file` of the certificate")
	key := flags.String("key", "", "`file` of its key")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var taken atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /good", func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		taken.Add(1)
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /hang", func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
	})
	mux.HandleFunc("POST /error", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	})
	mux.HandleFunc("GET /count", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, taken.Load())
	})
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	s := &http.Server{
		Handler:  mux,
		ErrorLog: log.New(io.Discard, "", 0), // of connections that the sender has given up
	}
	return s.ServeTLS(l, *cert, *key)
}
