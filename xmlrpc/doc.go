// Package xmlrpc is the server side of XML-RPC over HTTP.
//
// It accepts every form that the specification (http://xmlrpc.com/spec.md) and real clients
// use, and refuses the rest, within bounds on bytes, depth, elements, the length of a string
// and the calls of a multicall. A method is declared once. Dispatch, the check of parameters,
// the system methods and the page for people all use that declaration.
//
// A value keeps the characters that the client wrote, so a number reaches its handler without
// passing through a float. The package does not know what the methods do, or which caller may
// call them: ServeCall gets a caller that has been authenticated.
package xmlrpc
