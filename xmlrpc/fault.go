package xmlrpc

import (
	"fmt"
	"strconv"
)

// The fault codes of the interoperability document
// (http://xmlrpc-epi.sourceforge.net/specs/rfc.fault_codes.php).
const (
	NotWellFormed   = -32700 // the body is not well-formed XML
	UnknownEncoding = -32701 // the body is in an unsupported encoding
	InvalidRequest  = -32600 // XML, but not an XML-RPC call, or one beyond the limits
	MethodNotFound  = -32601
	InvalidParams   = -32602 // wrong number or kind of parameters
	InternalError   = -32603
)

// A Fault is an answer that says why a call was not carried out. The client gets its text, so
// it must not contain internals.
type Fault struct {
	Code int
	Text string
}

// Error implements error.
func (f *Fault) Error() string { return "fault " + strconv.Itoa(f.Code) + ": " + f.Text }

func faultf(code int, format string, args ...any) *Fault {
	return &Fault{Code: code, Text: fmt.Sprintf(format, args...)}
}

// value is the struct of a fault on the wire.
func (f *Fault) value() Value {
	return StructValue(
		Member{Name: "faultCode", Value: IntValue(int64(f.Code))},
		Member{Name: "faultString", Value: StringValue(f.Text)},
	)
}
