// Package bounded limits what the servers of others make a client read and show.
package bounded

import (
	"fmt"
	"io"
	"net/http"

	"example.com/atm/internal/printable"
)

// Bytes is how much of an answer is read.
const Bytes = 256 << 10

// A Transport bounds answers, and sends requests only to https URLs.
type Transport struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%s is not an https URL", r.URL.Redacted())
	}
	answer, err := t.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, Bytes), answer.Body}
	return answer, nil
}

// Text is the beginning of a text, safe to show.
func Text(text string) string { return printable.Text(text[:min(len(text), 200)]) }
