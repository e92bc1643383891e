package methods

import (
	"strconv"

	"example.com/atm"
)

const (
	// DefaultRows is how many rows a page has when the caller does not say; MaxRows bounds them.
	DefaultRows = 50
	MaxRows     = 500

	// MaxImport bounds the rows of an import, which is one transaction.
	MaxImport = 500
)

// How large answers can be on the wire, as XML has them, where they are not short.
const (
	rowBytes      = 1 << 10 // a row of users, or of certificates
	movementBytes = 9 << 8  // a row of a statement, with a memo of which each character is escaped
	// a row of accounts, which has their limits, or of tokens, which has their scope
	recordBytes = 2 << 10
	grantBytes  = 3 << 10 // a row of grants, which has their accounts
	proofBytes  = 16 << 10
	entryBytes  = 48 << 10  // the longest entry, with each character escaped
	issueBytes  = 16 << 10  // a certificate and its authority
	crlBytes    = 1 << 20   // 15,000 revoked certificates
	statusBytes = 256 << 10 // replicas are called by their folders, which are long paths

	agreementsMost = 100 // mandates and standing orders of an account

	// MaxPageBytes bounds the entries on one page of the audit log: a page of long entries
	// is short, and its cursor goes on.
	MaxPageBytes = 1 << 20
)

// AnswerBytes is how many bytes the answer to a call may have on the wire; 0 for a short
// one, as every answer is by which money moved. args are unchecked.
func (m *Method) AnswerBytes(args []atm.Arg) int64 {
	if m.answer == nil {
		return 0
	}
	return m.answer(args)
}

// HasShortAnswers reports whether no answer of the method needs AnswerBytes.
func (m *Method) HasShortAnswers() bool { return m.answer == nil }

// atMost bounds answers that do not depend on the arguments.
func atMost(n int64) func([]atm.Arg) int64 { return func([]atm.Arg) int64 { return n } }

// rows bounds a list of rows of so many bytes. How many there are is the argument at
// position, or its member limit.
func rows(each int64, position int) func([]atm.Arg) int64 {
	return func(args []atm.Arg) int64 {
		n := int64(DefaultRows)
		if position < len(args) {
			limit := args[position]
			for _, m := range limit.Members {
				if m.Name == "limit" {
					limit = m.Arg
				}
			}
			if given, err := strconv.ParseInt(limit.Text, 10, 64); err == nil {
				n = max(0, min(given, MaxRows))
			}
		}
		return (n + 1) * each
	}
}
