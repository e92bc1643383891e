// Package settings gives every flag of a program an environment variable and a key in a TOML
// file: --admin-listen is ATM_ADMIN_LISTEN and admin-listen. A flag overrides the variable,
// the variable the file, and the file the default.
package settings

import (
	"fmt"
	"os"
	"strings"

	"example.com/atm/cmd/internal/exit"
	"github.com/BurntSushi/toml"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// configFlag is the flag that names the file.
const configFlag = "config"

// notSettings are flags that only make sense on a command line.
var notSettings = map[string]bool{configFlag: true, "help": true, "version": true}

// AddConfig adds the flag --config.
func AddConfig(flags *pflag.FlagSet) {
	flags.String(configFlag, "", "TOML `file` with settings; its keys are the names of the flags")
}

// Variable is the environment variable of a flag.
func Variable(flag string) string {
	return "ATM_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// Apply sets the flags of cmd that the command line did not set, from the environment and from
// the file. A key in the file is an error if no command of the program has such a flag.
func Apply(cmd *cobra.Command) error {
	file, err := readFile(cmd)
	if err != nil {
		return err
	}
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || notSettings[f.Name] || failed != nil {
			return
		}
		if text, ok := os.LookupEnv(Variable(f.Name)); ok {
			failed = set(cmd.Flags(), f, text, Variable(f.Name))
			return
		}
		if value, ok := file[f.Name]; ok {
			failed = setTOML(cmd.Flags(), f, value)
		}
	})
	return failed
}

// Form returns the form that a command line asks for with --output, even if the command line
// is wrong otherwise: the error is printed in that form too.
func Form(root *cobra.Command, args []string) string {
	root.FParseErrWhitelist.UnknownFlags = true
	root.ParseFlags(args) // its errors have been reported already
	Apply(root)
	return root.Flags().Lookup("output").Value.String()
}

func readFile(cmd *cobra.Command) (map[string]any, error) {
	path, err := cmd.Flags().GetString(configFlag)
	if err != nil {
		return nil, err
	}
	if path == "" {
		path = os.Getenv(Variable(configFlag))
	}
	if path == "" {
		return nil, nil
	}
	var file map[string]any
	if _, err := toml.DecodeFile(path, &file); err != nil {
		return nil, exit.Usagef("%s: %w", path, err)
	}
	known := make(map[string]bool)
	collect(cmd.Root(), known)
	for key := range file {
		if !known[key] || notSettings[key] {
			return nil, exit.Usagef("%s: unknown key %q", path, key)
		}
	}
	return file, nil
}

// collect gathers the flags of cmd and of the commands below it.
func collect(cmd *cobra.Command, known map[string]bool) {
	note := func(f *pflag.Flag) { known[f.Name] = true }
	cmd.Flags().VisitAll(note)
	cmd.PersistentFlags().VisitAll(note)
	for _, sub := range cmd.Commands() {
		collect(sub, known)
	}
}

func setTOML(flags *pflag.FlagSet, f *pflag.Flag, value any) error {
	source := fmt.Sprintf("the key %q", f.Name)
	switch v := value.(type) {
	case string, bool, int64, float64:
		return set(flags, f, fmt.Sprint(v), source)
	case []any:
		list, ok := f.Value.(pflag.SliceValue)
		if !ok {
			return exit.Usagef("%s takes one value", source)
		}
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = fmt.Sprint(v[i])
		}
		if err := list.Replace(texts); err != nil {
			return exit.Usagef("%s: %w", source, err)
		}
		f.Changed = true
		return nil
	}
	return exit.Usagef("%s has a value of an unknown type", source)
}

func set(flags *pflag.FlagSet, f *pflag.Flag, text, source string) error {
	if err := flags.Set(f.Name, text); err != nil {
		return exit.Usagef("%s: %q is not a value for --%s", source, text, f.Name)
	}
	return nil
}
