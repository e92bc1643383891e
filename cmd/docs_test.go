//go:build unix

package cmd_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
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
	path   string // path in the repository
	blocks []block
	stray  []int // lines with commands outside any block
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

// TestDocumentedCommandsWork runs the commands of the documentation, each page in a folder of
// its own, and compares their output and exit codes.
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

// foreign is a folder with documents of other projects.
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

// TestDocumentedCommandsAreCompared tests the test: each of these blocks has a mistake.
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

// parse parses a page.
func parse(path, text string) *page {
	p := &page{path: path}
	var b *block // the current block
	fence := ""
	generated := strings.HasPrefix(path, "docs/reference/") // has synopses, which are not typed
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

// add adds a line to the block.
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
			return // a file, or output of a program
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

// comments removes the last lines of a Python program, which are comments, and returns them as
// the expected output.
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

// continues reports whether the command continues on the next line.
func (s *step) continues() bool {
	if m := hereDocument.FindStringSubmatch(s.command); m != nil {
		return !strings.HasSuffix(s.command, "\n"+m[1])
	}
	return strings.HasSuffix(s.command, `\`) || strings.HasSuffix(s.command, "|")
}

// run types a page, reports each difference, and returns the number of commands.
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
					return commands // later commands would fail for this reason
				}
			}
			if took := time.Since(begun); took > time.Second {
				t.Logf("%s:%d took %v", p.path, step.line, took.Round(time.Millisecond))
			}
		}
	}
	return commands
}

var (
	named     = regexp.MustCompile("`(atm(?:ctl|client|server)) ([^`]+)`")
	word      = regexp.MustCompile(`^[a-z][a-z-]*$`)
	namedFlag = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// TestNamedCommandsExist looks up the commands and options in the text of the documentation.
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
		if path == "CHANGELOG.md" { // names removed ones, too
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
					break // the rest are arguments
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
