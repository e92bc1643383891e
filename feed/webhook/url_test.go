package webhook_test

import (
	"errors"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"example.com/atm/feed/webhook"
)

func TestURLThatCanNeverBeSentToIsRefusedAtOnce(t *testing.T) {
	for _, text := range []string{
		"",
		"https://",
		"https:///path",
		"https:receiver.example",
		"receiver.example",
		"//receiver.example/",
		"http://receiver.example/",
		"ftp://receiver.example/",
		"file:///etc/passwd",
		"javascript:alert(1)",
		"https://user@receiver.example/",
		"https://user:password@receiver.example/",
		"https://@receiver.example/",
		"https://receiver.example/#fragment",
		"https://receiver.example/#",
		"https://receiver.example:/",
		"https://receiver.example:0/",
		"https://receiver.example:00443/",
		"https://receiver.example:65536/",
		"https://receiver.example:https/",
		"https://receiver.example:-1/",
		"https://receiver.example:443:443/",
		"https://receiver..example/",
		"https://.receiver.example/",
		"https://receiver.example../",
		"https://./",
		"https://receiver .example/",
		"https://receiver.example/a b",
		"https://receiver.example/\x00",
		"https://receiver.example/\r\nHost: a",
		"https://receiver.example/\x7f",
		"https://receiver.example/é",
		" https://receiver.example/",
		"https://r\u0435ceiver.example/", // a letter of another alphabet
		"https://receiver%2eexample/",
		"https://receiver.example%00.other.example/",
		"https://receiver.example\\@other.example/",
		"https://rece!ver.example/",
		"https://" + strings.Repeat("a", 64) + ".example/",
		"https://" + strings.Repeat("a.", 127) + "example/",
		"https://receiver.example/" + strings.Repeat("a", 2048),
		// Loopback and the metadata service, as some program or other reads them.
		"https://2130706433/",
		"https://017700000001/",
		"https://0x7f000001/",
		"https://0x7f.0.0.1/",
		"https://0X7F.1/",
		"https://0177.0.0.1/",
		"https://0177.0.0.0x1/",
		"https://127.0.0.1./",
		"https://127.1/",
		"https://127.0.1/",
		"https://127.0.0.01/",
		"https://127.0.0.1.1/",
		"https://127.0.0.256/",
		"https://0/",
		"https://1.0x/",
		"https://2852039166/",
		"https://0xa9fea9fe/",
		"https://169.16689662/",
		"https://0251.0376.0251.0376/",
		"https://\uff11\uff12\uff17.0.0.1/",
		"https://\u2460\u2461\u2466.0.0.1/",
		"https://127\u30020\u30020\u30021/",
		"https://%31%32%37.0.0.1/",
		"https://%e2%91%a0%e2%91%a1%e2%91%a6.0.0.1/",
		"https://127.0.0.1%00/",
		"https://[::1]/",
		"https://[0:0:0:0:0:0:0:1]/",
		"https://[::ffff:127.0.0.1]/",
		"https://[::ffff:7f00:1]/",
		"https://[::FFFF:0x7f.1]/",
		"https://[fe80::1%25eth0]/",
		"https://[fe80::1%eth0]/",
		"https://[2606:4700:4700::1111%25eth0]/",
		"https://[::1%25lo]:443/",
		"https://[127.0.0.1]/",
		"https://[receiver.example]/",
		"https://[]/",
		"https://[::1/",
		"https://::1/",
		"https://localhost/",
		"https://localhost:8443/",
		"https://localhost./",
		"https://LocalHost/",
		"https://receiver.localhost/",
		"https://receiver.localhost./",
	} {
		if err := webhook.CheckURL(text); !errors.Is(err, webhook.ErrURL) ||
			strings.ContainsFunc(err.Error(), isControl) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func isControl(r rune) bool { return r < ' ' || r > '~' }

func TestURLOfAReceiverIsAccepted(t *testing.T) {
	for _, text := range []string{
		"https://receiver.example",
		"https://receiver.example/hook?token=a%20b&c",
		"HTTPS://Receiver.Example:8443/",
		"https://receiver.example./",
		"https://xn--bcher-kva.example/",
		"https://a_b.example:1/",
		"https://0.example:65535/",
		"https://0xexample.example/",
		"https://127.0.0.1.example/",
		"https://localhost.example/",
		"https://notlocalhost/",
		"https://receiver.example/" + strings.Repeat("a", 2048-25),
	} {
		if err := webhook.CheckURL(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// legacy reads an address as inet_aton(3) does: of one to four parts, each decimal, octal or
// hexadecimal, the last of which has all the bytes that remain.
func legacy(host string) (netip.Addr, bool) {
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var all uint64
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 0, 32)
		left := 8 * (4 - i) // bits that the parts from here on have
		if i < len(parts)-1 {
			left = 8
		}
		if err != nil || strings.Contains(part, "_") || strings.ContainsAny(part, "oObB") && !hex(part) || n >= 1<<left {
			return netip.Addr{}, false
		}
		all = all<<left | n
	}
	return netip.AddrFrom4([4]byte{byte(all >> 24), byte(all >> 16), byte(all >> 8), byte(all)}),
		true
}

func hex(part string) bool { return strings.HasPrefix(strings.ToLower(part), "0x") }

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://receiver.example/", "https://127.0.0.1:443/", "https://0x7f.1/", "https://[::1]/",
		"https://[::ffff:8.8.8.8]:1/", "https://8.8.8.8/a?b", "https://[fe80::1%25a]/",
		"https://localhost./", "https://a@b:0/#", "http://a/", "https://017700000001",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if webhook.CheckURL(text) != nil {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Fragment != "" || u.Host == "" {
			t.Fatalf("%q was accepted: %v, %v", text, u, err)
		}
		addr, err := netip.ParseAddr(u.Hostname())
		if old, ok := legacy(u.Hostname()); ok && (err != nil || old != addr) {
			t.Fatalf("%q was accepted, and some program goes to %s", text, old)
		}
		if err == nil && (addr.IsPrivate() || addr.IsLoopback() || !addr.IsGlobalUnicast()) {
			t.Fatalf("%q was accepted", text)
		}
	})
}
