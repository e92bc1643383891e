package output

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/internal/printable"
	"golang.org/x/term"
)

// defaultPager exits by itself if the text fits the screen, and keeps colours.
const defaultPager = "less -FRX"

// colours reports whether output to a terminal may have colours (no-color.org).
func colours(terminal *os.File) bool {
	return terminal != nil && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// Verdict prints a line that begins with a verdict, which a terminal shows in green or red.
func Verdict(w io.Writer, good bool, word, sentence string) error {
	if colours(exit.Terminal(w)) {
		word = sgr(map[bool]string{true: "32", false: "31"}[good], word)
	}
	return show(w, fmt.Sprintf("%s: %s\n", word, printable.Text(sentence)), false)
}

// show prints text that is printable already, with its colours. It uses the pager if paged is
// set and the terminal has fewer lines.
func show(w io.Writer, text string, paged bool) error {
	terminal := exit.Terminal(w)
	if terminal == nil {
		_, err := io.WriteString(w, text)
		return err
	}
	_, height, err := term.GetSize(int(terminal.Fd()))
	if command := pager(); paged && command != "" && err == nil && strings.Count(text,
		"\n") >= height {
		if page(terminal, command, text) {
			return nil
		}
	}
	_, err = io.WriteString(terminal, text)
	return err
}

// pager returns the command of the pager, empty for none.
func pager() string {
	for _, variable := range []string{"ATM_PAGER", "PAGER"} {
		if command, ok := os.LookupEnv(variable); ok {
			if command == "cat" {
				return ""
			}
			return command
		}
	}
	return defaultPager
}

// page shows text in a pager, and reports false if there is none. A person may quit it before
// the end.
func page(terminal *os.File, command, text string) bool {
	cmd := exec.Command("sh", "-c", command)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(text), terminal, os.Stderr
	cmd.Env = os.Environ()
	if _, ok := os.LookupEnv("LESS"); !ok {
		cmd.Env = append(cmd.Env, "LESS=FRX")
	}
	err := cmd.Run()
	var ended *exec.ExitError
	const notFound, notRunnable = 127, 126 // of sh
	switch {
	case errors.As(err, &ended):
		return ended.ExitCode() != notFound && ended.ExitCode() != notRunnable
	}
	return err == nil
}
