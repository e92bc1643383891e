package main

import (
	"io"

	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/settings"
	"github.com/spf13/cobra"
)

const noFile = cobra.ShellCompDirectiveNoFileComp

// completion writes a script that completes the command line in a shell.
func completion(cmd *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		return cmd.GenBashCompletionV2(w, true)
	case "zsh":
		return cmd.GenZshCompletion(w)
	case "fish":
		return cmd.GenFishCompletion(w, true)
	}
	return exit.Usagef("there is completion for bash, zsh and fish, not for %q%s", shell,
		exit.DidYouMean(shell, "bash", "zsh", "fish"))
}

// complete proposes operations where one is expected, and the second word of those that have
// two.
func (o *options) complete(cmd *cobra.Command, args []string, _ string) ([]string,
	cobra.ShellCompDirective,
) {
	if err := settings.Apply(cmd); err != nil {
		return nil, noFile
	}
	way, err := o.sign.Way()
	switch profile := err == nil && way.Server != ""; {
	case len(args) == 2 && !(profile && len(secondWords(args[0])) > 0), len(args) == 0 && profile:
		return operationNames(), noFile
	case len(args) == 3:
		return secondWords(args[2]), noFile
	case len(args) == 1 && profile:
		return secondWords(args[0]), noFile
	}
	return nil, noFile
}

// completeOn proposes days of the week.
func completeOn(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	if every := cmd.Flag("every"); every != nil && every.Value.String() == "week" {
		return []string{
			"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday",
		}, noFile
	}
	return nil, noFile
}

// completeProfile proposes the names of the profiles.
func (o *options) completeProfile(cmd *cobra.Command, _ []string, _ string) ([]string,
	cobra.ShellCompDirective,
) {
	if err := settings.Apply(cmd); err != nil {
		return nil, noFile
	}
	return o.sign.Names(), noFile
}
