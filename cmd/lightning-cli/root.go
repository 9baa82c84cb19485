package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
)

// environment is all that a command knows of the process it runs in.
type environment struct {
	args     []string
	stdin    io.Reader
	stdout   io.Writer
	stderr   io.Writer
	lookup   func(variable string) (string, bool)
	terminal bool // stdout is one

	stderrTerminal bool

	dial func(ctx context.Context, address string) (net.Conn, error) // nil is TCP
}

// app is one run of the program: its environment and the flags that all verbs share.
type app struct {
	environment
	address string
	timeout time.Duration
	output  string
	securityFlags

	dialed string // who was asked last, for error messages
}

const (
	defaultAddress  = "127.0.0.1:8379"
	addressVariable = "LIGHTNING_ADDR"

	// defaultTimeout is short enough for a person who mistyped an address, and longer than the
	// cluster needs to replace a leader.
	defaultTimeout = 5 * time.Second

	outputText = "text"
	outputJSON = "json"
)

// run executes one command line and returns the exit code.
func run(ctx context.Context, env environment) int {
	a := &app{environment: env}
	root := a.root()
	command, err := root.ExecuteContextC(ctx)
	if cause := context.Cause(ctx); cause != nil && exitCode(err) == exitUnavailable {
		err = cause // not the cluster: nothing is to be retried
	}
	a.report(command, err)
	return exitCode(err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "lightning-cli",
		Short: "Read, write and inspect a Lightning cluster",
		Long: "Read, write and inspect a Lightning cluster.\n\nExit codes: 0 done, 1 unexpected error, 2 wrong usage, 3 not found,\n" +
			"4 condition not met, 5 unavailable or timed out and nothing was executed,\n6 a write may or may not have been executed, 7 not allowed, or no valid password or certificate,\n" +
			"8 import: some lines were not written, 9 store, backup: something is damaged.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // so that a wrong verb reaches RunE
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("no command given")
			}
			return usagef("unknown command %q", args[0])
		},
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.check() },
	}
	root.SetArgs(append([]string{}, a.args...)) // nil would be the arguments of the process
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%w", err) })

	address := defaultAddress
	if v, ok := a.lookup(addressVariable); ok && v != "" {
		address = v
	}
	flags := root.PersistentFlags()
	flags.StringVar(&a.address, "addr", address, "gRPC addresses of one or more nodes, host:port,host:port (env "+addressVariable+")")
	flags.DurationVar(&a.timeout, "timeout", defaultTimeout, "give up after this; for a scan, the wait for each page")
	flags.StringVarP(&a.output, "output", "o", outputText, "text or json")
	a.register(flags, a.lookup)
	completeWith(root, "output", outputText, outputJSON)

	root.AddCommand(a.getCommand(), a.mgetCommand(), a.putCommand(), a.casCommand(), a.deleteCommand(),
		a.incrementCommand(), a.scanCommand(), a.exportCommand(), a.importCommand(), a.backupCommand(), a.restoreCommand(),
		a.statusCommand(), a.nodesCommand(), a.shardsCommand(), a.nodeCommand(), a.shardCommand(), a.rebalanceCommand(), a.clusterCommand(), a.benchCommand(), a.certsCommand(), a.storeCommand(), a.recoverCommand(), a.versionCommand())
	return root
}

// check refuses what is wrong with the shared flags.
func (a *app) check() error {
	if a.output != outputText && a.output != outputJSON {
		return usagef("--output is %q, want %s or %s", a.output, outputText, outputJSON)
	}
	if a.timeout <= 0 {
		return usagef("--timeout is %s, want more than 0", a.timeout)
	}
	return nil
}

func (a *app) json() bool { return a.output == outputJSON }

// connect makes the client; the caller closes it.
func (a *app) connect() (*client.Client, error) { return a.connectTo(a.address) }

func (a *app) connectTo(addresses string) (*client.Client, error) {
	o := client.Options{Addresses: strings.Split(addresses, ","), DefaultTimeout: a.timeout, Dialer: a.dial}
	if err := a.apply(&o); err != nil {
		return nil, err
	}
	a.dialed = addresses
	c, err := client.New(o)
	if err != nil {
		return nil, usagef("--addr: %w", err)
	}
	return c, nil
}

// withClient runs f with a client and closes it.
func (a *app) withClient(f func(*client.Client) error) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	err = f(c)
	if closeErr := c.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close the client: %w", closeErr)
	}
	return err
}

// completeWith lists the values of a flag for the shell.
func completeWith(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // there is no such flag: a mistake of this program that any test finds
	}
}

// arguments refuses another number of arguments than min to max; names describes them.
func arguments(least, most int, names string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("wrong number of arguments: %d, want %s", len(args), names)
		}
		return nil
	}
}
