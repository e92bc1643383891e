// Package ask asks questions at a terminal.
//
// A question is printed to standard error and answered on standard input. The terminal gets its
// old mode back when the question is answered or interrupted with Ctrl-C, or when the program
// is told to end.
package ask

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// ErrInterrupted reports a question that was interrupted with Ctrl-C or Ctrl-D.
var ErrInterrupted = errors.New("interrupted")

// Possible reports whether standard input is a terminal.
func Possible() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

// Secret asks for a line that is not shown while it is typed.
func Secret(prompt string) ([]byte, error) {
	t := newTerminal()
	line, err := answer(func() (string, error) { return t.ReadPassword(prompt + ": ") })
	return []byte(line), err
}

func newTerminal() *term.Terminal {
	return term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{os.Stdin, os.Stderr}, "")
}

// answer calls read with the terminal in raw mode. The mode changes before the prompt is
// printed, so no part of an answer is ever echoed.
func answer(read func() (string, error)) (string, error) {
	stdin := int(os.Stdin.Fd())
	state, err := term.MakeRaw(stdin)
	if err != nil {
		return "", err
	}
	defer term.Restore(stdin, state)
	end := make(chan os.Signal, 1)
	signal.Notify(end, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(end)

	type result struct {
		line string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		line, err := read()
		done <- result{line, err}
	}()
	select {
	case r := <-done:
		if r.err != nil { // in raw mode, Ctrl-C and Ctrl-D end the input
			io.WriteString(os.Stderr, "\r\n")
		}
		if errors.Is(r.err, io.EOF) {
			r.err = ErrInterrupted
		}
		return r.line, r.err
	case <-end: // the read continues until the program ends
		io.WriteString(os.Stderr, "\r\n")
		return "", ErrInterrupted
	}
}

// Confirm asks a question with the answers yes and no. Every answer but y and yes means no.
func Confirm(question string) (bool, error) {
	t := newTerminal()
	t.SetPrompt(question + " [y/N] ")
	line, err := answer(t.ReadLine)
	line = strings.ToLower(strings.TrimSpace(line))
	return err == nil && (line == "y" || line == "yes"), err
}

// A Prompt asks for one line after another. It keeps a history in memory, for the arrow keys.
type Prompt struct{ terminal *term.Terminal }

// NewPrompt returns a prompt. The tab key completes the first word of a line to one of words.
func NewPrompt(prompt string, words []string) *Prompt {
	t := newTerminal()
	t.SetPrompt(prompt)
	t.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' || pos != len(line) || strings.Contains(line, " ") {
			return "", 0, false
		}
		completed := complete(line, words)
		return completed, len(completed), true
	}
	return &Prompt{t}
}

// complete returns the longest common prefix of the words that begin with start, followed by a
// space if there is one such word.
func complete(start string, words []string) string {
	common, count := "", 0
	for _, word := range words {
		if !strings.HasPrefix(word, start) {
			continue
		}
		if count++; count == 1 {
			common = word
		}
		for !strings.HasPrefix(word, common) {
			common = common[:len(common)-1]
		}
	}
	switch count {
	case 0:
		return start
	case 1:
		return common + " "
	}
	return common
}

// Line asks for a line. Ctrl-C and Ctrl-D are ErrInterrupted.
func (p *Prompt) Line() (string, error) {
	if width, height, err := term.GetSize(int(os.Stderr.Fd())); err == nil && width > 0 {
		p.terminal.SetSize(width, height)
	}
	return answer(p.terminal.ReadLine)
}
