// Package ask asks a person at a terminal.
//
// A question is printed to standard error and answered on standard input. The terminal
// is left as it was found, whether the question is answered, given up with Ctrl-C, or
// the program is told to end.
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

// ErrInterrupted reports a question that was given up.
var ErrInterrupted = errors.New("interrupted")

// Possible reports whether standard input is a terminal to ask on.
func Possible() bool { return term.IsTerminal(int(os.Stdin.Fd())) }

// Secret asks for a line that is not shown while it is typed.
func Secret(prompt string) ([]byte, error) {
	line, err := answer(func(t *term.Terminal) (string, error) { return t.ReadPassword(prompt + ": ") })
	return []byte(line), err
}

// answer lets read use the terminal in raw mode. The mode changes before the prompt is
// printed, so nothing that is typed in answer to it is ever echoed.
func answer(read func(*term.Terminal) (string, error)) (string, error) {
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
		t := term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{os.Stdin, os.Stderr}, "")
		line, err := read(t)
		done <- result{line, err}
	}()
	select {
	case r := <-done:
		if r.err != nil { // Ctrl-C and Ctrl-D are the end of the input here
			io.WriteString(os.Stderr, "\r\n")
		}
		if errors.Is(r.err, io.EOF) {
			r.err = ErrInterrupted
		}
		return r.line, r.err
	case <-end: // the read goes on, and ends with the program
		io.WriteString(os.Stderr, "\r\n")
		return "", ErrInterrupted
	}
}

// Confirm asks a question that is answered with yes or no. Anything but y and yes is no.
func Confirm(question string) (bool, error) {
	line, err := answer(func(t *term.Terminal) (string, error) {
		t.SetPrompt(question + " [y/N] ")
		return t.ReadLine()
	})
	line = strings.ToLower(strings.TrimSpace(line))
	return err == nil && (line == "y" || line == "yes"), err
}
