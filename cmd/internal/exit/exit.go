// Package exit ends the three programs: the meaning of their exit codes and the last line that
// they print.
package exit

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/internal/printable"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// The exit codes. 10 to 15 are those of audit verification.
const (
	Done             = 0
	Internal         = 1 // internal or input/output error
	Usage            = 2
	Refused          = 3 // the server answered ERROR or a fault
	NotAuthenticated = 4
	NoConnection     = 5 // cannot connect, or TLS failed
	OutcomeUnknown   = 6 // money may have moved
)

// words are the codes of errors without a code of the server, by exit code.
var words = map[int]atm.Code{
	Internal: "FAILED", Usage: "USAGE", Refused: "REFUSED", NotAuthenticated: "NOT_AUTHENTICATED",
	NoConnection: "NO_CONNECTION", OutcomeUnknown: atm.OutcomeUnknown,
	10: "CANNOT_VERIFY", 11: "WRONG_SIGNATURE", 12: "CONTENT_DIFFERS", 13: "ROLLED_BACK",
	14: "TOO_OLD", 15: "BALANCES_DISAGREE",
}

// An Error ends a program with an exit code.
type Error struct {
	Code    int
	Word    atm.Code // for programs: the server's code; empty for that of words
	Err     error
	Request atm.RequestID // of an operation whose outcome is unknown
	Advice  []string      // lines that say what to do

	// By replaces the name of the program before Err.
	By string
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Usagef returns an error of usage.
func Usagef(format string, args ...any) error {
	return &Error{Code: Usage, Err: fmt.Errorf(format, args...)}
}

// Args turns the errors of check into errors of usage. They name the missing argument, as in
// the usage line of the command, or the first superfluous one.
func Args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		called := strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
		wanted := strings.Fields(cmd.Use)[1:]
		isFlag := func(word string) bool { return strings.HasPrefix(word, "--") }
		if i := slices.IndexFunc(wanted, isFlag); i >= 0 {
			wanted = wanted[:i]
		}
		for i, name := range wanted {
			if optional := strings.HasPrefix(name, "["); i == len(args) && !optional {
				return Usagef("%s needs %s; see %s --help", called, name, cmd.CommandPath())
			}
		}
		if len(args) > len(wanted) {
			return Usagef("%s takes no argument %q; see %s --help", called, args[len(wanted)],
				cmd.CommandPath())
		}
		return Usagef("the arguments of %s are wrong; see %s --help", called, cmd.CommandPath())
	}
}

// Silent ends a program with an exit code and prints nothing more.
type Silent int

// Error implements error.
func (s Silent) Error() string { return fmt.Sprintf("exit code %d", int(s)) }

// FromAnswer returns the refusal in an answer as an error, or nil if the answer is OK.
func FromAnswer(a *client.Answer) error {
	if a.OK() {
		return nil
	}
	return &Error{
		Code: Refused, Word: a.Code, Err: errors.New(a.Reason),
		By: "Error from ATM Server",
	}
}

// FromClient adds an exit code to an error of the client.
func FromClient(err error) error {
	var coded *Error
	var unknown *client.OutcomeUnknownError
	var fault *client.FaultError
	var refusal *client.HTTPError
	switch {
	case err == nil || errors.As(err, &coded):
		return err
	case errors.As(err, &unknown):
		return &Error{Code: OutcomeUnknown, Err: err, Request: unknown.Request}
	case errors.Is(err, client.ErrNotAuthenticated), errors.Is(err, client.ErrNoCredentials):
		return &Error{Code: NotAuthenticated, Err: err}
	case errors.As(err, &fault):
		return &Error{Code: Refused, Word: atm.Fault, Err: err}
	case errors.As(err, &refusal):
		return &Error{Code: Refused, Err: err}
	case errors.Is(err, client.ErrConnect), errors.Is(err, client.ErrLost):
		return &Error{Code: NoConnection, Err: err, Advice: nextStep(err)}
	}
	return err
}

// nextStep says what to do about a failed connection, if the error tells.
func nextStep(err error) []string {
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var name *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return []string{"Nothing listens there. Is atmserver running?"}
	case errors.As(err, &authority):
		return []string{"The certificate of the server is of another authority. Name the ca.crt " +
			"of this server with --ca"}
	case errors.As(err, &host):
		return []string{"Connect by a name that the certificate has, or start atmserver with " +
			"this one as --host"}
	case errors.As(err, &name):
		return []string{"No machine of that name is known here"}
	}
	return nil
}

// Code returns the exit code for err, 1 by default.
func Code(err error) int {
	var coded *Error
	var silent Silent
	switch {
	case err == nil:
		return Done
	case errors.As(err, &silent):
		return int(silent)
	case errors.As(err, &coded):
		return coded.Code
	}
	return Internal
}

// Report prints err and returns its code. In JSON it is an object of one member:
//
//	{"error": {"code": "ACCOUNT_NOT_FOUND", "reason": "Unknown account 7", "exit": 3}}
//
// It has advice and request_id too if the error does.
func Report(w io.Writer, program string, err error, asJSON bool) int {
	code := Code(err)
	var silent Silent
	if err == nil || errors.As(err, &silent) {
		return code
	}
	var coded *Error
	if !errors.As(err, &coded) {
		coded = &Error{Code: code}
	}
	// The error may contain text of a stranger, so print it on one line, without control
	// characters.
	if asJSON {
		reportJSON(w, err, coded)
		return code
	}
	if coded.By != "" && err == error(coded) {
		program = coded.By
	}
	printable.Linef(w, "%s: %s", program, oneLine(err))
	for _, line := range coded.Advice {
		printable.Linef(w, "%s", line)
	}
	return code
}

func reportJSON(w io.Writer, err error, coded *Error) {
	var object struct {
		Error struct {
			Code    atm.Code      `json:"code"`
			Reason  string        `json:"reason"`
			Exit    int           `json:"exit"`
			Advice  string        `json:"advice,omitempty"`
			Request atm.RequestID `json:"request_id,omitempty"`
		} `json:"error"`
	}
	e := &object.Error
	e.Code, e.Reason, e.Exit = coded.Word, err.Error(), coded.Code
	if e.Code == "" {
		e.Code = words[e.Exit]
	}
	e.Advice, e.Request = strings.Join(coded.Advice, "\n"), coded.Request
	out := json.NewEncoder(printable.NewWriter(w))
	out.SetEscapeHTML(false)
	out.Encode(object)
}

// oneLine returns the text of err on one line; joined errors are separated by semicolons.
func oneLine(err error) string {
	return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
}

// Terminal returns the terminal behind w, or nil if w is not a terminal.
func Terminal(w io.Writer) *os.File {
	if p, is := w.(*printable.Writer); is {
		w = p.Unwrap()
	}
	if f, is := w.(*os.File); is && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// Main runs a program until it ends or is interrupted, and ends the process.
func Main(run func(ctx context.Context, args []string) int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}
