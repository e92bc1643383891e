package webhook

import (
	"net/netip"
	"slices"
)

// An AddressError reports an address that nothing is sent to. Its text says what kind of address
// it is, but not which one: customers read it, and must not learn from it how a name resolves
// inside our network.
type AddressError struct {
	Address netip.Addr
	Kind    string // such as "a private network"
}

func (e *AddressError) Error() string {
	return "the address of the receiver is not one of the public Internet: " + e.Kind
}

type special struct {
	prefix netip.Prefix
	kind   string
}

func specials(kind string, prefixes ...string) (list []special) {
	for _, p := range prefixes {
		list = append(list, special{netip.MustParsePrefix(p), kind})
	}
	return list
}

// refused are addresses that are not of the public Internet, or lead from it to others. The first
// entry that contains an address says what it is. Of IPv6, all outside globalUnicast is refused
// besides.
var refused = slices.Concat(
	// The host of a virtual machine answers these, and gives credentials away.
	specials("a metadata service", "169.254.169.254/32", "168.63.129.16/32",
		"fd00:ec2::254/128"),
	specials("this host", "0.0.0.0/8", "::/128"),
	specials("loopback", "127.0.0.0/8", "::1/128"),
	specials("a private network", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
	specials("shared by the customers of a provider", "100.64.0.0/10"),
	specials("link-local", "169.254.0.0/16", "fe80::/10"),
	specials("site-local", "fec0::/10"),
	specials("for documentation", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
		"2001:db8::/32", "3fff::/20"),
	specials("for benchmarks", "198.18.0.0/15", "2001:2::/48"),
	specials("multicast", "224.0.0.0/4", "ff00::/8"),
	specials("broadcast", "255.255.255.255/32"),
	// Each carries an IPv4 address to a relay. 6to4 (RFC 7526) and Teredo are out of use, and where
	// a local NAT64 has the address in its own is known to its network alone (RFC 8215).
	specials("6to4", "192.88.99.0/24", "2002::/16"),
	specials("Teredo", "2001::/32"),
	specials("a local NAT64", "64:ff9b:1::/48"),
	specials("reserved", "192.0.0.0/24", "240.0.0.0/4", "2001::/23"),
)

var (
	globalUnicast = netip.MustParsePrefix("2000::/3") // all that IANA allocates of IPv6
	nat64         = netip.MustParsePrefix("64:ff9b::/96")
)

// checkAddress refuses every address that is not of the public Internet, unless allow has it.
func checkAddress(addr netip.Addr, allow []netip.Prefix) error {
	addr = addr.Unmap() // IPv4 in IPv6 is dialed as IPv4
	if slices.ContainsFunc(allow, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return nil
	}
	if kind := kindOf(addr); kind != "" {
		return &AddressError{addr, kind}
	}
	return nil
}

// kindOf says what an address is, and nothing of an address of the public Internet.
func kindOf(addr netip.Addr) string {
	bare := addr.WithZone("") // a prefix contains no address with a zone
	for _, s := range refused {
		if s.prefix.Contains(bare) {
			return s.kind
		}
	}
	switch {
	case bare.Is4():
		return ""
	case nat64.Contains(bare): // how a network with IPv6 alone reaches IPv4
		b := bare.As16()
		if kind := kindOf(netip.AddrFrom4([4]byte(b[12:]))); kind != "" {
			return kind + " behind NAT64"
		}
		return ""
	case !globalUnicast.Contains(bare):
		return "not global unicast"
	}
	return ""
}
