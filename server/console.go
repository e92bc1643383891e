package server

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"example.com/atm"
	"example.com/atm/console"
	"example.com/atm/teller"
	"example.com/atm/teller/reader"
	"example.com/atm/xmlrpc"
)

// newConsole returns the console, or nil if it is off.
func newConsole(cfg *Config, s *senders, calls *rpc) (*console.Console, error) {
	if !cfg.Console {
		return nil, nil
	}
	providers, err := newProviders(cfg)
	if err != nil {
		return nil, err
	}
	return console.New(console.Config{
		Bank:   bank{cfg.Teller.Reader, calls},
		Access: access{s, calls, providers},
		Name:   cfg.Name, Version: cfg.Version,
		At:  cfg.at,
		Key: cfg.CookieKey,
		LogKey: func() (string, error) {
			keys, err := os.ReadFile(filepath.Join(cfg.Audit, "log.vkey"))
			key, _, _ := strings.Cut(string(keys), "\n")
			return key, err
		},
		Log: cfg.Log,
	})
}

// ofConsole reports whether a request is for the console, or for what its pages read: the
// published log, and the greeting that leads to the console.
func ofConsole(r *http.Request) bool {
	path := r.URL.Path
	return path == "/console" || strings.HasPrefix(path, console.Prefix) ||
		strings.HasPrefix(path, "/audit/") || path == "/ca.crt" ||
		path == "/" && r.Method != http.MethodPost
}

// serveConsole answers a request of the console.
func (s *Server) serveConsole(w http.ResponseWriter, r *http.Request) {
	if s.console == nil {
		xmlrpc.Decline(w, http.StatusNotFound, "There is no console here.")
		return
	}
	if s.console.ServeAsset(w, r) {
		return
	}
	// A page of another site can make a browser send its certificate here.
	if s.senders.cross.Check(r) != nil || foreign(r) {
		declineForeign(w)
		return
	}
	if console.IsOpen(r.URL.Path) {
		s.openPage(w, r)
		return
	}
	caller := s.senders.signInBrowser(w, r)
	if caller == nil {
		return
	}
	if r.Method == http.MethodPost {
		if !readForm(w, r) {
			return
		}
		// Check the sender again now that the form has arrived, as for every call.
		if caller = s.senders.again(w, r, caller); caller == nil {
			return
		}
	}
	// A request that has arrived completely is carried out even if its caller disconnects.
	s.console.ServeCall(w, r.WithContext(context.WithoutCancel(r.Context())), caller)
}

// foreign reports whether a form comes from a page of another site, in a browser that does not say
// so in Sec-Fetch-Site. CrossOriginProtection compares hosts alone, and lets a request pass that
// has neither that header nor an Origin.
func foreign(r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead ||
		r.Header.Get("Sec-Fetch-Site") != "" {
		return false
	}
	for _, from := range []string{r.Header.Get("Origin"), r.Header.Get("Referer")} {
		page, err := url.Parse(from)
		if from != "" && (err != nil || page.Scheme != "https" || page.Host != r.Host) {
			return true
		}
	}
	return false
}

// openPage answers a request for a page of the console that needs no sign-in.
func (s *Server) openPage(w http.ResponseWriter, r *http.Request) {
	if readForm(w, r) {
		s.console.ServeStranger(w, r.WithContext(context.WithoutCancel(r.Context())))
	}
}

// readForm reads the form of r, or answers and returns false.
func readForm(w http.ResponseWriter, r *http.Request) bool {
	r.Body = http.MaxBytesReader(w, r.Body, console.MaxForm) // of a PUT as well
	if err := r.ParseForm(); err != nil {
		xmlrpc.Decline(w, http.StatusBadRequest, "The form cannot be read.")
		return false
	}
	return true
}

// bank is the teller as the console calls it. Its operations are counted and logged like other
// calls.
type bank struct {
	*reader.Reader
	calls *rpc
}

// Do implements console.Bank.
func (b bank) Do(ctx context.Context, caller *atm.Caller, op atm.Operation,
	args ...atm.Arg,
) (atm.Status, error) {
	call := teller.Call{Operation: op, Args: args}
	reply, err := b.calls.begin(ctx, &session{caller: caller}, call)
	return reply(), err
}

// Shown implements console.Bank.
func (b bank) Shown(ctx context.Context, caller *atm.Caller, call teller.Call) ([]byte, bool,
	error,
) {
	return b.calls.teller.Shown(ctx, caller, call)
}

// Act implements console.Bank.
func (b bank) Act(ctx context.Context, caller *atm.Caller, call teller.Call) (atm.Status, error) {
	reply, err := b.calls.begin(ctx, &session{caller: caller}, call)
	return reply(), err
}
