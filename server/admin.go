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
)

// Admin returns the endpoints for the operator's machine: health, readiness, metrics and
// profiles. They need no sign-in and belong on loopback. Browsers run there as well, so
// requests that a web page could cause are refused.
func (s *Server) Admin() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "alive")
	})
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", s.cfg.Metrics.Handler())
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

// fromPage returns why a request may come from a web page of another site, or "" if it cannot.
// Such a page could read the answer after pointing its own name to this address (DNS
// rebinding), but then Host has that name. Programs that scrape the endpoints send the address
// as Host, and no Origin.
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
	// A supervisor may have handed over a socket on another address. If Host is an address, no DNS
	// name was rebound.
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if ip, err := netip.ParseAddr(host); err == nil &&
			ip.Unmap() == auth.Address(local.String()) {
			return ""
		}
	}
	return "The Host is localhost, 127.0.0.1, [::1], or the address that is listened on."
}

// serveReady is the readiness endpoint for load balancers on other machines. It has one word in
// place of the details that the operator's endpoint has.
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

// ready answers 200 only if an operation would succeed, and names the failing parts otherwise.
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
	for _, remark := range s.cfg.Remarks() {
		text.WriteString(strings.ReplaceAll(remark, "\n", "; ") + "\n")
	}
	if !ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprint(w, text.String())
}
