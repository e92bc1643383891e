package xmlrpc

import (
	"fmt"
	"strconv"
)

// The fault codes of the interoperability document that servers agree on
// (http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php).
const (
	NotWellFormed   = -32700 // what arrived is not well-formed XML
	UnknownEncoding = -32701 // nor in an encoding that the server reads
	InvalidRequest  = -32600 // XML, but no XML-RPC call, or one past the limits
	MethodNotFound  = -32601
	InvalidParams   = -32602 // wrong number or kind of parameters
	InternalError   = -32603
)

// A Fault is an answer that says why a call was not carried out. Its text
// goes to the client, so it carries nothing internal.
type Fault struct {
	Code int
	Text string
}

// Error implements error.
func (f *Fault) Error() string { return "fault " + strconv.Itoa(f.Code) + ": " + f.Text }

func faultf(code int, format string, args ...any) *Fault {
	return &Fault{Code: code, Text: fmt.Sprintf(format, args...)}
}

// value is the struct that stands for a fault on the wire.
func (f *Fault) value() Value {
	return StructValue(
		Member{Name: "faultCode", Value: IntValue(int64(f.Code))},
		Member{Name: "faultString", Value: StringValue(f.Text)},
	)
}
