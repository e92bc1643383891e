package exit

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// DidYouMean returns a suggestion to append to an error, such as "; did you mean list?". It is
// empty if word resembles none of the known words.
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

// NoCommand returns the error for a word that is no command below cmd.
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

// OnFlags turns errors about flags of cmd, and of the commands below it, into errors of usage,
// which suggest a flag.
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
