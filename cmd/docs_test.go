//go:build unix

package cmd_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/atm/vault/pgstore/pgtest"
)

// A page is a Markdown file, and its blocks are what a reader types.
//
// A block is fenced as console (commands begin with "$ ", and what they print
// stands below), as sh (a script) or as python. What a page takes for granted
// is a block as well, in an HTML comment that begins with "<!-- console". In
// what is printed N stands for a number, … for anything on the line, and a line
// of … alone for any lines. "[exit 3]" is how a command ends that does not end
// with 0, and "^C" ends the last one that goes on.
//
// Words after the language say more:
//
//	background      the last command goes on, until ^C or the end of the page
//	postgresql      the page has a PostgreSQL, and db1 is its name
//	norun="REASON"  it is not run
type page struct {
	path   string // in the repository
	blocks []block
	stray  []int // lines of commands that are in no block
}

type block struct {
	line       int
	language   string
	hidden     bool
	attributes map[string]string
	steps      []step
}

// A step is a command, or ^C.
type step struct {
	line            int
	command, output string
	exit            int
}

func (b block) has(attribute string) bool {
	_, ok := b.attributes[attribute]
	return ok
}

// TestDocumentedCommandsWork types what the documentation says, each page in a folder of its own,
// and compares what comes out and how it ends.
func TestDocumentedCommandsWork(t *testing.T) {
	var mu sync.Mutex
	found, commands, ran, skipped := 0, 0, 0, map[string]string{}
	t.Run("pages", func(t *testing.T) {
		for _, path := range documents(t) {
			text, err := os.ReadFile(filepath.Join("..", path))
			if err != nil {
				t.Fatal(err)
			}
			p := parse(path, string(text))
			if len(p.blocks) == 0 && len(p.stray) == 0 {
				continue
			}
			found += len(p.blocks)
			t.Run(path, func(t *testing.T) {
				t.Parallel()
				run := p.run(t, t.Errorf)
				mu.Lock()
				defer mu.Unlock()
				for _, b := range p.blocks {
					switch {
					case b.hidden:
					case b.has("norun"):
						skipped[fmt.Sprintf("%s:%d", path, b.line)] = b.attributes["norun"]
					default:
						ran++
					}
				}
				commands += run
			})
		}
	})
	t.Logf("%d blocks were run, with %d commands; %d were not:", ran, commands, len(skipped))
	for _, where := range slices.Sorted(maps.Keys(skipped)) {
		t.Logf("%s: %s", where, skipped[where])
	}
	if found < 30 {
		t.Errorf("only %d blocks were found", found)
	}
}

// foreign is a folder that has no documents of ours.
var foreign = regexp.MustCompile(`(^|/)(\.[^/]+|node_modules|testdata)$`)

// documents lists the documents of the repository.
func documents(t *testing.T) (paths []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(".."), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && foreign.MatchString(path):
			return fs.SkipDir
		case strings.HasSuffix(path, ".md"):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestDocumentedCommandsAreCompared is about the test itself: each of these blocks is wrong.
func TestDocumentedCommandsAreCompared(t *testing.T) {
	for name, text := range map[string]string{
		"exits with 1, not 0":    "```console\n$ false\n```\n",
		"exits with 0, not 3":    "```console\n$ true\n[exit 3]\n```\n",
		"prints":                 "```console\n$ echo a; echo b >&2\na\n```\n",
		"it does not say why":    "```console norun\n$ true\n```\n",
		"a command in no block":  "Then type\n\n    atmctl audit verify\n",
		"of no known language":   "```\n$ true\n```\n",
		"it ended with 4":        "```console background\n$ sh -c 'exit 4'\nready\n```\n",
		"nothing goes on":        "```console\n^C\n```\n",
		"begins with no command": "```console\nready\n```\n",
		"unknown attribute":      "```console norum=\"no network\"\n$ true\n```\n",
	} {
		t.Run(name, func(t *testing.T) {
			var said strings.Builder
			parse("page.md", text).run(t, func(format string, args ...any) {
				fmt.Fprintf(&said, format, args...)
			})
			if !strings.Contains(said.String(), name) {
				t.Errorf("said %q", said.String())
			}
		})
	}
}

var (
	attribute = regexp.MustCompile(`([a-z]+)(?:="([^"]*)")?`)
	typed     = regexp.MustCompile(`^(\$ |atm(server|client|ctl)\b|` +
		`(apt|curl|docker|git|go|make|openssl|sudo|systemctl) )`)
)

// parse reads a page.
func parse(path, text string) *page {
	p := &page{path: path}
	var b *block // where the lines are
	fence := ""
	generated := strings.HasPrefix(path, "docs/reference/") // has synopses, which nobody types
	for i, line := range strings.Split(text, "\n") {
		info, isFence := strings.CutPrefix(line, "```")
		comment, isComment := strings.CutPrefix(line, "<!-- console")
		switch {
		case fence == "" && isFence:
			fence, b = "```", newBlock(i+1, info)
		case fence == "" && isComment:
			fence, b = "-->", newBlock(i+1, "console"+comment)
			b.hidden = true
		case fence == "" && strings.HasPrefix(line, "    ") && typed.MatchString(line[4:]) &&
			!generated:
			p.stray = append(p.stray, i+1)
		case fence == "":
		case line == fence:
			b.comments()
			if len(b.steps) > 0 || b.language == "console" {
				p.blocks = append(p.blocks, *b)
			}
			fence = ""
		default:
			b.add(i+1, line, generated)
		}
	}
	return p
}

func newBlock(line int, info string) *block {
	b := &block{line: line, attributes: map[string]string{}}
	language, rest, _ := strings.Cut(info, " ")
	b.language = language
	for _, m := range attribute.FindAllStringSubmatch(rest, -1) {
		b.attributes[m[1]] = m[2]
	}
	return b
}

// add puts a line into the block.
func (b *block) add(n int, line string, generated bool) {
	switch b.language {
	case "sh", "bash", "shell", "python": // one command
		if len(b.steps) == 0 {
			b.steps = []step{{line: n}}
		}
		b.steps[0].command += line + "\n"
		return
	case "console":
	default:
		if !typed.MatchString(line) || generated {
			return // a file, or what a program prints
		}
		line = "$ " + strings.TrimPrefix(line, "$ ")
	}
	command, isCommand := strings.CutPrefix(line, "$ ")
	var last *step
	if len(b.steps) > 0 {
		last = &b.steps[len(b.steps)-1]
	}
	switch {
	case isCommand:
		b.steps = append(b.steps, step{line: n, command: command})
	case line == "^C":
		b.steps = append(b.steps, step{line: n, command: line})
	case last == nil:
		b.steps = append(b.steps, step{line: n, output: line})
	case last.output == "" && last.continues():
		last.command += "\n" + line
	default:
		if _, err := fmt.Sscanf(line, "[exit %d]", &last.exit); err != nil {
			last.output += line + "\n"
		}
	}
}

// comments takes the last lines of a program in Python, which are comments, for
// what it prints.
func (b *block) comments() {
	if b.language != "python" || len(b.steps) == 0 {
		return
	}
	st := &b.steps[0]
	for _, line := range slices.Backward(strings.Split(strings.TrimSpace(st.command), "\n")) {
		comment, ok := strings.CutPrefix(line, "# ")
		if !ok {
			return
		}
		st.output = comment + "\n" + st.output
	}
}

var hereDocument = regexp.MustCompile(`<<-?\s*'?(\w+)'?`)

// continues reports whether the next line belongs to the command as well.
func (s *step) continues() bool {
	if m := hereDocument.FindStringSubmatch(s.command); m != nil {
		return !strings.HasSuffix(s.command, "\n"+m[1])
	}
	return strings.HasSuffix(s.command, `\`) || strings.HasSuffix(s.command, "|")
}

// run types a page, tells what is not as it says, and returns the number of
// commands.
func (p *page) run(t *testing.T, tell func(format string, args ...any)) (commands int) {
	t.Helper()
	for _, line := range p.stray {
		tell("%s:%d: a command in no block", p.path, line)
	}
	var s *session
	for _, b := range p.blocks {
		where := fmt.Sprintf("%s:%d", p.path, b.line)
		for name := range b.attributes {
			if !slices.Contains([]string{"background", "norun", "postgresql"}, name) {
				tell("%s: unknown attribute %s", where, name)
			}
		}
		switch {
		case !slices.Contains([]string{"console", "sh", "bash", "shell", "python"}, b.language):
			tell("%s: commands of no known language", where)
			continue
		case b.has("norun"):
			if b.attributes["norun"] == "" {
				tell("%s: it is not run, and it does not say why", where)
			}
			continue
		case s == nil:
			s = newSession(t)
			if slices.ContainsFunc(p.blocks, func(b block) bool { return b.has("postgresql") }) {
				s.startPostgreSQL()
			}
			s.start()
			defer func() {
				for len(s.jobs) > 0 {
					if err := s.interrupt(); err != nil {
						tell("%s: %v", p.path, err)
					}
				}
			}()
		}
		for i, step := range b.steps {
			commands++
			begun := time.Now()
			if err := s.do(step, b, i == len(b.steps)-1); err != nil {
				tell("%s:%d: $ %s\n%v", p.path, step.line, strings.TrimSpace(step.command), err)
				if t.Failed() {
					return commands // what follows would fail for this reason
				}
			}
			if took := time.Since(begun); took > time.Second {
				t.Logf("%s:%d took %v", p.path, step.line, took.Round(time.Millisecond))
			}
		}
	}
	return commands
}

// A session is a shell in a folder of its own, and what goes on beside it.
type session struct {
	t     *testing.T
	dir   string // here/ is where commands are typed, home/ is ~, root/ has what begins with /
	env   []string
	words []string // documented and true ones, in turn
	ports []string // likewise
	shell *exec.Cmd
	in    io.Writer
	out   *bufio.Reader
	jobs  []*job // what goes on
}

func newSession(t *testing.T) *session {
	t.Helper()
	s := &session{t: t, dir: t.TempDir()}
	repository, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	goSettings, err := exec.Command("go", "env", "GOENV", "GOFLAGS").Output()
	if err != nil {
		t.Fatal(err)
	}
	goEnv, goFlags, _ := strings.Cut(strings.TrimSuffix(string(goSettings), "\n"), "\n")
	for _, dir := range []string{"here", "home", "root/etc", "root/tmp", "root/var/lib"} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	home := filepath.Join(s.dir, "home")
	s.env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=UTC", "NO_COLOR=1", "ATM_LOG_FORMAT=text",
		"XDG_CONFIG_HOME="+home+"/.config", "XDG_STATE_HOME="+home+"/.local/state",
		"XDG_DATA_HOME="+home+"/.local/share", "REPOSITORY="+repository, "GOBIN="+bin,
		"GOENV="+goEnv, "GOFLAGS="+strings.TrimSpace(goFlags))
	set := func(key, value string) { s.env = append(s.env, key+"="+value) }
	if err := setUp(set, os.Getenv); err != nil {
		t.Fatal(err)
	}
	port, admin := lookUp(s.env, "PORT"), lookUp(s.env, "ADMIN")
	s.ports = []string{"9000", port, "9001", admin}
	s.words = []string{
		"go run ./cmd/", "", "~/", home + "/", "examples/", repository + "/examples/",
		"atm.example.com", "atm.example.com", "atm.example", "localhost",
	}
	return s
}

// startPostgreSQL starts a cluster for the page, in which the role atm signs in
// and postgres may do all.
func (s *session) startPostgreSQL() {
	s.t.Helper()
	cluster := pgtest.Start(s.t, "fsync = on")
	database := fmt.Sprintf("127.0.0.1:%d", cluster.Port)
	s.words = append(s.words, "@db1,db2,db3/", "@"+database+"/", "@db1/", "@"+database+"/",
		"sslmode=verify-full", "sslmode=disable")
	s.env = append(s.env, "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", cluster.Port),
		"PGUSER=postgres")
}

// rewrite puts true ports and folders in the place of the documented ones.
func (s *session) rewrite(command string) string {
	command = documentedPort.ReplaceAllStringFunc(command, s.port)
	command = rooted.ReplaceAllString(command, "${1}"+s.dir+"/root${2}")
	return strings.NewReplacer(s.words...).Replace(command)
}

var (
	documentedPort = regexp.MustCompile(`\b9[0-9]{3}\b`)
	rooted         = regexp.MustCompile(`(^|[\s='"@])(/(?:etc|var|tmp)/)`)
)

// port is the true port of a documented one.
func (s *session) port(documented string) string {
	for i := 0; i < len(s.ports); i += 2 {
		if s.ports[i] == documented {
			return s.ports[i+1]
		}
	}
	free, err := freePort()
	if err != nil {
		s.t.Fatal(err)
	}
	s.ports = append(s.ports, documented, free)
	return free
}

// start starts the shell. Its standard output and standard error are one, as on
// a terminal.
func (s *session) start() {
	s.shell = exec.Command("bash", "--norc", "--noprofile")
	s.shell.Dir, s.shell.Env = filepath.Join(s.dir, "here"), s.env
	in, errIn := s.shell.StdinPipe()
	out, errOut := s.shell.StdoutPipe()
	s.shell.Stderr = s.shell.Stdout
	if err := errors.Join(errIn, errOut, s.shell.Start()); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { in.Close(); s.shell.Process.Kill(); s.shell.Wait() })
	s.in, s.out = in, bufio.NewReader(out)
	fmt.Fprintln(s.in, `go() { command go -C "$REPOSITORY" "$@"; }`)
}

// do types one step, and compares.
func (s *session) do(st step, b block, last bool) error {
	switch {
	case st.command == "^C":
		return s.interrupt()
	case st.command == "":
		return errors.New("the block begins with no command")
	case last && b.has("background"):
		return s.background(st)
	}
	command := s.rewrite(st.command)
	switch b.language {
	case "python":
		command = "python3 - <<'END OF PROGRAM'\n" + command + "END OF PROGRAM"
	case "sh", "bash", "shell":
		command = "(set -e\n" + command + ")"
	}
	output, exit, err := s.shellRun(command)
	if err != nil {
		return err
	}
	if exit != st.exit {
		return fmt.Errorf("exits with %d, not %d:\n%s", exit, st.exit, output)
	}
	if st.output != "" && !pattern(st.output, "$").MatchString(output) {
		return fmt.Errorf("prints\n%snot\n%s", output, st.output)
	}
	return nil
}

const endOfCommand = '\036'

// shellRun gives a command to the shell and returns what it prints, with the
// documented ports and folders, and its exit code.
func (s *session) shellRun(command string) (output string, exit int, err error) {
	hung := time.AfterFunc(5*patience, func() { s.shell.Process.Kill() }) // go install may compile
	defer hung.Stop()
	fmt.Fprintf(s.in, "{ %s\n} </dev/null; printf '\\036%%d\\n' $?\n", command)
	output, err = s.out.ReadString(endOfCommand)
	code, errCode := s.out.ReadString('\n')
	if err = errors.Join(err, errCode); err != nil {
		return "", 0, fmt.Errorf("the shell ended: %w\n%s", err, output)
	}
	exit, err = strconv.Atoi(strings.TrimSpace(code))
	return s.documented(strings.TrimSuffix(output, string(endOfCommand))), exit, err
}

// documented puts the ports and folders of the page into what is printed.
func (s *session) documented(output string) string {
	words := []string{s.dir + "/root/", "/", s.dir + "/home/", "~/"}
	for i := 0; i < len(s.ports); i += 2 {
		words = append(words, s.ports[i+1], s.ports[i])
	}
	return strings.NewReplacer(words...).Replace(output)
}

// A job is a command that goes on.
type job struct {
	command string
	cmd     *exec.Cmd
	ended   chan struct{}

	mu     sync.Mutex
	output bytes.Buffer // guarded by mu
}

func (j *job) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.output.Write(p)
}

var adminListen = regexp.MustCompile(`--admin-listen[ =]\S*:([0-9]+)`)

// background starts a command and waits until it has printed what the page
// shows. A server is ready then.
func (s *session) background(st step) error {
	command := s.rewrite(st.command)
	j := &job{command: st.command, ended: make(chan struct{})}
	j.cmd = exec.Command("bash", "-c", "exec "+command)
	j.cmd.Dir, j.cmd.Env = filepath.Join(s.dir, "here"), s.env
	j.cmd.Stdout, j.cmd.Stderr = j, j
	if err := j.cmd.Start(); err != nil {
		return err
	}
	go func() { j.cmd.Wait(); close(j.ended) }()
	s.t.Cleanup(func() { j.cmd.Process.Kill(); <-j.ended })
	s.jobs = append(s.jobs, j)
	if strings.HasPrefix(command, "atmserver") {
		admin := lookUp(s.env, "ADMIN")
		if m := adminListen.FindStringSubmatch(command); m != nil {
			admin = m[1]
		}
		if err := waitReady("http://localhost:"+admin+"/readyz", j.ended); err != nil {
			return fmt.Errorf("%w\n%s", err, j.printed())
		}
	}
	want := pattern(st.output, "")
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if want.MatchString(s.documented(j.printed())) {
			return nil
		}
		select {
		case <-j.ended:
			return fmt.Errorf("it ended with %d:\n%s", j.cmd.ProcessState.ExitCode(), j.printed())
		default:
		}
	}
	return fmt.Errorf("prints\n%snot\n%s", s.documented(j.printed()), st.output)
}

func (j *job) printed() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.output.String()
}

// interrupt ends the last command that goes on, as Ctrl-C does.
func (s *session) interrupt() error {
	if len(s.jobs) == 0 {
		return errors.New("nothing goes on")
	}
	j := s.jobs[len(s.jobs)-1]
	s.jobs = s.jobs[:len(s.jobs)-1]
	if err := j.cmd.Process.Signal(syscall.SIGINT); err != nil &&
		!errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-j.ended:
	case <-time.After(patience):
		return fmt.Errorf("%s does not end", j.command)
	}
	if code := j.cmd.ProcessState.ExitCode(); code != 0 && strings.HasPrefix(j.command,
		"atmserver") {
		return fmt.Errorf("%s ended with %d:\n%s", j.command, code, j.printed())
	}
	return nil
}

var (
	anyNumber = regexp.MustCompile(`\bN\b`)
	anyLines  = regexp.MustCompile(`(?m)^…\n`)
)

// pattern matches text in which N stands for a number, … for anything on its line,
// and a line of … alone for any lines; end is what has to follow.
func pattern(text, end string) *regexp.Regexp {
	quoted := anyNumber.ReplaceAllString(regexp.QuoteMeta(text), `[0-9]+`)
	quoted = anyLines.ReplaceAllString(quoted, `(.*\n)*`)
	quoted = strings.ReplaceAll(strings.TrimSuffix(quoted, "\n"), "…", `.*`)
	return regexp.MustCompile(`^` + quoted + `\n?` + end)
}

var (
	named     = regexp.MustCompile("`(atm(?:ctl|client|server)) ([^`]+)`")
	word      = regexp.MustCompile(`^[a-z][a-z-]*$`)
	namedFlag = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// TestNamedCommandsExist looks up the commands and options that stand in the
// sentences of the documentation.
func TestNamedCommandsExist(t *testing.T) {
	helps := map[string]string{}
	help := func(command []string) string {
		key := strings.Join(command, " ")
		if _, ok := helps[key]; !ok {
			program := filepath.Join(bin, command[0])
			out, err := exec.Command(program, append(command[1:], "--help")...).Output()
			if err != nil {
				t.Fatalf("%s --help: %v", key, err)
			}
			helps[key] = string(out)
		}
		return helps[key]
	}
	found := 0
	for _, path := range documents(t) {
		if path == "CHANGELOG.md" { // names what is gone, too
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", path))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			found++
			command := m[1:2]
			for w := range strings.FieldsSeq(m[2]) {
				if !strings.Contains(help(command), "Available Commands:") {
					break // what follows are arguments
				}
				if !word.MatchString(w) {
					break
				}
				command = append(slices.Clone(command), w)
				if usage := "\n  " + strings.Join(command, " "); !strings.Contains(help(command),
					usage) {
					t.Errorf("%s: %s: there is no %q", path, m[0], command)
					break
				}
			}
			for _, flag := range namedFlag.FindAllString(m[2], -1) {
				if !regexp.MustCompile(flag + `\b`).MatchString(help(command)) {
					t.Errorf("%s: %s: %q has no %s", path, m[0], command, flag)
				}
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d commands were found", found)
	}
}
