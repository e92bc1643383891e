// Package xmlrpc is the server's side of XML-RPC over HTTP.
//
// It reads every form that the specification (http://xmlrpc.com/spec.md) and
// real clients use, refuses the rest, and does so within bounds: bytes, depth,
// elements, the length of a string and the calls of a multicall. A method is
// declared once; dispatch, the check of parameters, the methods of the family
// system, and the page for people all come from that declaration.
//
// A value keeps the characters that the client wrote, so a number reaches its
// handler without having passed through a float. The package does not know
// what the methods do, nor who may call them: the caller of ServeCall has
// settled that before.
package xmlrpc
