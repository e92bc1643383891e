//go:build unix

// Package cmd_test runs the three programs together, as a person would.
package cmd_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"example.com/atm/internal/needs"
	"example.com/atm/vault/dynstore/dyntest"
)

// bin is the folder of the built programs.
var bin string

func TestMain(m *testing.M) {
	code, err := build(m)
	dyntest.Stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func build(m *testing.M) (code int, err error) {
	if bin = os.Getenv("ATM_TEST_PROGRAMS"); bin != "" {
		return m.Run(), nil // this process is a test that runs itself again
	}
	if bin, err = os.MkdirTemp("", "atm-programs-"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(bin)) }()
	into := []string{"build", "-o", bin + string(filepath.Separator)}
	builds := [][]string{append(into, "./atmserver", "./atmclient", "./atmctl")}
	if needs.Raced() {
		// Only the server shares memory between goroutines, so only it is built with the race
		// detector. The command lines would take four times as long for each of thousands of calls.
		builds = [][]string{
			append(slices.Clone(into), "-race", "./atmserver"),
			append(slices.Clone(into), "./atmclient", "./atmctl"),
		}
	}
	for _, args := range builds {
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return 0, fmt.Errorf("go build: %w\n%s", err, out)
		}
	}
	return m.Run(), nil
}

func TestScriptsOfCommandsBehaveAsWritten(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("TZ", midday(time.Now()))
			return setUp(env.Setenv, env.Getenv)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready":     ready,
			"published": published,
			"flip":      flip,
			"gone":      gone,
			"receive":   receive,
			"arrives":   arrives,
			"unbroken":  unbroken,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			program, ok := strings.CutPrefix(cond, "missing:")
			if !ok {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			if _, found := needs.Find(program); found {
				return false, nil
			}
			if !needs.Lacking(t.Name(), program+" is not installed") {
				return false, fmt.Errorf("%s is not installed", program)
			}
			return true, nil
		},
	})
}

// midday is a time zone in which it is about noon, so that no day ends while a script runs.
func midday(now time.Time) string { return fmt.Sprintf("Etc/GMT%+d", now.UTC().Hour()-12) }

// setUp gives a script the programs and two free ports.
func setUp(setenv func(key, value string), getenv func(string) string) error {
	port, err := needs.Port()
	if err != nil {
		return err
	}
	admin, err := needs.Port()
	if err != nil {
		return err
	}
	setenv("PORT", port)
	setenv("ADMIN", admin)
	setenv("ATM_LISTEN", "localhost:"+port)
	setenv("ATM_ADMIN_LISTEN", "localhost:"+admin)
	setenv("ATM_SERVER", "https://localhost:"+port)
	setenv("PATH", bin+string(os.PathListSeparator)+getenv("PATH"))
	return nil
}

// ready waits until the server of the script is ready.
func ready(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("ready cannot be negated")
	}
	if err := waitReady("http://localhost:"+ts.Getenv("ADMIN")+"/readyz", nil); err != nil {
		ts.Fatalf("%v", err)
	}
}

// patience is how long a program may take on a busy machine before a test fails.
const patience = time.Minute

// waitReady polls url until it answers 200. ended, unless it is nil, is closed when the server
// has ended.
func waitReady(url string, ended <-chan struct{}) error {
	last := errors.New("it was not asked")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		select {
		case <-ended:
			return fmt.Errorf("the server ended instead of becoming ready: %w", last)
		default:
		}
		resp, err := http.Get(url)
		if err != nil {
			last = err
			continue
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			return nil
		}
		last = fmt.Errorf("%s: %s", resp.Status, text)
	}
	return fmt.Errorf("the server is not ready: %w", last)
}

// published waits until the server of the script has published all that it has committed.
func published(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("published cannot be negated")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		values, err := metrics(ts.Getenv("ADMIN"))
		ts.Check(err)
		if entries := values["atm_audit_entries"]; entries != "" &&
			entries == values["atm_audit_published_entries"] {
			return
		}
	}
	ts.Fatalf("the log is not published")
}

// metrics reads the metrics without labels of a server with this port for its operator.
func metrics(port string) (map[string]string, error) {
	resp, err := http.Get("http://localhost:" + port + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	values := make(map[string]string)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		if name, value, is := strings.Cut(lines.Text(), " "); is {
			values[name] = value
		}
	}
	return values, lines.Err()
}

// flip changes a file: flip FILE OLD NEW replaces the first OLD by NEW, and flip FILE OFFSET
// flips a bit of the byte there, so that it changes whatever it was.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 && len(args) != 3 {
		ts.Fatalf("usage: flip FILE OLD NEW, or flip FILE OFFSET")
	}
	data := ts.ReadFile(args[0])
	if len(args) == 2 {
		offset, err := strconv.Atoi(args[1])
		ts.Check(err)
		if offset < 0 || offset >= len(data) {
			ts.Fatalf("%s has %d bytes", args[0], len(data))
		}
		data = data[:offset] + string([]byte{data[offset] ^ 1}) + data[offset+1:]
	} else {
		if !strings.Contains(data, args[1]) {
			ts.Fatalf("%s does not have %q", args[0], args[1])
		}
		data = strings.Replace(data, args[1], args[2], 1)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(data), 0o600))
}

// gone waits until the server of the script no longer answers.
func gone(ts *testscript.TestScript, neg bool, _ []string) {
	if neg {
		ts.Fatalf("gone cannot be negated")
	}
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", "localhost:"+ts.Getenv("PORT"))
		if err != nil {
			return
		}
		conn.Close()
	}
	ts.Fatalf("the server still answers")
}

func lookUp(env []string, key string) string {
	for _, entry := range env {
		if value, ok := strings.CutPrefix(entry, key+"="); ok {
			return value
		}
	}
	return ""
}
