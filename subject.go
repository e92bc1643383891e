package atm

import "strings"

// maxSubjectName is the longest name of a subject, in characters.
const maxSubjectName = 64

// ParseSubject splits "user:NAME" or "service:NAME". NAME is 1 to 64 letters, digits and . _ -,
// so that it needs no escapes in the URI of a certificate. Names of dots alone are refused,
// because they are path elements.
func ParseSubject(s string) (kind, name string, ok bool) {
	kind, name, _ = strings.Cut(s, ":")
	if kind != "user" && kind != "service" || len(name) > maxSubjectName ||
		strings.Trim(name, ".") == "" {
		return "", "", false
	}
	for _, c := range []byte(name) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_',
			c == '-':
		default:
			return "", "", false
		}
	}
	return kind, name, true
}
