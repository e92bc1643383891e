// Package endpoint says which URLs of services may be asked.
package endpoint

import (
	"errors"
	"net"
	"net/url"
)

// Check refuses to send anything over a network in plain text.
func Check(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("is no https URL")
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" &&
		(u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return errors.New("is no https URL, and http is for this machine alone")
}
