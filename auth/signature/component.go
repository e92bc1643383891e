package signature

import (
	"fmt"
	"net/http"
	"strings"
)

// component returns the value of a component of r (RFC 9421, sections 2.1 and 2.2).
func component(r *http.Request, name string) (string, error) {
	if strings.HasPrefix(name, "@") {
		return derived(r, name)
	}
	values, ok := field(r, name)
	if !ok {
		return "", fmt.Errorf("component %q is not in the request", name)
	}
	parts := make([]string, len(values))
	for i, value := range values {
		parts[i] = strings.Trim(value, " \t")
	}
	value := strings.Join(parts, ", ")
	for _, c := range []byte(value) {
		if c < ' ' && c != '\t' || c > '~' {
			return "", fmt.Errorf("component %q has other characters than ASCII", name)
		}
	}
	return value, nil
}

// field returns the values of a header, whose name must be in lower case.
func field(r *http.Request, name string) ([]string, bool) {
	if name == "host" { // net/http takes it out of the headers
		return []string{host(r)}, true
	}
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		return nil, false
	}
	values := r.Header[http.CanonicalHeaderKey(name)]
	return values, len(values) > 0
}

// derived returns the value of a derived component.
func derived(r *http.Request, name string) (string, error) {
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	query := ""
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		query = "?" + r.URL.RawQuery
	}
	switch name {
	case "@method":
		return r.Method, nil
	case "@target-uri":
		return scheme(r) + "://" + host(r) + path + query, nil
	case "@authority":
		return authority(r), nil
	case "@scheme":
		return scheme(r), nil
	case "@request-target":
		return path + query, nil
	case "@path":
		return path, nil
	case "@query":
		return "?" + r.URL.RawQuery, nil
	}
	return "", fmt.Errorf("component %q is unknown here", name)
}

// host is the name of the server, with its port, as the client wrote it.
func host(r *http.Request) string {
	if r.Host != "" {
		return r.Host
	}
	return r.URL.Host
}

func scheme(r *http.Request) string {
	if r.URL.Scheme != "" {
		return strings.ToLower(r.URL.Scheme)
	}
	return "https"
}

// authority is host in lower case, without the port that goes without saying.
func authority(r *http.Request) string {
	usual := ":443"
	if scheme(r) == "http" {
		usual = ":80"
	}
	return strings.TrimSuffix(strings.ToLower(host(r)), usual)
}
