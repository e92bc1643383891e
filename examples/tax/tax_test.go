//go:build unix

// Package tax_test types the transcript of README.md, with the programs and a whole server.
package tax_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/atm"
	"example.com/atm/client"
	"example.com/atm/examples/tax/peer"
	"example.com/atm/internal/needs"
)

// A town is a folder with the programs, in which somebody types.
type town struct {
	t     *testing.T
	dir   string
	env   []string
	ports map[string]string // by the port in the transcript
}

// patience is how long something may take that does not happen at once.
const patience = time.Minute

func newTown(t *testing.T) *town {
	t.Helper()
	s := &town{t: t, dir: t.TempDir(), ports: make(map[string]string)}
	for _, documented := range []string{"9000", "9001", "9100", "9200"} {
		port, err := needs.Port()
		if err != nil {
			t.Fatal(err)
		}
		s.ports[documented] = port
	}
	programs := filepath.Join(s.dir, "programs")
	build := exec.Command("go", "build", "-o", programs+"/", "../../cmd/atmserver",
		"../../cmd/atmctl", "../../cmd/atmclient", "./payroll", "./revenue", "./filer")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// Our three programs take ports as flags alone, which nobody types here.
	bank := " -bank https://localhost:" + s.ports["9000"]
	for program, flags := range map[string]string{
		"payroll": bank + " -listen localhost:" + s.ports["9100"],
		"revenue": bank + " -listen localhost:" + s.ports["9200"] + " -payroll https://localhost:" +
			s.ports["9100"],
		"filer": bank + " -revenue https://localhost:" + s.ports["9200"],
	} {
		script := fmt.Sprintf("#!/bin/sh\nexec %s/%s%s \"$@\"\n", programs, program, flags)
		path := filepath.Join(s.dir, program+".sh")
		if err := errors.Join(os.WriteFile(path, []byte(script), 0o700),
			os.MkdirAll(filepath.Join(s.dir, "path"), 0o700),
			os.Rename(path, filepath.Join(s.dir, "path", program))); err != nil {
			t.Fatal(err)
		}
	}
	// It is about noon, so that today does not end meanwhile.
	zone := fmt.Sprintf("TZ=Etc/GMT%+d", time.Now().UTC().Hour()-12)
	s.env = append(os.Environ(), "LC_ALL=C.UTF-8", zone, "NO_COLOR=1",
		"HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir, "XDG_STATE_HOME="+s.dir, "XDG_DATA_HOME="+s.dir,
		"ATM_LISTEN=localhost:"+s.ports["9000"], "ATM_ADMIN_LISTEN=localhost:"+s.ports["9001"],
		"ATM_SERVER=https://localhost:"+s.ports["9000"],
		"PATH="+filepath.Join(s.dir, "path")+":"+programs+":"+os.Getenv("PATH"))
	return s
}

func (s *town) url(documented string) string { return "https://localhost:" + s.ports[documented] }

// typed returns a command as it is typed at a prompt here.
func (s *town) typed(command string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", s.replace(command, false))
	cmd.Dir, cmd.Env = filepath.Join(s.dir, "here"), s.env
	return cmd
}

// documented is what a command printed, as it stands in the transcript.
func (s *town) documented(output []byte) string {
	return s.replace(string(output), true)
}

// replace replaces the ports in a text, in one pass: a port can have another one in it.
func (s *town) replace(text string, back bool) string {
	var pairs []string
	for documented, port := range s.ports {
		if back {
			documented, port = port, documented
		}
		pairs = append(pairs, documented, port)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

var exitCode = regexp.MustCompile(`(?m)^\[exit (\d+)\]\n`)

// pattern matches what a transcript says that a command prints: N is a number, … anything on a
// line, and a line of … any lines.
func pattern(expected string) *regexp.Regexp {
	text := regexp.QuoteMeta(expected)
	text = regexp.MustCompile(`(?m)^…\n`).ReplaceAllString(text, "(?:.*\n)*?")
	text = strings.ReplaceAll(text, "…", ".*")
	text = regexp.MustCompile(`\bN\b`).ReplaceAllString(text, `\d+`)
	return regexp.MustCompile(`\A` + text + `\z`)
}

// eventually repeats a step until it says nothing is wrong.
func (s *town) eventually(step func() (wrong string)) {
	s.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		wrong := step()
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			s.t.Fatal(wrong)
		}
	}
}

// run types a command, and compares what it prints. The log is published a moment later than
// money moves, so what reads it is typed until it is there.
func (s *town) run(command, expected string) {
	s.t.Helper()
	code := "0"
	if m := exitCode.FindStringSubmatch(expected); m != nil {
		code, expected = m[1], exitCode.ReplaceAllString(expected, "")
	}
	step := func() string {
		cmd := s.typed(command)
		out, err := cmd.CombinedOutput()
		if got := fmt.Sprint(cmd.ProcessState.ExitCode()); got != code ||
			!pattern(expected).MatchString(s.documented(out)) {
			return fmt.Sprintf("$ %s\n%s[exit %s, %v], want\n%s[exit %s]", command, out, got, err,
				expected, code)
		}
		return ""
	}
	if strings.HasPrefix(command, "atmctl audit") {
		s.eventually(step)
	} else if wrong := step(); wrong != "" {
		s.t.Fatal(wrong)
	}
}

// start types a command that goes on, and waits for what it prints first.
func (s *town) start(command, expected string) {
	s.t.Helper()
	out := filepath.Join(s.t.TempDir(), "out")
	file, err := os.Create(out)
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	cmd := s.typed("exec " + command)
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("%s: %v", command, err)
		}
	})
	s.eventually(func() string {
		said, err := os.ReadFile(out)
		if err != nil || !pattern(expected).MatchString(s.documented(said)) {
			return fmt.Sprintf("$ %s &\n%s, %v, want\n%s", command, said, err, expected)
		}
		return ""
	})
}

// ready waits until the bank is.
func (s *town) ready() {
	s.t.Helper()
	s.eventually(func() string {
		resp, err := http.Get("http://localhost:" + s.ports["9001"] + "/readyz")
		if err != nil {
			return err.Error()
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return resp.Status
		}
		return ""
	})
}

var (
	console = regexp.MustCompile("(?s)```console[^\n]*\n(.*?)```")
	prompt  = regexp.MustCompile(`(?m)^\$ (.*)\n((?:[^$].*\n)*)`)
)

func TestTaxIsCollectedAsTheTranscriptShows(t *testing.T) {
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	s := newTown(t)
	if err := os.Mkdir(filepath.Join(s.dir, "here"), 0o700); err != nil {
		t.Fatal(err)
	}
	commands := 0
	for _, block := range console.FindAllSubmatch(page, -1) {
		for _, step := range prompt.FindAllSubmatch(block[1], -1) {
			commands++
			command, isServer := strings.CutSuffix(string(step[1]), " &")
			if isServer {
				s.start(command, string(step[2]))
			} else {
				s.run(command, string(step[2]))
			}
			if command == "atmserver" {
				s.ready()
			}
		}
	}
	if commands < 20 {
		t.Errorf("the transcript has only %d commands", commands)
	}
	t.Run("strangers", func(t *testing.T) { s.refuseStrangers(t) })
	t.Run("others", func(t *testing.T) { s.refuseOthers(t) })
}

// credentials are those of somebody in the transcript.
func (s *town) credentials(t *testing.T, who string) *tls.Config {
	t.Helper()
	config, err := client.InFolder(filepath.Join(s.dir, "here", who)).TLS()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// refuseStrangers calls both services without a certificate, and with one that says the right
// name and is of another authority.
func (s *town) refuseStrangers(t *testing.T) {
	real, err := s.credentials(t, "revenue").GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(real.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	forged := forge(t, leaf.URIs[0])
	for name, certificates := range map[string][]tls.Certificate{
		"nobody": nil, "of another authority": {forged},
	} {
		for _, url := range []string{s.url("9100") + "/earned", s.url("9200") + "/file"} {
			stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
				InsecureSkipVerify: true,
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
					if certificates == nil {
						return &tls.Certificate{}, nil
					}
					return &certificates[0], nil
				},
			}}}
			resp, err := stranger.Post(url, "application/json", strings.NewReader("{}"))
			if err == nil {
				said, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				t.Errorf("%s was answered by %s: %s", name, url, said)
			} else if !strings.Contains(err.Error(), "remote error: tls:") {
				t.Errorf("%s at %s: %v, want a refusal by TLS", name, url, err)
			}
		}
	}

	s.refuseImpostor(t, forged)
}

// refuseImpostor has a filer call a service that only says that it is revenue.
func (s *town) refuseImpostor(t *testing.T, forged tls.Certificate) {
	l, err := tls.Listen("tcp", "localhost:0", &tls.Config{Certificates: []tls.Certificate{forged}})
	if err != nil {
		t.Fatal(err)
	}
	heard := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			heard <- nil
			return
		}
		defer conn.Close()
		said, _ := io.ReadAll(io.LimitReader(conn, 1))
		heard <- said
	}()
	fay, err := peer.Load(t.Context(), filepath.Join(s.dir, "here", "fay"), s.url("9000"))
	if err != nil {
		t.Fatal(err)
	}
	secret := map[string]string{"secret": "4711"}
	_, err = peer.Ask[any](t.Context(), fay.Client("service:revenue"), "https://"+
		l.Addr().String(), secret)
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) {
		t.Errorf("a false revenue service: %v", err)
	}
	if said := <-heard; len(said) > 0 {
		t.Errorf("a false revenue service was told %q", said)
	}
	l.Close()
}

// forge makes a certificate that names uri, and is signed by its own key.
func forge(t *testing.T, uri *url.URL) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), URIs: []*url.URL{uri},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// refuseOthers has people with certificates of the bank ask for what is not theirs.
func (s *town) refuseOthers(t *testing.T) {
	s.t = t
	s.run("atmctl cert issue user:mallory --role customer --out mallory", "…\n")
	load := func(who string) *peer.Peer {
		p, err := peer.Load(t.Context(), filepath.Join(s.dir, "here", who), s.url("9000"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	mallory, fay := load("mallory"), load("fay")
	for name, tt := range map[string]struct {
		who       *peer.Peer
		whom, url string
		question  any
		want      string
	}{
		"what others earned": {
			fay, "service:payroll", s.url("9100") + "/earned",
			map[string]any{"Person": "user:fay", "Year": 2025},
			"not for user:fay",
		},
		"to pay with the money of others": {
			mallory, "service:revenue", s.url("9200") + "/file",
			map[string]any{"Year": 2025, "Account": 700},
			"user:mallory has given no mandate on account 700",
		},
		"payroll in the place of revenue": {
			fay, "service:revenue", s.url("9100") + "/earned",
			struct{}{},
			"this is service:payroll and not service:revenue",
		},
	} {
		_, err := peer.Ask[any](t.Context(), tt.who.Client(tt.whom), tt.url, tt.question)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	returns, err := peer.Ask[map[string]any](t.Context(), mallory.Client("service:revenue"),
		s.url("9200")+"/status", struct{}{})
	if err != nil || len(returns) != 0 {
		t.Errorf("others are told of returns %v, %v", returns, err)
	}
	var statement bytes.Buffer
	cmd := s.typed("atmclient localhost 9000 statement 700 --ca fay/ca.crt --cert " +
		"fay/client.crt --key fay/client.key -o json")
	cmd.Stdout = &statement
	err = cmd.Run()
	collected := strings.Count(statement.String(), `"operation":"`+string(atm.Collect))
	if err != nil || collected != 1 {
		t.Errorf("%v, and collected %d times: %s", err, collected, statement.String())
	}
}
