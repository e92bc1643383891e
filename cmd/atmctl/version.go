package main

import (
	"example.com/atm/cmd/internal/exit"
	"example.com/atm/cmd/internal/version"
	"github.com/spf13/cobra"
)

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Say which program this is, and what it was built from",
		Args:  exit.Args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return version.Print(p.stdout, "atmctl", p.isJSON())
		},
	}
}
