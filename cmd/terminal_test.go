//go:build unix

package cmd_test

import (
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// A terminal is a program on a pseudo-terminal, and its screen.
type terminal struct {
	t      *testing.T
	pty    *os.File
	cmd    *exec.Cmd
	screen strings.Builder
	seen   int // how much of the screen was expected so far
}

// onTerminal starts a program on a terminal of its own.
func onTerminal(t *testing.T, cmd *exec.Cmd) *terminal {
	t.Helper()
	return onTerminalOf(t, 40, 200, cmd)
}

// onTerminalOf is onTerminal with so many rows and columns.
func onTerminalOf(t *testing.T, rows, columns uint16, cmd *exec.Cmd) *terminal {
	t.Helper()
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: rows, Cols: columns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); f.Close() })
	return &terminal{t: t, pty: f, cmd: cmd}
}

// read waits for more on the screen. The end of the program is io.EOF.
func (x *terminal) read() error {
	if err := x.pty.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	buffer := make([]byte, 4<<10)
	n, err := x.pty.Read(buffer)
	x.screen.Write(buffer[:n])
	var path *fs.PathError
	if errors.As(err, &path) && path.Err == syscall.EIO { // the program has closed its side
		err = io.EOF
	}
	return err
}

// expect waits until text appears on the screen, after the text expected before.
func (x *terminal) expect(text string) {
	x.t.Helper()
	for {
		if at := strings.Index(x.screen.String()[x.seen:], text); at >= 0 {
			x.seen += at + len(text)
			return
		}
		if err := x.read(); err != nil {
			x.t.Fatalf("%v, and no %q on the screen: %q", err, text, x.screen.String())
		}
	}
}

// send types keys.
func (x *terminal) send(keys string) {
	x.t.Helper()
	if _, err := io.WriteString(x.pty, keys); err != nil {
		x.t.Fatal(err)
	}
}

// end waits until the program has ended, and returns everything that it showed.
func (x *terminal) end(code int) string {
	x.t.Helper()
	var err error
	for err == nil {
		err = x.read()
	}
	if !errors.Is(err, io.EOF) {
		x.t.Fatalf("%v: %q", err, x.screen.String())
	}
	x.cmd.Wait()
	if got := x.cmd.ProcessState.ExitCode(); got != code {
		x.t.Errorf("%v: exit code %d, not %d: %q", x.cmd.Args, got, code, x.screen.String())
	}
	return x.screen.String()
}

const ctrlC = "\x03"

// TestPasswordIsAskedForUnseen signs in with a typed password, and makes sure that it does not
// appear on the screen.
func TestPasswordIsAskedForUnseen(t *testing.T) {
	server := startServer(t)
	port := lookUp(server.env, "PORT")
	if out, err := server.command("atmctl", "user", "add", "alice", "--role", "customer",
		"--secret-out", "alice.secret").
		CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(server.dir, "alice.secret"))
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.TrimSpace(string(text))
	whoami := []string{"localhost", port, "whoami", "--user", "alice"}
	for _, args := range [][]string{whoami, append(slices.Clone(whoami), "--password-file", "-")} {
		x := onTerminal(t, server.command("atmclient", args...))
		x.expect("Password of alice: ")
		x.send(secret + "\r")
		x.expect("user:alice, customer, by digest")
		if screen := x.end(0); strings.Contains(screen, secret) {
			t.Errorf("%v shows the password: %q", args, screen)
		}
	}

	// A program that is interrupted or told to end restores the terminal.
	const afterwards = `; echo "exit $?"; stty -a`
	for name, giveUp := range map[string]func(*terminal){
		"Ctrl-C": func(x *terminal) { x.send("half" + ctrlC) },
		"SIGTERM": func(x *terminal) {
			if err := exec.Command("pkill", "-TERM", "-P",
				strconv.Itoa(x.cmd.Process.Pid)).Run(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		sh := server.command("atmclient")
		sh.Path, sh.Args = "/bin/sh", []string{"sh", "-c", "atmclient " + strings.Join(whoami,
			" ") + afterwards}
		x := onTerminal(t, sh)
		x.expect("Password of alice: ")
		giveUp(x)
		x.expect("atmclient: interrupted")
		x.expect("exit 1")
		if screen := x.end(0); strings.Contains(screen, "half") ||
			strings.Contains(screen, "-echo ") {
			t.Errorf("%s: %q", name, screen)
		}
	}

	// A program without a terminal does not ask.
	cmd := server.command("atmclient", whoami...)
	out, _ := cmd.CombinedOutput()
	const sentence = "atmclient: there is no terminal to ask for the password of alice: name a file"
	if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.HasPrefix(string(out), sentence) {
		t.Errorf("without a terminal: exit %d, %s", code, out)
	}
}

// TestNewPassphraseIsAskedForTwice seals a key with a typed passphrase.
func TestNewPassphraseIsAskedForTwice(t *testing.T) {
	server := startServer(t)
	server.stop(t)
	for _, tt := range []struct {
		again, says string
		code        int
	}{
		{"correct horse battery stable", "the two differ: nothing is changed", 2},
		{"correct horse battery staple", "", 0},
	} {
		x := onTerminal(t, server.command("atmctl", "vault", "passphrase"))
		x.expect("New passphrase of keys/vault.key: ")
		x.send("correct horse battery staple\r")
		x.expect("The same again: ")
		x.send(tt.again + "\r")
		x.expect(tt.says)
		if screen := x.end(tt.code); strings.Contains(screen, "horse") {
			t.Errorf("the passphrase is shown: %q", screen)
		}
	}
	x := onTerminal(t, server.command("atmctl", "fsck"))
	x.expect("Passphrase of keys/vault.key: ")
	x.send("correct horse battery staple\r")
	x.expect("good: ")
	x.end(0)
}

// TestShellKeepsToOneDepositWhoseAnswerIsLost types a day's work: completion by the tab key,
// history by the arrow keys, a refusal, and a deposit whose answer is lost, which is retried.
func TestShellKeepsToOneDepositWhoseAnswerIsLost(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	wire := tap(t, "localhost:"+lookUp(server.env, "PORT"))
	x := onTerminal(t, server.command("atmclient", "localhost", wire.port, "shell",
		"--timeout", "2s"))
	x.expect("atm> ")
	x.send("inq\t100\r")
	x.expect("Current value of account 100 is $1000.00")
	x.expect("atm> ")
	x.send("withdraw 100 5000\r")
	x.expect("Error from ATM Server: Insufficient Funds")
	x.send("depsoit 100 1\r")
	x.expect("did you mean deposit")
	x.expect("atm> ")
	wire.deaf.Store(true)
	x.send("deposit 100 1\r")
	x.expect("Type retry: it happens once")
	x.expect("atm> ")
	x.send("deposit 100 2\r")
	x.expect("retry it, or forget it")
	x.expect("atm> ")
	wire.deaf.Store(false)
	x.send("retry\r")
	x.expect("Successful deposit of $1.00 to account 100")
	x.expect("atm> ")
	x.send("inquiry 100\r")
	x.expect("is $1001.00")
	x.expect("atm> ")
	x.send("\x1b[A\r") // the arrow up
	x.expect("is $1001.00")
	x.expect("atm> ")
	x.send("quit\r")
	x.end(0)
}

// A wiretap passes connections on to a server. While it is deaf, it drops the answers.
type wiretap struct {
	port string
	deaf atomic.Bool
}

func tap(t *testing.T, server string) *wiretap {
	t.Helper()
	l, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wiretap{}
	_, w.port, _ = net.SplitHostPort(l.Addr().String())
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				in.Close()
				continue
			}
			go func() { io.Copy(out, in); out.Close() }()
			go func() {
				defer in.Close()
				for buffer := make([]byte, 16<<10); ; {
					n, err := out.Read(buffer)
					if w.deaf.Load() {
						n = 0
					}
					if _, failed := in.Write(buffer[:n]); err != nil || failed != nil {
						return
					}
				}
			}()
		}
	}()
	return w
}

// TestWhatNothingTakesBackIsAskedForOnATerminal closes accounts.
func TestWhatNothingTakesBackIsAskedForOnATerminal(t *testing.T) {
	server := startServer(t)
	atmctl := func(args ...string) *exec.Cmd { return server.command("atmctl", args...) }
	for _, number := range []string{"200", "201", "202"} {
		if out, err := atmctl("account", "open", number).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	const question = "Close account 200 for good? [y/N] "
	for keys, says := range map[string]string{
		"n\r": "nothing was done", "\r": "nothing was done", "yeah\r": "nothing was done",
		ctrlC: "interrupted",
	} {
		x := onTerminal(t, atmctl("account", "close", "200"))
		x.expect(question)
		x.send(keys)
		x.expect("atmctl: " + says)
		x.end(1)
	}
	x := onTerminal(t, atmctl("account", "close", "200"))
	x.expect(question)
	x.send("y\r")
	x.expect("closed")
	x.end(0)
	if screen := onTerminal(t, atmctl("account", "close", "201",
		"--yes")).end(0); strings.Contains(screen, "[y/N]") {
		t.Errorf("--yes is asked: %q", screen)
	}
	if out, err := atmctl("account", "close", "202").CombinedOutput(); err != nil ||
		strings.Contains(string(out), "[y/N]") {
		t.Errorf("without a terminal: %v, %s", err, out)
	}
}
