package main

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"example.com/atm/cmd/internal/exit"
)

// network parses a network, or an address, of a flag.
func network(flag, text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return prefix, exit.Usagef("--%s %q is no network such as 10.0.0.0/8, "+
			"and no address", flag, text)
	}
	return prefix, nil
}

// checkURL refuses a URL under which the endpoints cannot be.
func checkURL(flag, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" ||
		u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return exit.Usagef("--%s %q is no URL such as https://atm.example:9000, "+
			"without a path", flag, text)
	}
	return nil
}

// checkURLs refuses URLs that are none, and settings of a console that contradict each other.
func (o *options) checkURLs() error {
	if o.consoleListen == "" && o.consoleURL != "" {
		return exit.Usagef("--console-url goes with --console-listen")
	}
	if o.consoleListen != "" && o.console == "off" {
		return exit.Usagef("--console-listen and --console=off contradict each other")
	}
	if err := checkURL("console-url", o.consoleURL); err != nil {
		return err
	}
	return checkURL("public-url", o.publicURL)
}

// callersURL is the URL for callers of a server that listens at address: given, if it is not empty.
func (o *options) callersURL(given string, address net.Addr) string {
	if given != "" {
		return strings.TrimRight(given, "/")
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
