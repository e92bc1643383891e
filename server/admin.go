package server

import (
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"

	"example.com/atm/auth"
	"example.com/atm/xmlrpc"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// A Part is one thing that an operation needs, and what is wrong with it.
type Part struct {
	Name string // "vault", "audit", "disk"
	Err  error
}

// Admin returns the endpoints for the operator's machine: health, readiness,
// metrics and profiles. They have no sign-in and belong on loopback, where browsers
// run as well: what a page could make one of them ask for is refused.
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
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if reason := fromPage(r); reason != "" {
			xmlrpc.Decline(w, http.StatusForbidden, reason)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// fromPage says why a request may be one that a page of another site made a browser
// send, and "" when it is none. Such a page reads the answer once its own name leads
// to this address (DNS rebinding), and then the name stands in Host. Programs that
// scrape the endpoints send the address that they connect to, and no Origin.
func fromPage(r *http.Request) (reason string) {
	if len(r.Header["Origin"]) > 0 {
		return "Requests from pages are refused here."
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
	default:
		return "Requests from pages are refused here."
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else {
		host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	}
	switch host = strings.TrimSuffix(strings.ToLower(host), "."); host {
	case "localhost", "127.0.0.1", "::1":
		return ""
	}
	// A supervisor may have handed over a socket on another address. An address in
	// Host is no name that can be made to lead elsewhere.
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if ip, err := netip.ParseAddr(host); err == nil &&
			ip.Unmap() == auth.Address(local.String()) {
			return ""
		}
	}
	return "The Host is localhost, 127.0.0.1, [::1], or the address that is listened on."
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
