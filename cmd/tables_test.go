//go:build unix

package cmd_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// sgr matches a change of colour.
var sgr = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// On a terminal, a table has colours, fits the width, and goes through a pager if it is long.
// Elsewhere it is complete and plain. Output for programs never goes through a pager.
func TestTablesSuitWhereTheyGo(t *testing.T) {
	server := startServer(t)
	server.env = append(server.env, "TERM=xterm", "NO_COLOR=", "PAGER=sed s/^/paged:/")
	owner := "user:" + strings.Repeat("alice", 12)
	for _, args := range [][]string{
		{"open", "200", "--owner", owner, "--opening", "1234567.89"},
		{"open", "201"},
		{"freeze", "201"},
		{"open", "202"},
		{"open", "203"},
	} {
		if out, err := server.command("atmctl", append([]string{"account"},
			args...)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	list := []string{"account", "list"}
	plain, err := server.command("atmctl", list...).Output()
	if text := string(plain); err != nil || !strings.Contains(text, owner) ||
		sgr.MatchString(text) ||
		strings.Contains(text, "nil") || strings.Contains(text, "paged:") {
		t.Errorf("without a terminal: %v\n%s", err, text)
	}
	shown := func(rows, columns uint16, args []string, env ...string) string {
		t.Helper()
		cmd := server.command("atmctl", args...)
		cmd.Env = append(slices.Clone(cmd.Env), env...)
		return onTerminalOf(t, rows, columns, cmd).end(0)
	}

	for _, columns := range []uint16{50, 80, 120} {
		for _, args := range [][]string{list, {"audit", "list"}, {"cert", "list"}} {
			for line := range strings.Lines(sgr.ReplaceAllString(shown(40, columns, args), "")) {
				if n := utf8.RuneCountInString(strings.TrimRight(line, "\r\n")); n > int(columns) {
					t.Errorf("%v on %d columns has a line of %d: %q", args, columns, n, line)
				}
			}
		}
	}
	narrow := shown(40, 60, list)
	if !strings.Contains(narrow, "…") || !strings.Contains(narrow, "1234567.89") {
		t.Errorf("a name is to be cut, and no number: %q", narrow)
	}
	if short := shown(40, 160, list); !strings.Contains(short, "\x1b[33mfrozen\x1b[0m") ||
		strings.Contains(short, "paged:") {
		t.Errorf("a short table on a terminal: %q", short)
	}
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		if text := shown(40, 60, list, env); sgr.MatchString(text) {
			t.Errorf("with %s: %q", env, text)
		}
	}

	// The pager.
	for _, tt := range []struct {
		args  []string
		env   string
		paged bool
	}{
		{list, "X=", true},
		{list, "ATM_PAGER=cat", false},
		{list, "ATM_PAGER=", false},
		{list, "ATM_PAGER=there-is-no-such-pager", false},
		{list, "ATM_NO_PAGER=true", false},
		{append(list, "--no-pager"), "X=", false},
		{append(list, "-o", "json"), "X=", false},
		{[]string{"account", "show", "200"}, "X=", false},
	} {
		text := shown(4, 200, tt.args, tt.env)
		if strings.Contains(text, "paged:") != tt.paged || !strings.Contains(text, owner) {
			t.Errorf("%v with %s: %q", tt.args, tt.env, text)
		}
	}
	less := server.command("atmctl", list...)
	less.Env = append(slices.Clone(less.Env), "ATM_PAGER=less -FRX")
	x := onTerminalOf(t, 4, 200, less)
	x.expect("ACCOUNT")
	x.expect("\n:")
	x.send("q")
	x.end(0)
}

// The cells of later rows are aligned with those of earlier ones.
func TestFollowedRowsLineUp(t *testing.T) {
	t.Parallel()
	server := startServer(t)
	server.env = append(server.env, "NO_COLOR=1")
	follow := onTerminal(t, server.command("atmctl", "audit", "tail", "-f", "-n", "0"))
	follow.expect("CODE")
	port := lookUp(server.env, "PORT")
	for _, call := range []struct{ operation, argument string }{
		{"deposit", "5"}, {"withdraw", "4000000.00"}, {"inquiry", ""},
	} {
		args := []string{"localhost", port, call.operation, "100", call.argument}
		if call.argument == "" {
			args = args[:4]
		}
		server.command("atmclient", args...).Run() // one operation is refused
		follow.expect(call.operation)
	}
	if out, err := server.command("atmctl", "account", "freeze",
		"100").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	follow.expect("admin.account.freeze")
	follow.expect("OK")
	follow.send(ctrlC)
	lines := strings.Split(strings.ReplaceAll(follow.end(0), "\r", ""), "\n")
	at := utf8.RuneCountInString(lines[0][:strings.Index(lines[0], "CODE")])
	rows := 0
	for _, line := range lines[1:] {
		if strings.Contains(line, "20") && !strings.HasPrefix(line, "^C") {
			rows++
			if before := []rune(line)[:at]; !strings.HasSuffix(string(before), "  ") ||
				line[at] == ' ' {
				t.Errorf("a row is not below its heading:\n%s\n%s", lines[0], line)
			}
		}
	}
	if rows < 4 {
		t.Errorf("only %d rows: %q", rows, lines)
	}
}
