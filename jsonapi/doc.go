// Package jsonapi is the operations of the server as JSON over HTTP, and their OpenAPI document.
//
// A method is called with an object of named arguments, and answers the status dict as an object.
// Numbers keep the characters that the client wrote, so an amount never passes through a float.
// What is not exactly one reading of the bytes is refused: a name that occurs twice, a name that
// the method does not have, text that is not UTF-8.
//
// The package knows no account, no store and no credential: Answer gets a caller that has been
// authenticated, and hands arguments to the handler that a method was declared with.
package jsonapi
