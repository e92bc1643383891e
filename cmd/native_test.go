//go:build linux

package cmd_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/atm/auth/login/logintest"
	"example.com/atm/auth/login/native"
	"example.com/atm/cmd/internal/daemontest"
)

// An office is a server, an OpenID provider of its people, and a machine of one of them, with the
// profile company.
type office struct {
	*server
	*logintest.Provider
	t        *testing.T
	issuers  string // file of them
	profiles string // file of them
	login    string // file with the tokens
}

// openOffice starts both. The provider's ada is user:ada of the server, a customer and a teller.
func openOffice(t *testing.T) *office {
	t.Helper()
	dir := t.TempDir()
	o := &office{
		t: t, issuers: filepath.Join(dir, "issuers.toml"), profiles: filepath.Join(dir, "profiles.toml"),
		login: filepath.Join(dir, "company.login"),
	}
	o.Provider = logintest.Start(t, "https://localhost/console/login/back")
	o.trust("")
	o.server = startServerIn(t, t.TempDir(), "ATM_ISSUERS="+o.issuers, "ATM_PROFILES="+o.profiles)
	o.atmctl(t, "A=", "user", "add", "ada", "--role", "customer", "--role", "teller", "--secret-out",
		filepath.Join(dir, "secret"))
	o.atmctl(t, "A=", "account", "open", "200", "--owner", "user:ada", "--opening", "50")
	daemontest.Replace(t, o.profiles, `[company]
server = "`+o.url+`"
ca = "`+filepath.Join(o.dir, "atm-data/ca/ca.crt")+`"
login = true
login_ca = "`+o.CA+`"
`)
	return o
}

// trust writes the file of issuers. roles are those of groups.
func (o *office) trust(roles string) {
	text := o.Entry() + "\"ada@example.com\" = \"user:ada\"\n\"bob@example.com\" = \"user:bob\"\n"
	if roles != "" {
		text = strings.Replace(text, "[issuer.cli]", "groups = \"groups\"\n\n[issuer.cli]", 1) +
			"\n[issuer.roles]\n" + roles
	}
	daemontest.Replace(o.t, o.issuers, text)
}

// run runs a program with the profile. It returns how it ended, and all that it printed.
func (o *office) run(program string, args ...string) (code int, out string) {
	o.t.Helper()
	cmd := o.command(program, append([]string{"--profile", "company"}, args...)...)
	text, err := cmd.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		o.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// want is run, and wants it to end so, and to print that.
func (o *office) want(code int, out, program string, args ...string) {
	o.t.Helper()
	if got, text := o.run(program, args...); got != code || !strings.Contains(text, out) {
		o.t.Errorf("%s %v ended with %d:\n%s", program, args, got, text)
	}
}

// signIn runs a command that signs in, and has somebody do what it says. It returns how it ended
// and what it printed then.
func (o *office) signIn(person, program string, args ...string) (code int, out string) {
	o.t.Helper()
	cmd := o.command(program, append([]string{"--profile", "company"}, args...)...)
	var stdout bytes.Buffer
	var said strings.Builder
	cmd.Stdout = &stdout
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		o.t.Fatal(err)
	}
	link := ""
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		line := lines.Text()
		said.WriteString(line + "\n")
		entered := ""
		if _, to, found := strings.Cut(line, "https://"); found {
			link = "https://" + to
		}
		if _, of, found := strings.Cut(line, "enter the code "); found {
			entered = of
		}
		if strings.HasPrefix(line, "Log in with ") || entered != "" {
			if _, err := o.Enter(link, person, entered); err != nil {
				o.t.Errorf("%s at the provider: %v", person, err)
			}
		}
	}
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), said.String() + stdout.String()
}

// mustSignIn is signIn of ada.
func (o *office) mustSignIn(program string, args ...string) {
	o.t.Helper()
	if code, out := o.signIn("ada", program, args...); code != 0 ||
		!strings.Contains(out, "You are user:ada (") {
		o.t.Fatalf("%s %v ended with %d:\n%s", program, args, code, out)
	}
}

// tokens returns the tokens in the file.
func (o *office) tokens() (t native.Tokens) {
	o.t.Helper()
	t, err := o.kept(nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return t
}

// kept returns the tokens in the file, after a change.
func (o *office) kept(change func(*native.Tokens)) (native.Tokens, error) {
	var all map[string]any
	var file struct{ Tokens native.Tokens }
	text, err := os.ReadFile(o.login)
	if err == nil {
		err = errors.Join(json.Unmarshal(text, &all), json.Unmarshal(text, &file))
	}
	if err != nil || change == nil {
		return file.Tokens, err
	}
	change(&file.Tokens)
	all["tokens"] = file.Tokens
	if text, err = json.Marshal(all); err == nil {
		err = os.WriteFile(o.login, text, 0o600)
	}
	return file.Tokens, err
}

// age makes the token one that is to be renewed, and one that has ended if over is true.
func (o *office) age(over bool) {
	o.t.Helper()
	if _, err := o.kept(func(t *native.Tokens) {
		t.Renew = time.Now().Add(-time.Minute)
		if over {
			t.Expires = t.Renew
		}
	}); err != nil {
		o.t.Fatal(err)
	}
}

// TestPersonSignsInOnTheCommandLine signs in in a browser and on another device, by both programs,
// and out again.
func TestPersonSignsInOnTheCommandLine(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	o.want(4, "nobody is logged in with profile company\nLog in with: atmctl login --profile "+
		"company", "atmclient", "whoami")
	o.mustSignIn("atmctl", "login")
	if info, err := os.Stat(o.login); err != nil || info.Mode() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	o.want(0, "user:ada, customer, teller, by jwt", "atmclient", "whoami")
	o.want(0, "Successful deposit of $5.00 to account 200", "atmclient", "deposit", "200", "5")
	o.want(3, "", "atmctl", "user", "list") // she is no operator, and is known
	first := o.tokens()

	o.mustSignIn("atmclient", "login", "--device")
	if second := o.tokens(); second.Refresh == first.Refresh || second.Refresh == "" {
		t.Error("the second login kept the tokens of the first")
	}
	o.want(0, "account 200 is $55.00", "atmclient", "inquiry", "200")
	o.want(0, "you are logged out", "atmclient", "logout")
	if _, err := os.Stat(o.login); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after the logout: %v", err)
	}
	o.want(4, "nobody is logged in", "atmclient", "inquiry", "200")
	o.want(0, "nobody was logged in", "atmctl", "logout")

	if code, out := o.signIn("mallory", "atmctl", "login"); code != 4 ||
		!strings.Contains(out, "the server refuses you") {
		t.Errorf("somebody unknown: %d, %s", code, out)
	}
	if _, err := os.Stat(o.login); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("somebody unknown left a file: %v", err)
	}
	o.verify(t)
}

// TestGroupsOfThePersonDecideWithTheNextToken gives and takes groups at the provider.
func TestGroupsOfThePersonDecideWithTheNextToken(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	o.trust("people = \"customer\"\nbranch = \"teller\"\nops = \"operator\"\n")
	groups := func(names ...string) {
		t.Helper()
		o.SetGroups(t, map[string][]string{"ada": names})
	}
	groups("people")
	eventually(t, "the file is in force", func() bool {
		code, out := o.signIn("ada", "atmctl", "login")
		return code == 0 && strings.Contains(out, "You are user:ada (customer)")
	})
	groups("people", "branch", "ops")
	o.age(false)
	o.want(0, "user:ada, customer, teller, by jwt", "atmclient", "whoami")
	groups("people")
	o.want(0, "user:ada, customer, teller, by jwt", "atmclient", "whoami") // the token of before
	o.age(false)
	o.want(0, "user:ada, customer, by jwt", "atmclient", "whoami")
	o.want(0, "Successful deposit of $5.00 to account 200", "atmclient", "deposit", "200", "5")
	o.want(3, "was not found", "atmclient", "deposit", "100", "5")
	groups("branch")
	o.age(false)
	o.want(0, "Successful deposit of $5.00 to account 100", "atmclient", "deposit", "100", "5")
	groups("ops") // a role that she does not have here
	o.age(false)
	o.want(4, "", "atmclient", "whoami")
	groups()
	if code, out := o.signIn("ada", "atmctl", "login"); code != 4 {
		t.Errorf("in no group: %d, %s", code, out)
	}
	o.verify(t)
}

// TestProcessesThatRenewATokenAtOnceRenewItOnce starts them together. The provider takes a refresh
// token once, and ends the whole sign-in when one comes again.
func TestProcessesThatRenewATokenAtOnceRenewItOnce(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	o.mustSignIn("atmctl", "login")
	for range 2 {
		before := o.tokens()
		o.age(true)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() { o.want(0, "account 200 is $50.00", "atmclient", "inquiry", "200") })
		}
		all.Wait()
		if o.tokens().Refresh == before.Refresh {
			t.Error("the token was not renewed")
		}
	}
	// So it is in one process that lives longer than its token.
	o.age(true)
	shell := o.command("atmclient", "--profile", "company", "shell")
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := shell.StdoutPipe()
	if err == nil {
		err = shell.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range 2 {
		if _, err := in.Write([]byte("inquiry 200\n")); err != nil {
			t.Fatal(err)
		}
		if !lines.Scan() || !strings.Contains(lines.Text(), "$50.00") {
			t.Errorf("the shell says %q", lines.Text())
		}
	}
	in.Close()
	if err := shell.Wait(); err != nil {
		t.Error(err)
	}
}

// TestLoginsAtOnceLeaveOneThatIsGood logs in in two processes.
func TestLoginsAtOnceLeaveOneThatIsGood(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if code, out := o.signIn("ada", "atmctl", "login"); code != 0 {
				t.Errorf("%d, %s", code, out)
			}
		})
	}
	both.Wait()
	o.age(true)
	o.want(0, "user:ada", "atmclient", "whoami")
}

func TestLoginFileThatIsNotGoodIsRefused(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	o.mustSignIn("atmctl", "login")
	if err := os.Chmod(o.login, 0o640); err != nil {
		t.Fatal(err)
	}
	o.want(4, "may be read by others (mode 0640); chmod 600 it", "atmclient", "whoami")
	if err := os.Chmod(o.login, 0o600); err != nil {
		t.Fatal(err)
	}
	o.want(4, "logs in at localhost, not at 127.0.0.1", "atmctl", "--server",
		strings.Replace(o.url, "localhost", "127.0.0.1", 1), "status")

	// Without the provider the token is good until it ends, and then it is no refusal.
	o.age(false)
	o.Stop()
	o.want(0, "user:ada", "atmclient", "whoami")
	o.age(true)
	o.want(5, "cannot be asked", "atmclient", "whoami")
	o.want(5, "cannot be asked", "atmctl", "login")
	o.want(5, "you are logged out here, and the provider does not know", "atmctl", "logout")
	o.want(4, "nobody is logged in", "atmclient", "whoami")
	if err := os.WriteFile(o.login, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.want(4, "has no login that this program kept", "atmclient", "whoami")
	o.want(0, "you are logged out", "atmctl", "logout")
}

func TestLoginSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	o := openOffice(t)
	squatter, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer squatter.Close()
	_, port, _ := net.SplitHostPort(squatter.Addr().String())
	o.want(1, "another program of this machine listens at port "+port, "atmctl", "login",
		"--redirect-port", port)
	o.want(2, "has no provider https://other.example", "atmctl", "login", "--issuer",
		"https://other.example")
	o.want(2, "login takes no argument", "atmclient", "login", "x")
	if out, err := o.command("atmctl", "login").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "name a profile with --profile whose login is true") {
		t.Errorf("without a profile: %v, %s", err, out)
	}
	daemontest.Replace(t, o.issuers, "")
	eventually(t, "the server has no provider anymore", func() bool {
		code, out := o.run("atmctl", "login", "--issuer", "https://other.example")
		return code == 3 && strings.Contains(out, "no provider for command lines")
	})
	o.stop(t)
	o.want(5, "", "atmctl", "login")

	profile, err := os.ReadFile(o.profiles)
	if err != nil {
		t.Fatal(err)
	}
	for wrong, want := range map[string]string{
		"user = \"ada\"\n":   "goes without",
		"cert = \"a.crt\"\n": "goes without",
		"login = false\n":    "profiles.toml",
	} {
		daemontest.Replace(t, o.profiles, string(profile)+wrong)
		o.want(2, want, "atmclient", "whoami")
	}
	daemontest.Replace(t, o.profiles, "[company]\nlogin = true\n")
	o.want(2, "login needs server and ca", "atmclient", "localhost", "9000", "whoami")
}
