package main

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"example.com/atm/cmd/internal/exit"
)

// network parses the network of a load balancer, or its address.
func network(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, exit.Usagef("--proxy-from %q is no network such as 10.0.0.0/8, "+
			"and no address", text)
	}
	return prefix, nil
}

// checkPublicURL refuses a URL under which the endpoints cannot be.
func checkPublicURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return exit.Usagef("--public-url %q is no URL such as https://atm.example:9000, "+
			"without a path", text)
	}
	return nil
}

// callersURL is the URL for callers of a server that listens at address.
func (o *options) callersURL(address net.Addr) string {
	if o.publicURL != "" {
		return strings.TrimRight(o.publicURL, "/")
	}
	host := o.callersHost()
	if named := firstName(o.hosts); named != "" {
		host = named
	}
	_, port, err := net.SplitHostPort(address.String())
	if err != nil || port == "443" {
		return "https://" + strings.TrimSuffix(net.JoinHostPort(host, ""), ":")
	}
	return "https://" + net.JoinHostPort(host, port)
}

// callersHost is a name or address for callers on this machine, and one in the server's
// certificate if possible.
func (o *options) callersHost() string {
	host, _, err := net.SplitHostPort(o.listen)
	address, notAddress := netip.ParseAddr(host)
	if err != nil || host == "" || notAddress == nil && address.IsUnspecified() {
		host = "localhost"
	}
	if named := firstName(o.hosts); named != "" && !slices.Contains(o.hosts, host) {
		return named
	}
	return host
}

// firstName is the first of hosts that is not a wildcard, or "" if there is none.
func firstName(hosts []string) string {
	for _, host := range hosts {
		if !strings.HasPrefix(host, "*.") {
			return host
		}
	}
	return ""
}

// isLoopback reports whether only this machine can reach an address.
func isLoopback(address net.Addr) bool {
	tcp, ok := address.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
