package webhook_test

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"example.com/atm/feed/webhook"
	"example.com/atm/internal/needs"
)

// forbidden are addresses that a webhook must not reach, and the host of a URL that has them.
var forbidden = []struct{ name, addr string }{
	{"this host", "0.0.0.0"},
	{"this network", "0.1.2.3"},
	{"loopback", "127.0.0.1"},
	{"the end of loopback", "127.255.255.254"},
	{"private 10", "10.0.0.1"},
	{"private 10, the end", "10.255.255.255"},
	{"private 172.16", "172.16.0.1"},
	{"private 172.31", "172.31.255.255"},
	{"private 192.168", "192.168.1.1"},
	{"CGNAT", "100.64.0.1"},
	{"CGNAT, the end", "100.127.255.254"},
	{"metadata of Alibaba", "100.100.100.200"},
	{"metadata", "169.254.169.254"},
	{"metadata of ECS tasks", "169.254.170.2"},
	{"link-local", "169.254.0.1"},
	{"metadata of Azure", "168.63.129.16"},
	{"metadata of Oracle", "192.0.0.192"},
	{"IETF protocols", "192.0.0.8"},
	{"documentation 1", "192.0.2.1"},
	{"documentation 2", "198.51.100.7"},
	{"documentation 3", "203.0.113.9"},
	{"benchmarks", "198.18.0.1"},
	{"benchmarks, the end", "198.19.255.255"},
	{"6to4 relay", "192.88.99.1"},
	{"multicast", "224.0.0.1"},
	{"multicast, the end", "239.255.255.255"},
	{"reserved", "240.0.0.1"},
	{"broadcast", "255.255.255.255"},
	{"unspecified in IPv6", "::"},
	{"loopback in IPv6", "::1"},
	{"mapped loopback", "::ffff:127.0.0.1"},
	{"mapped metadata", "::ffff:169.254.169.254"},
	{"mapped private", "::ffff:a00:1"},
	{"compatible loopback", "::127.0.0.1"},
	{"translated loopback", "::ffff:0:127.0.0.1"},
	{"NAT64 to loopback", "64:ff9b::127.0.0.1"},
	{"NAT64 to metadata", "64:ff9b::169.254.169.254"},
	{"NAT64 to private", "64:ff9b::192.168.0.1"},
	{"local NAT64", "64:ff9b:1::a00:1"},
	{"6to4 of loopback", "2002:7f00:1::1"},
	{"6to4 of private", "2002:a00:1::1"},
	{"Teredo", "2001:0:a00:1::1"},
	{"benchmarks in IPv6", "2001:2::1"},
	{"ORCHID", "2001:20::1"},
	{"documentation in IPv6", "2001:db8::1"},
	{"documentation 2 in IPv6", "3fff::1"},
	{"unique local fc", "fc00::1"},
	{"unique local fd", "fd12:3456::1"},
	{"metadata in IPv6", "fd00:ec2::254"},
	{"metadata of Google in IPv6", "fd20:ce::254"},
	{"link-local in IPv6", "fe80::1"},
	{"site-local", "fec0::1"},
	{"multicast in IPv6", "ff02::1"},
	{"discard only", "100::1"},
	{"segment routing", "5f00::1"},
	{"not allocated", "4000::1"},
}

// TestAddressesInsideAreNeverSentTo names each address in a URL, and has a name resolve to it.
func TestAddressesInsideAreNeverSentTo(t *testing.T) {
	network := newNetwork(t)
	sender := network.sender(t, network.config(), long)
	for _, tt := range forbidden {
		t.Run(tt.name, func(t *testing.T) {
			addr := netip.MustParseAddr(tt.addr)
			url := "https://" + netip.AddrPortFrom(addr, 443).String() + "/"
			err := webhook.CheckURL(url)
			refusal, ok := errors.AsType[*webhook.AddressError](err)
			if !ok || refusal.Address != addr.Unmap() || !errors.Is(err, webhook.ErrURL) {
				t.Errorf("CheckURL of %s: %v", url, err)
			}
			if addr.Is6() && !addr.Is4In6() {
				socket, err := net.ListenPacket("udp6", "[::]:0")
				if err != nil {
					needs.Skip(t, "this machine has no IPv6")
				}
				socket.Close()
			}
			network.resolve(addr)
			_, err = sender.Send(t.Context(), "https://"+receiverName+"/", message(), key(1))
			if refusal, ok = errors.AsType[*webhook.AddressError](err); !ok ||
				refusal.Address != addr.Unmap() {
				t.Errorf("sent to a name that means %s: %v", addr, err)
			}
		})
	}
	if len(forbidden) < 40 {
		t.Errorf("only %d addresses", len(forbidden))
	}
}

func TestAddressesOfTheInternetAreNotRefused(t *testing.T) {
	for _, addr := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
		"126.255.255.255", "128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255",
		"172.32.0.0", "192.0.1.0", "192.167.255.255", "192.169.0.0", "198.17.255.255",
		"198.20.0.0", "223.255.255.255", "168.63.129.15", "2001:200::1", "2001:4860:4860::8888",
		"2606:4700:4700::1111", "2a00::1", "3ffe::1", "64:ff9b::8.8.8.8", "::ffff:8.8.8.8",
	} {
		url := "https://" + netip.AddrPortFrom(netip.MustParseAddr(addr), 8443).String() + "/"
		if err := webhook.CheckURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAllowLetsThroughExactlyWhatItNames(t *testing.T) {
	for _, tt := range []struct {
		allow    string
		in, outs []string
	}{
		{
			"127.0.0.1/32",
			[]string{"127.0.0.1", "[::ffff:127.0.0.1]", "localhost", "a.localhost"},
			[]string{"127.0.0.2", "[::1]", "10.0.0.1", "[64:ff9b::127.0.0.1]"},
		},
		{
			"10.1.0.0/16",
			[]string{"10.1.0.0", "10.1.255.255"},
			[]string{"10.0.255.255", "10.2.0.0", "[2002:a01::1]", "localhost"},
		},
		{
			"fd00::/32",
			[]string{"[fd00::1]", "[fd00:0:ffff::1]"},
			[]string{"[fd00:1::1]", "[fd00:ec2::254]", "[fe80::1]", "127.0.0.1"},
		},
		{"::1/128", []string{"[::1]", "localhost"}, []string{"127.0.0.1", "[::]"}},
		{"64:ff9b:1::/48", []string{"[64:ff9b:1::1]"}, []string{"[64:ff9b::127.0.0.1]"}},
	} {
		allow := netip.MustParsePrefix(tt.allow)
		for _, host := range tt.in {
			if err := webhook.CheckURL("https://"+host+"/", allow); err != nil {
				t.Errorf("%s with %s allowed: %v", host, allow, err)
			}
			if err := webhook.CheckURL("https://" + host + "/"); err == nil {
				t.Errorf("%s is let through without %s", host, allow)
			}
		}
		for _, host := range tt.outs {
			if err := webhook.CheckURL("https://"+host+"/", allow); err == nil {
				t.Errorf("%s is let through by %s", host, allow)
			}
		}
	}
}
