package exit

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// DidYouMean asks, in a form to put behind a sentence, whether one of the known words was
// meant by word. It is empty when none of them resembles it.
func DidYouMean(word string, known ...string) string {
	if word == "" {
		return ""
	}
	var like cobra.Command // what cobra says of commands is good for any words
	for _, k := range known {
		like.AddCommand(&cobra.Command{Use: k, Run: func(*cobra.Command, []string) {}})
	}
	like.SuggestionsMinimumDistance = 2
	meant := like.SuggestionsFor(word)
	if len(meant) == 0 {
		return ""
	}
	slices.Sort(meant)
	return "; did you mean " + strings.Join(meant, " or ") + "?"
}

// NoCommand refuses a word where cmd has no such command.
func NoCommand(cmd *cobra.Command, word string) error {
	var known []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			known = append(known, c.Name())
		}
	}
	if meant := DidYouMean(word, known...); meant != "" {
		return Usagef("there is no command %q%s", word, meant)
	}
	return Usagef("there is no command %q; see %s --help", word, cmd.CommandPath())
}

// OnFlags makes what is wrong with the flags of cmd and of the commands below it an error
// of usage, which names the flag that may have been meant.
func OnFlags(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		var unknown *pflag.NotExistError
		if !errors.As(err, &unknown) {
			return Usagef("%w", err)
		}
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
		return Usagef("%w%s", err, DidYouMean("--"+unknown.GetSpecifiedName(), known...))
	})
}
