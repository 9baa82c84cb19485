package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/lightning-db/lightning/internal/node"
)

const usage = `Lightning DB: a replicated, sharded, strongly consistent key-value store.

Usage:
  lightning-node start --data-dir DIR [flags]   run one node
  lightning-node dev [flags]                    run three nodes on loopback
  lightning-node version [--output json]        print the version and what it was built from

Run a command with --help for its flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals()...)
	// A disk that hangs can keep an orderly end from coming: the second signal ends the process.
	context.AfterFunc(ctx, stop)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "lightning-node:", err)
	}
	os.Exit(node.ExitCode(err))
}

// stopSignals end a command in order. The hangup of a terminal that is closed is one, or dev would
// leave its temporary directory behind, unless nohup says to live on.
func stopSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(stderr, usage)
		return &node.ConfigError{Problems: []string{"no command given"}}
	}
	switch args[0] {
	case "start":
		return start(ctx, args[1:], stdout, stderr)
	case "dev":
		return dev(ctx, args[1:], stdout)
	case "version", "--version":
		return printVersion(args[1:], stdout)
	case "help", "--help", "-h":
		fmt.Fprint(stdout, usage)
		return nil
	}
	fmt.Fprint(stderr, usage)
	return &node.ConfigError{Problems: []string{fmt.Sprintf("unknown command %q", args[0])}}
}

func start(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	config, err := node.LoadConfig(args, os.LookupEnv)
	if errors.Is(err, pflag.ErrHelp) {
		node.Usage(stdout)
		return nil
	}
	if err != nil {
		return err
	}
	return node.Run(ctx, config, stderr)
}
