// Package reference writes the reference of a program from its commands and flags, as a page
// of the documentation and as a man page. A test of each program compares them with
// docs/reference.
package reference

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
)

// ErrOld reports a page that differs from the commands and flags of the program.
var ErrOld = errors.New("the reference is old: ATM_UPDATE=1 go test ./cmd/... -run TestReference " +
	"writes it anew")

// Compare compares the pages in a folder with the commands and flags of a program, or writes
// them.
func Compare(folder string, root *cobra.Command, update bool) error {
	page := markdown(root)
	for name, want := range map[string][]byte{
		root.Name() + ".md": page,
		root.Name() + ".1": md2man.Render(append(fmt.Appendf(nil, "%% %s 1 \"2026-11-28\" ATM "+
			"\"ATM manual\"\n\n", strings.ToUpper(root.Name())), page...)),
	} {
		file := filepath.Join(folder, name)
		if update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				return err
			}
			continue
		}
		have, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !bytes.Equal(have, want) {
			return fmt.Errorf("%s: %w", file, ErrOld)
		}
	}
	return nil
}

// markdown returns the page of a program and of each of its commands.
func markdown(root *cobra.Command) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# NAME\n\n%s - %s\n\n", root.Name(), lower(root.Short))
	command(&b, root, "# SYNOPSIS", "# DESCRIPTION", "# OPTIONS")
	if root.HasAvailableSubCommands() {
		b.WriteString("# COMMANDS\n\n")
		commands(&b, root)
	}
	b.WriteString(`# ENVIRONMENT AND FILES

Every option is also an environment variable and a key in the TOML file of --config: --admin-listen is ATM_ADMIN_LISTEN
and admin-listen. An option overrides a variable, and a variable overrides the file. A variable has one value, also of an
option that is repeatable; in the file such an option can be an array.

# EXIT STATUS

0 done; 1 internal or input/output error; 2 usage; 3 the server answered ERROR or a fault; 4 not authenticated; 5 cannot
connect, or TLS failed; 6 the outcome is unknown: money may have moved, repeat with the printed request id; 10 to 15 an audit
log has a fault, see atmctl audit verify.

With --output json or jsonl, an error is the last line on standard error, an object such as

    {"error":{"code":"ACCOUNT_NOT_FOUND","reason":"Unknown account 7","exit":3}}

where code is the code of the server's answer, FAULT for a fault, and otherwise the word for the exit code: 1 FAILED, 2 USAGE,
3 REFUSED (the server refused the request itself, or something does not exist here), 4 NOT_AUTHENTICATED, 5 NO_CONNECTION,
6 OUTCOME_UNKNOWN, 10 CANNOT_VERIFY, 11 WRONG_SIGNATURE, 12 CONTENT_DIFFERS, 13 ROLLED_BACK, 14 TOO_OLD, 15 BALANCES_DISAGREE.
The object may also have advice, which says what to do next, and request_id. A list is one array, or with jsonl an object per
line; every other result is an object.

# SEE ALSO

atmserver(1), atmclient(1), atmctl(1)
`)
	return b.Bytes()
}

func commands(b *bytes.Buffer, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "help" {
			continue
		}
		takesArguments := strings.Contains(c.Use, " ")
		if takesArguments || !c.HasAvailableSubCommands() {
			fmt.Fprintf(b, "## %s\n\n", c.CommandPath())
			command(b, c, "", "", "")
		}
		commands(b, c)
	}
}

// command writes the usage, the help and the flags of one command.
func command(b *bytes.Buffer, c *cobra.Command, synopsis, description, options string) {
	heading(b, synopsis)
	usage := c.UseLine()
	if c.HasAvailableSubCommands() && !c.HasParent() && !strings.Contains(usage, "[serve]") {
		usage = c.Name() + " COMMAND [flags]"
	}
	fmt.Fprintf(b, "    %s\n\n", usage)
	heading(b, description)
	text := c.Long
	if text == "" {
		text = c.Short + "."
	}
	fmt.Fprintf(b, "%s\n\n", strings.TrimSpace(text))
	if c.Example != "" {
		fmt.Fprintf(b, "For example:\n\n%s\n\n", indent(c.Example))
	}
	c.InitDefaultHelpFlag()
	if flags := c.LocalFlags().FlagUsagesWrapped(100); flags != "" {
		heading(b, options)
		fmt.Fprintf(b, "%s\n", indent(flags))
	}
}

func heading(b *bytes.Buffer, text string) {
	if text != "" {
		fmt.Fprintf(b, "%s\n\n", text)
	}
}

// indent makes text a code block.
func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(strings.TrimRight(text, "\n") + "\n") {
		if strings.TrimSpace(line) != "" {
			b.WriteString("    ")
		}
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

func lower(s string) string { return strings.ToLower(s[:1]) + s[1:] }
