package database

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// An Error is what went wrong with the database, in one line.
type Error struct{ err error }

// Error implements error.
func (e *Error) Error() string {
	var said []string // with and without TLS a host says the same
	for line := range strings.Lines(e.err.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(said, line) {
			said = append(said, line)
		}
	}
	return "database: " + strings.Join(said, " ")
}

// Unwrap returns what the driver said.
func (e *Error) Unwrap() error { return e.err }

// dropping is what a person is told of an error that is Dropped.
const dropping = "the database drops what is written: a trigger, a rule or a policy that is none " +
	"of this program's"

// Explain makes an error of the driver an Error.
func Explain(err error) error {
	var known *Error
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("no answer in time: %w", err)
	}
	if Dropped(err) {
		err = fmt.Errorf("%s: %w", dropping, err)
	}
	if c := new(pgconn.ConnectError); errors.As(err, &c) && strings.Contains(err.Error(),
		"read only") {
		return ErrReadOnly // from target_session_attrs
	}
	return &Error{err}
}

// ExplainSent explains what the database itself sent, and leaves other errors as they are.
func ExplainSent(err error) error {
	if state, _ := State(err); state != "" {
		return Explain(err)
	}
	return err
}

// State is the SQLSTATE of an error, and "" when the database sent none. fatal says that the
// error ended the connection.
func State(err error) (state string, fatal bool) {
	var p *pgconn.PgError
	if !errors.As(err, &p) {
		return "", false
	}
	return p.Code, p.Severity == "FATAL" || p.Severity == "PANIC"
}

// Transient reports whether what failed may work when it is tried again: another transaction
// was in the way, or a server is on its way down or up.
func Transient(err error) bool {
	state, _ := State(err)
	switch state {
	case "":
		// The database sent nothing: a connection failed or was too slow. An error of our
		// own, such as a record of no known form, is no Error and would come again.
		known := new(Error)
		return errors.As(err, &known) || errors.Is(err, ErrReadOnly) || errors.Is(err, ErrAsync)
	case serializationFailure, deadlockDetected, LockNotAvailable, readOnlyTransaction,
		idleTransaction, tooManyConnections:
		return true
	}
	switch state[:2] {
	case classConnection, classResources, classIntervention, classSystem:
		return true
	}
	return false
}

// Refused reports whether the database refused a statement for what it says, and with it the
// whole transaction.
func Refused(err error) bool {
	state, fatal := State(err)
	return state != "" && !fatal && !Transient(err)
}

// Dropped reports whether a statement failed because not all that it wrote is there (see
// EachOf1).
func Dropped(err error) bool {
	state, _ := State(err)
	return state == divisionByZero
}

// SQLSTATE codes that others ask for (PostgreSQL, appendix A).
const (
	LockNotAvailable = "55P03"
	UndefinedTable   = "42P01"
)

// SQLSTATE codes and classes of Transient and Dropped.
const (
	divisionByZero       = "22012"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
	readOnlyTransaction  = "25006"
	idleTransaction      = "25P03"
	tooManyConnections   = "53300"

	classConnection   = "08"
	classResources    = "53" // a full disk among them
	classIntervention = "57"
	classSystem       = "58"
)
