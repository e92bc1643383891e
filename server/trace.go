package server

import (
	"net/http"
	"strings"
)

// traceOf is the trace id that the sender gives a request (W3C Trace Context, section 3.2), or
// empty. It is logged with the request, so that the request can be followed through several
// services.
func traceOf(r *http.Request) string {
	id, _ := parseTraceparent(r.Header["Traceparent"])
	return id
}

// parseTraceparent parses the header VERSION-TRACE-PARENT-FLAGS. Fields that a later version
// appends are ignored. It reports false for any other deviation.
func parseTraceparent(values []string) (trace string, is bool) {
	if len(values) != 1 || len(values[0]) > 256 {
		return "", false
	}
	parts := strings.Split(values[0], "-")
	if len(parts) < 4 || parts[0] == "00" && len(parts) != 4 || parts[0] == "ff" {
		return "", false
	}
	for i, length := range []int{2, 32, 16, 2} {
		if len(parts[i]) != length || strings.Trim(parts[i], "0123456789abcdef") != "" {
			return "", false
		}
	}
	if strings.Trim(parts[1], "0") == "" || strings.Trim(parts[2], "0") == "" {
		return "", false
	}
	return parts[1], true
}
