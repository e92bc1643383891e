//go:build linux

package cmd_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"example.com/atm/internal/needs"
)

// A firefox is Firefox with a page. It is driven by Marionette, its own protocol: messages are
// JSON after their length, [0, id, command, parameters] and [1, id, error, result].
type firefox struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	last int // id of the last command
}

func openFirefox(t *testing.T) *firefox {
	t.Helper()
	program, profile := needs.Program(t, "firefox-esr"), t.TempDir()
	port, err := needs.Port()
	if err != nil {
		t.Fatal(err)
	}
	settings := fmt.Sprintf("user_pref(\"marionette.port\", %s);\n", port)
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless", "--marionette", "--no-remote", "--profile", profile)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	f := &firefox{t: t}
	eventually(t, "Firefox listens", func() bool {
		f.conn, err = net.Dial("tcp", "127.0.0.1:"+port)
		return err == nil
	})
	t.Cleanup(func() { f.conn.Close() })
	f.in = bufio.NewReader(f.conn)
	f.message() // the greeting
	f.do("WebDriver:NewSession", map[string]any{})
	return f
}

// message reads a message.
func (f *firefox) message() []byte {
	f.t.Helper()
	f.conn.SetReadDeadline(time.Now().Add(endsWithin))
	length, err := f.in.ReadString(':')
	if err != nil {
		f.t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		f.t.Fatal(err)
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(f.in, text); err != nil {
		f.t.Fatal(err)
	}
	return text
}

// do carries out a command and returns its result.
func (f *firefox) do(command string, parameters map[string]any) json.RawMessage {
	f.t.Helper()
	f.last++
	text, err := json.Marshal([]any{0, f.last, command, parameters})
	if err == nil {
		_, err = fmt.Fprintf(f.conn, "%d:%s", len(text), text)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	var answer []json.RawMessage
	if text := f.message(); json.Unmarshal(text, &answer) != nil || len(answer) != 4 ||
		string(answer[2]) != "null" {
		f.t.Fatalf("%s: %s", command, text)
	}
	return answer[3]
}

// value is what a script returns.
func (f *firefox) value(script string) string {
	f.t.Helper()
	var answer struct{ Value string }
	result := f.do("WebDriver:ExecuteScript", map[string]any{
		"script": "return String(" + script + ")", "args": []any{},
	})
	if err := json.Unmarshal(result, &answer); err != nil {
		f.t.Fatal(err)
	}
	return answer.Value
}

// until waits until what a script returns is as it has to be.
func (f *firefox) until(script, want string) {
	f.t.Helper()
	got := ""
	const pause = 50 * time.Millisecond
	for end := time.Now().Add(endsWithin); time.Now().Before(end); time.Sleep(pause) {
		if got = f.value(script); strings.HasPrefix(got, want) {
			return
		}
	}
	f.t.Fatalf("%s is %q, not %q", script, got, want)
}

// textOf is a script for the text of an element.
func textOf(selector string) string {
	return fmt.Sprintf(`(document.querySelector(%q)?.textContent ?? "").trim()`, selector)
}

// TestCustomerWithdrawsAndVerifiesInFirefox is TestCustomerWithdrawsAndVerifiesInABrowser in
// another browser, and has it verify the whole log.
func TestCustomerWithdrawsAndVerifiesInFirefox(t *testing.T) {
	if os.Getenv("ATM_SOAK") == "" {
		t.Skip("only with ATM_SOAK")
	}
	s := startServer(t)
	f := openFirefox(t)
	f.do("WebDriver:Navigate", map[string]any{"url": s.openConsole(t, "demo")})
	f.until(textOf(".accounts a"), "Account 100")
	f.value(`document.querySelector(".accounts a").click()`)
	f.until(`document.querySelector("#amount") !== null`, "true")
	f.value(`[document.querySelector("#amount").value = "40",
		document.querySelector("button[value=withdraw]").click()]`)
	f.until(textOf(".line"), "Withdraw $40.00")
	f.value(`document.querySelector("main form button").click()`)
	f.until(textOf(".outcome"), "Withdraw: done.")
	f.until(`document.querySelector("#verify button") !== null`, "true")
	f.value(`document.querySelector("#verify button").click()`)
	f.until(textOf(".verdict[data-state=right]"), "Verified in this browser: entry ")

	f = openFirefox(t)
	f.do("WebDriver:Navigate", map[string]any{"url": s.openConsole(t, "operator")})
	f.until(`document.querySelector("a[href='/console/log']") !== null`, "true")
	f.do("WebDriver:Navigate", map[string]any{"url": f.value(`location.origin`) +
		"/console/log/verify"})
	f.until(`document.querySelector("#verdict button") !== null`, "true")
	f.value(`document.querySelector("#verdict button").click()`)
	f.until(`document.querySelector("#start").hidden`, "false")
	f.value(`document.querySelector("#start").click()`)
	f.until(textOf("#verdict[data-state=right]"), "Verified in this browser: ")
}

// TestLogOfAHundredThousandEntriesIsVerifiedInABrowser does so in a worker, which tells how far it
// is.
func TestLogOfAHundredThousandEntriesIsVerifiedInABrowser(t *testing.T) {
	if os.Getenv("ATM_SOAK") == "" {
		t.Skip("only with ATM_SOAK")
	}
	const entries = 100_000
	s := startServer(t)
	demo := filepath.Join(s.dir, "atm-data", "clients", "demo")
	load := exec.Command("go", "run", "../bench/load", "-server", lookUp(s.env, "ATM_LISTEN"),
		"-ca", filepath.Join(demo, "ca.crt"), "-cert", filepath.Join(demo, "client.crt"), "-key",
		filepath.Join(demo, "client.key"), "-op", "deposit", "-calls", strconv.Itoa(entries),
		"-for", "10m")
	if out, err := load.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b := openBrowser(t)
	b.do(chromedp.Navigate(s.openConsole(t, "operator")), chromedp.WaitVisible("a.subject"))
	from, _, _ := strings.Cut(result(b, chromedp.Location()), "/console")
	b.do(chromedp.Navigate(from+"/console/log/verify"), chromedp.WaitVisible("#verdict button"),
		chromedp.Click("#verdict button"), chromedp.WaitVisible("#start"))
	began := time.Now()
	b.do(chromedp.Click("#start"), chromedp.WaitVisible("#verdict[data-state=right]"))
	got := b.text("#verdict")
	n, err := strconv.Atoi(strings.Fields(strings.TrimPrefix(got, "Verified in this browser: "))[0])
	if err != nil || n < entries {
		t.Errorf("%s", got)
	}
	t.Logf("%d entries in %v", n, time.Since(began))
}
