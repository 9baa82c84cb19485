package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/pflag"

	"github.com/lightning-db/lightning/internal/build"
	"github.com/lightning-db/lightning/internal/node"
)

func printVersion(args []string, stdout io.Writer) error {
	fs := pflag.NewFlagSet("lightning-node version", pflag.ContinueOnError)
	fs.Usage = func() { fmt.Fprintf(stdout, "Usage: lightning-node version [flags]\n\n%s", fs.FlagUsages()) }
	output := fs.String("output", "text", "text or json")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return nil
	case err == nil && fs.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", fs.Arg(0))
	case err == nil && *output != "text" && *output != "json":
		err = fmt.Errorf("--output is %q, want text or json", *output)
	}
	if err != nil {
		return &node.ConfigError{Problems: []string{err.Error()}}
	}
	if *output == "json" {
		return json.NewEncoder(stdout).Encode(build.Current())
	}
	_, err = fmt.Fprintln(stdout, build.Current().Line("lightning-node"))
	return err
}
