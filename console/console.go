// Package console is the bank in a browser: an ATM for customers, a desk for tellers, and a
// lens for auditors.
//
// It is a face of the teller as package xmlrpc is. Each act is an operation of the caller who
// signed in, with the same permissions, request ids, limits and audit entries; nothing here
// decides about money. Each form carries its request id, so a page that is loaded or sent again
// moves nothing a second time. Pages work without scripts. Scripts verify: what they show in
// green was computed in the browser with a key that was pinned there.
package console

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"example.com/atm"
	"example.com/atm/console/internal/forms"
	"example.com/atm/console/internal/words"
	"example.com/atm/teller"
	"example.com/atm/teller/lookup"
	"example.com/atm/teller/reader"
)

// Prefix is the path below which everything of the console is.
const Prefix = "/console/"

// MaxForm bounds the body of a form, in bytes. The server reads it before it calls ServeCall.
const MaxForm = 8 << 10

// A Bank carries out what people ask for. It is the teller, as the server calls it.
type Bank interface {
	// Do carries out an operation and returns its answer when that is durable. A
	// *teller.MalformedError is the caller's mistake.
	Do(ctx context.Context, caller *atm.Caller, op atm.Operation,
		args ...atm.Arg) (atm.Status, error)

	// Act is as Do for an act of a form. The act happens once for its request id; what it
	// answered with a record is told the first time alone.
	Act(ctx context.Context, caller *atm.Caller, call teller.Call) (atm.Status, error)

	// Shown returns what a passkey signs to confirm an act, and whether it has to.
	Shown(ctx context.Context, caller *atm.Caller, call teller.Call) (shown []byte, needed bool,
		err error)

	// Reach says on which accounts the caller may do an operation.
	Reach(caller *atm.Caller, op atm.Operation) atm.Reach

	// Owned lists accounts of the caller in order of number, and reports whether there may
	// be more.
	Owned(ctx context.Context, caller *atm.Caller) (numbers []string, more bool, err error)

	// Find returns accounts of a holder, for tellers.
	Find(ctx context.Context, caller *atm.Caller, holder string) (found []reader.Holding,
		more bool, err error)

	// Held is what pending holds set aside of an account that the caller may ask for, with the
	// records of the first of them.
	Held(ctx context.Context, caller *atm.Caller, number string) (held atm.Amount,
		holds []atm.Record, err error)

	// Holder is the name of an account's holder, for the owner, tellers and operators.
	Holder(ctx context.Context, caller *atm.Caller, number string) (string, error)

	// Agreed reports whether an account that the caller may ask for has mandates, and standing
	// orders.
	Agreed(ctx context.Context, caller *atm.Caller, number string) (mandates, orders bool,
		err error)

	// Till counts what the caller moved since a time.
	Till(ctx context.Context, caller *atm.Caller, since time.Time) (*lookup.Till, error)

	// Slip returns an entry of the audit log as the caller may see it, or nil.
	Slip(ctx context.Context, caller *atm.Caller, index int64) (*reader.Slip, error)

	// MayReadAudit reports whether the caller may read the audit log.
	MayReadAudit(caller *atm.Caller) bool
}

// Config is everything a Console needs. All fields are required.
type Config struct {
	Bank Bank

	// Access signs people in.
	Access Access

	// Name is the name of the server, Version that of the program, and At the URL that it is
	// reached at.
	Name, Version string
	At            func(*http.Request) string

	// Key is what challenges are sealed with: 32 bytes that replicas share.
	Key []byte

	// LogKey returns the key that the audit log is signed with, as a vkey.
	LogKey func() (string, error)

	// Log is for the operator.
	Log *slog.Logger
}

// A Console answers requests of people who have signed in.
type Console struct {
	cfg     Config
	pages   *template.Template
	routes  []route
	assets  http.Handler
	offline []byte // verify.html
}

//go:embed pages/*.html
var pageFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// New returns a console.
func New(cfg Config) (*Console, error) {
	pages, err := template.New("").Funcs(template.FuncMap{
		"dollars": forms.Dollars, "signed": forms.Signed, "moved": words.Moved,
		"when": words.When, "verb": words.Verb, "label": words.Label, "argument": words.Argument,
	}).ParseFS(pageFiles, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	assets, err := fs.Sub(assetFiles, "assets")
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	offline, err := newOffline()
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return &Console{
		cfg: cfg, pages: pages, routes: routes(), offline: offline,
		assets: http.StripPrefix(Prefix+"assets/", http.FileServerFS(assets)),
	}, nil
}

// policy lets a page load what is ours, and nothing else; a script cannot make other code of
// text, and no other page shows ours in a frame.
const policy = "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; " +
	"connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; " +
	"frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types atm"

// protect sets the headers that every answer of the console has.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
}

// A visit is one request of a caller, who has signed in except in that of a stranger.
type visit struct {
	*Console
	w      http.ResponseWriter
	r      *http.Request
	caller *atm.Caller
	name   string // that stands in the path
}

// ServeAsset answers a request for a style or a script, which need no sign-in, and reports
// whether it was one.
func (c *Console) ServeAsset(w http.ResponseWriter, r *http.Request) bool {
	if !strings.HasPrefix(r.URL.Path, Prefix+"assets/") {
		return false
	}
	protect(w.Header())
	if r.Method != http.MethodGet && r.Method != http.MethodHead ||
		strings.HasSuffix(r.URL.Path, "/") {
		http.NotFound(w, r)
		return true
	}
	w.Header().Set("Cache-Control", "no-cache")
	c.assets.ServeHTTP(w, r)
	return true
}

// A frame is what every page shows around its own.
type frame struct {
	Title   string
	Server  string
	Subject string
	Roles   []atm.Role
	Menu    []link
	Print   bool   // without what only a screen needs
	Same    string // the command that does the same
	Page    any
}

// show renders a page.
func (v *visit) show(status int, name, title, same string, page any) {
	var b bytes.Buffer
	err := v.pages.ExecuteTemplate(&b, name, frame{
		Title: title, Server: v.cfg.Name, Subject: v.caller.Subject, Roles: v.caller.Roles,
		Menu: menu(v), Print: printed(v), Same: same, Page: page,
	})
	if err != nil {
		v.cfg.Log.ErrorContext(v.r.Context(), "page could not be rendered",
			slog.String("page", name), slog.Any("error", err))
		http.Error(v.w, "This page cannot be shown.", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	v.w.Write(b.Bytes())
}

// printed reports whether the page is to be printed.
func printed(v *visit) bool { return v.r.URL.Query().Get("print") != "" }

// refuse shows a sentence in place of a page.
func (v *visit) refuse(status int, sentence string) {
	v.show(status, "refused.html", http.StatusText(status), "", sentence)
}

// do carries out an operation, or shows why it could not begin and returns false.
func (v *visit) do(op atm.Operation, args ...atm.Arg) (atm.Status, bool) {
	status, problem, ok := v.try(op, "", args...)
	if ok && status.Code == atm.Fault {
		v.refuse(http.StatusUnprocessableEntity, problem)
		return atm.Status{}, false
	}
	return status, ok
}

// try carries out an operation, once for a request id unless that is empty. problem says in a
// sentence why it was refused. When nobody can tell, try shows that and returns false.
func (v *visit) try(op atm.Operation, request string, args ...atm.Arg) (status atm.Status,
	problem string, ok bool,
) {
	var err error
	if request == "" {
		status, err = v.cfg.Bank.Do(v.r.Context(), v.caller, op, args...)
	} else {
		status, err = v.cfg.Bank.Act(v.r.Context(), v.caller, teller.Call{
			Operation: op, Args: args, Request: request, Once: true, Assertion: v.confirmed(),
		})
	}
	var bad *teller.MalformedError
	switch {
	case err == nil && status.Code == atm.OK:
		return status, "", true
	case err == nil:
		return status, words.Sentence(status.Reason), true
	case errors.As(err, &bad):
		return atm.Status{Code: atm.Fault}, words.Sentence(bad.Error()), true
	}
	v.cfg.Log.ErrorContext(v.r.Context(), "operation could not begin",
		slog.String("op", string(op)), slog.Any("error", err))
	v.refuse(http.StatusServiceUnavailable, "The bank cannot do this at the moment.")
	return atm.Status{}, "", false
}

// statusOf is the status in HTTP of a page that shows a refusal.
func statusOf(code atm.Code) int {
	switch code {
	case atm.OK:
		return http.StatusOK
	case atm.PermissionDenied, atm.NotConfirmed:
		return http.StatusForbidden
	case atm.AccountNotFound, atm.FeedNotFound:
		return http.StatusNotFound
	case atm.Unavailable, atm.OutcomeUnknown:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}

// sendLogKey tells the key that the log is signed with, which a browser may pin.
func sendLogKey(v *visit) {
	key, err := v.cfg.LogKey()
	if err != nil {
		v.refuse(http.StatusServiceUnavailable, "The key of the audit log cannot be read.")
		return
	}
	v.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(v.w, strings.TrimSpace(key))
}
