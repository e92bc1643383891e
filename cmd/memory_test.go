//go:build unix

package cmd_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"example.com/atm/client"
)

// BenchmarkPeakMemory sends the most expensive bodies over 200 connections, and reports the
// peak memory of the server. The comment on xmlrpc.Limits explains the bound.
func BenchmarkPeakMemory(b *testing.B) {
	const connections, each = 200, 5
	var members strings.Builder
	for i := range 3_300 {
		fmt.Fprintf(&members, "<member><name>%d</name><value>1</value></member>", i)
	}
	inquiry := "<methodCall><methodName>inquiry</methodName><params><param><value>%s</value></param></params></methodCall>"
	item := "<value><struct><member><name>methodName</name><value>inquiry</value></member><member><name>params</name><value><array><data>" +
		strings.Repeat("<value>100</value>", 85) +
		"</data></array></value></member></struct></value>"
	for name, body := range map[string]string{
		"values": fmt.Sprintf(inquiry, "<array><data>"+strings.Repeat("<value/>", 9_990)+
			"</data></array>"),
		"members":   fmt.Sprintf(inquiry, "<struct>"+members.String()+"</struct>"),
		"comments":  fmt.Sprintf(inquiry, strings.Repeat("<!---->", 37_000)),
		"multicall": "<methodCall><methodName>system.multicall</methodName><params><param><value><array><data>" + strings.Repeat(item, 100) + "</data></array></value></param></params></methodCall>",
	} {
		b.Run(name, func(b *testing.B) {
			s := startServer(b)
			tls, err := client.InFolder(filepath.Join(s.dir, "atm-data", "clients", "demo")).TLS()
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				var wg sync.WaitGroup
				for range connections {
					wg.Go(func() {
						transport := &http.Transport{TLSClientConfig: tls}
						defer transport.CloseIdleConnections()
						c := &http.Client{Transport: transport}
						for range each {
							resp, err := c.Post(s.url+"/RPC2", "text/xml", strings.NewReader(body))
							if err != nil {
								b.Error(err)
								return
							}
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
							if resp.StatusCode != http.StatusOK {
								b.Error(resp.Status)
							}
						}
					})
				}
				wg.Wait()
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(s.peakMemory(b), "MiB-peak")
		})
	}
}

// peakMemory is the peak resident memory of the server, in MiB.
func (s *server) peakMemory(t testing.TB) float64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		t.Skip("there is no /proc to ask")
	}
	var kib float64
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	if _, err := fmt.Sscan(string(after), &kib); err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}
