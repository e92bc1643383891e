//go:build unix

package cmd_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"example.com/atm/internal/needs"
	"example.com/atm/vault/pgstore/pgtest"
)

// A session is a shell in a folder of its own, and its background jobs.
type session struct {
	t     *testing.T
	dir   string // here/ is the working folder, home/ is ~, root/ has absolute paths
	env   []string
	words []string // documented and actual ones, alternately
	ports []string // likewise
	shell *exec.Cmd
	in    io.Writer
	out   *bufio.Reader
	jobs  []*job // background jobs
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
		"go run ./cmd/", "", "~/", home + "/", "./examples/", repository + "/examples/",
		"examples/", repository + "/examples/",
		"atm.example.com", "atm.example.com", "atm.example", "localhost",
	}
	return s
}

// startPostgreSQL starts a cluster for the page, in which the role atm may sign in and postgres
// is a superuser.
func (s *session) startPostgreSQL() {
	s.t.Helper()
	cluster := pgtest.Start(s.t, "fsync = on")
	database := fmt.Sprintf("127.0.0.1:%d", cluster.Port)
	s.words = append(s.words, "@db1,db2,db3/", "@"+database+"/", "@db1/", "@"+database+"/",
		"sslmode=verify-full", "sslmode=disable")
	s.env = append(s.env, "PGHOST=127.0.0.1", fmt.Sprintf("PGPORT=%d", cluster.Port),
		"PGUSER=postgres")
}

// rewrite replaces documented ports and folders by the actual ones.
func (s *session) rewrite(command string) string {
	command = documentedPort.ReplaceAllStringFunc(command, s.port)
	command = rooted.ReplaceAllString(command, "${1}"+s.dir+"/root${2}")
	return strings.NewReplacer(s.words...).Replace(command)
}

var (
	documentedPort = regexp.MustCompile(`\b9[0-9]{3}\b`)
	rooted         = regexp.MustCompile(`(^|[\s='"@])(/(?:etc|var|tmp)/)`)
)

// port is the actual port for a documented one.
func (s *session) port(documented string) string {
	for i := 0; i < len(s.ports); i += 2 {
		if s.ports[i] == documented {
			return s.ports[i+1]
		}
	}
	free, err := needs.Port()
	if err != nil {
		s.t.Fatal(err)
	}
	s.ports = append(s.ports, documented, free)
	return free
}

// start starts the shell. Its standard output and standard error are the same pipe, as on a
// terminal.
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

// do types one step, and compares the output.
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

// shellRun runs a command in the shell and returns its output, with the documented ports and
// folders, and its exit code.
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

// documented replaces actual ports and folders in output by the documented ones.
func (s *session) documented(output string) string {
	words := []string{s.dir + "/root/", "/", s.dir + "/home/", "~/"}
	for i := 0; i < len(s.ports); i += 2 {
		words = append(words, s.ports[i+1], s.ports[i])
	}
	return strings.NewReplacer(words...).Replace(output)
}

// A job is a background command.
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

// background starts a command and waits until it has printed what the page shows. A server is
// ready then.
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

// interrupt ends the last background command, as Ctrl-C does.
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

// pattern matches text in which N is a number, … is anything on its line, and a line of … alone
// is any lines. end must follow.
func pattern(text, end string) *regexp.Regexp {
	quoted := anyNumber.ReplaceAllString(regexp.QuoteMeta(text), `[0-9]+`)
	quoted = anyLines.ReplaceAllString(quoted, `(.*\n)*`)
	quoted = strings.ReplaceAll(strings.TrimSuffix(quoted, "\n"), "…", `.*`)
	return regexp.MustCompile(`^` + quoted + `\n?` + end)
}
