package main

import (
	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/internal/build"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Long: "Print the version of this program and what it was built from. What the nodes run is in\n" +
			"the output of nodes and status.",
		Args: arguments(0, 0, "none"),
		RunE: func(*cobra.Command, []string) error {
			if a.json() {
				return a.printJSON(build.Current())
			}
			return a.printf("%s\n", build.Current().Line("lightning-cli"))
		},
	}
}
