package server

import (
	"fmt"
	"net/http"
	"net/http/pprof"
	"strings"

	"example.com/atm/xmlrpc"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Part is one thing that an operation needs, and what is wrong with it.
type Part struct {
	Name string // "vault", "audit", "disk"
	Err  error
}

// Admin returns the endpoints for the operator's machine: health, readiness,
// metrics and profiles. They have no sign-in and belong on loopback.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "alive")
	})
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// serveReady tells a load balancer on another machine in a word what the
// endpoint for the operator tells whole.
func (s *Server) serveReady(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		xmlrpc.Decline(w, http.StatusMethodNotAllowed, "GET says whether the server is ready.")
		return
	}
	ready := !s.leaving.Load()
	for _, part := range s.cfg.Ready() {
		ready = ready && part.Err == nil
	}
	if !ready {
		xmlrpc.Decline(w, http.StatusServiceUnavailable, "not ready")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ready")
}

// ready answers 200 only when an operation would succeed, and says which part
// keeps it from succeeding otherwise.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	var text strings.Builder
	ready := !s.leaving.Load()
	if !ready {
		text.WriteString("server: stopping\n")
	}
	for _, part := range s.cfg.Ready() {
		if part.Err != nil {
			ready = false
			fmt.Fprintf(&text, "%s: %v\n", part.Name, part.Err)
		} else {
			fmt.Fprintf(&text, "%s: ok\n", part.Name)
		}
	}
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprint(w, text.String())
}
