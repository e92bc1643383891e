package jsonapi

import (
	"encoding/json"
	"strings"
)

// An Example is a call of a method, for people to copy.
type Example struct{ Title, Text string }

// Examples returns a call of a method as the bytes of a request, and as a command. server is the
// URL of the server, without a path.
func (s *Server[C]) Examples(method, server string) []Example {
	var body any = obj{"calls": []obj{{"method": "whoami", "params": obj{}}}}
	if m := s.methods[method]; m != nil {
		body = m.example()
	} else if method != multicallMethod {
		return nil
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(body); err != nil {
		return nil // never: the example is of texts and numbers
	}
	text := strings.TrimSpace(b.String())
	return []Example{
		{
			"JSON", "POST /v1/" + method + " HTTP/1.1\nContent-Type: application/json\n\n" + text,
		},
		{
			"JSON with curl", "curl --cacert ca.crt --cert client.crt --key client.key \\\n" +
				"  --json '" + strings.ReplaceAll(text, "'", `'\''`) + "' \\\n  " + server + "/v1/" +
				method,
		},
	}
}
