package webhook

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// MaxURLBytes bounds the URL of a receiver.
const MaxURLBytes = 2048

// ErrURL reports a URL that nothing can be sent to.
var ErrURL = errors.New("nothing can be sent to this URL")

// CheckURL refuses a URL that a Sender with the same allowed networks can never send to. A name
// that passes may still have no address, or one that is refused when it is connected to.
func CheckURL(text string, allow ...netip.Prefix) error {
	if err := checkURL(text, allow); err != nil {
		return fmt.Errorf("%w: %w", ErrURL, err)
	}
	return nil
}

func checkURL(text string, allow []netip.Prefix) error {
	if len(text) > MaxURLBytes {
		return fmt.Errorf("it is longer than %d bytes", MaxURLBytes)
	}
	// net/http turns other digits, such as those of full width, into those of ASCII.
	if strings.ContainsFunc(text, isHidden) {
		return errors.New("it has a space, or a character that is not in ASCII")
	}
	u, err := url.Parse(text)
	if err != nil {
		return errors.New("it is not in the form of a URL")
	}
	switch {
	case u.Scheme != "https":
		return errors.New("it does not begin with https://")
	case u.User != nil:
		return errors.New("it has a user name or a password")
	case strings.Contains(text, "#"):
		return errors.New("it has a fragment")
	case u.Hostname() == "":
		return errors.New("it has no host")
	case !isPort(u):
		return errors.New("its port is not one of 1 to 65535")
	}
	return checkHost(u.Hostname(), allow)
}

func isPort(u *url.URL) bool {
	text := u.Port()
	if text == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0 && strconv.FormatUint(port, 10) == text
}

const (
	maxNameBytes  = 253 // of a domain name (RFC 1035)
	maxLabelBytes = 63
)

// loopbacks are what localhost and the names below it stand for (RFC 6761).
var loopbacks = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}

// checkHost refuses an address that is not allowed, and what some program may take for one.
func checkHost(host string, allow []netip.Prefix) error {
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr.Zone() != "" {
			return errors.New("its address has a zone")
		}
		return checkAddress(addr, allow)
	}
	name := strings.ToLower(strings.TrimSuffix(host, "."))
	if !isName(name) {
		return errors.New("its host is neither a name nor an address")
	}
	// The resolver of a system may read 2130706433, 0x7f.1 and 0177.0.0.1 as addresses, so no name
	// ends in a number (WHATWG URL, 3.5).
	last := name[strings.LastIndexByte(name, '.')+1:]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
		return errors.New("its host is an address that is not written in the usual form")
	}
	if name != "localhost" && !strings.HasSuffix(name, ".localhost") {
		return nil
	}
	err := checkAddress(loopbacks[0], allow)
	if err != nil && checkAddress(loopbacks[1], allow) == nil {
		return nil
	}
	return err
}

func isName(name string) bool {
	if len(name) > maxNameBytes {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabelBytes || strings.ContainsFunc(label, isNotOfNames) {
			return false
		}
	}
	return true
}

func isNotOfNames(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}
