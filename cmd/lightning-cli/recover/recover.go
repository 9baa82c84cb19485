package recover

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/recovery"
)

// Env is what the verbs need of the program around them. All of it is set.
type Env struct {
	Printf func(format string, args ...any) error
	// WriteFile makes a file, whole or not at all.
	WriteFile func(name string, write func(io.Writer) error) error
	// Usage makes the error of a wrong command line.
	Usage func(format string, args ...any) error
	// Arguments checks how many there are.
	Arguments func(least, most int, names string) cobra.PositionalArgs
}

// maxFileBytes bounds what a file of collect or plan may have.
const maxFileBytes = 256 << 20

// maxNodes bounds the arguments of plan.
const maxNodes = 1024

// Command makes the group.
func Command(env Env) *cobra.Command {
	group := &cobra.Command{
		Use:   "recover",
		Short: "Bring a cluster back that has lost a majority for good",
		Long: "Bring a cluster back of which too few nodes are left, with all nodes stopped: collect on each that is left, plan once, read\n" +
			"what is lost, apply on each that is left, start them. The nodes that are lost must not come back; while one of the\n" +
			"majority can, start that one instead.",
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return env.Usage("no verb given")
			}
			return env.Usage("unknown verb %q", args[0])
		},
	}
	group.AddCommand(env.collect(), env.plan(), env.apply())
	return group
}

func (e Env) collect() *cobra.Command {
	return &cobra.Command{
		Use:   "collect DIR",
		Short: "Print what the data directory of a stopped node holds",
		Long:  "Print what the data directory of a stopped node holds, as JSON for recover plan. It has the cluster map, and no keys or values.",
		Args:  e.Arguments(1, 1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			v, err := recovery.Collect(recovery.Site{FS: vfs.OS(), Dir: args[0]})
			if err != nil {
				return err
			}
			data, err := json.MarshalIndent(v, "", "  ")
			if err != nil {
				return err
			}
			return e.Printf("%s\n", data)
		},
	}
}

func (e Env) plan() *cobra.Command {
	var file string
	var empty []uint
	cmd := &cobra.Command{
		Use:   "plan --plan FILE DIR-OR-COLLECTED...",
		Short: "Decide what becomes of each shard, and say what is lost",
		Long: "Decide from what was collected on all nodes that are left which replica each shard goes on with, write that as a plan\n" +
			"and print what may be lost. An argument is a file that recover collect printed, or a data directory here. Nodes that\n" +
			"are not among them are lost: they never come back. Nothing is changed.",
		Args: e.Arguments(1, maxNodes, "DIR-OR-COLLECTED..."),
		RunE: func(_ *cobra.Command, args []string) error {
			if file == "" {
				return e.Usage("--plan names no file")
			}
			var views []*recovery.View
			for _, arg := range args {
				v, err := read(arg)
				if err != nil {
					return err
				}
				views = append(views, v)
			}
			o := recovery.Options{}
			for _, shard := range empty {
				o.AcceptEmpty = append(o.AcceptEmpty, uint64(shard))
			}
			p, err := recovery.Make(views, o)
			if err != nil {
				return err
			}
			if err := e.WriteFile(file, func(w io.Writer) error { return json.NewEncoder(w).Encode(p) }); err != nil {
				return err
			}
			return e.Printf("%s", p.Text())
		},
	}
	cmd.Flags().StringVar(&file, "plan", "", "file that the plan is written to")
	cmd.Flags().UintSliceVar(&empty, "accept-empty", nil, "shards of which nothing is left, and that begin empty")
	return cmd
}

// read reads what was collected, or collects from a directory.
func read(name string) (*recovery.View, error) {
	if info, err := os.Stat(name); err != nil {
		return nil, err
	} else if info.IsDir() {
		return recovery.Collect(recovery.Site{FS: vfs.OS(), Dir: name})
	}
	data, err := vfs.ReadShortFile(vfs.OS(), name, maxFileBytes)
	if err != nil {
		return nil, err
	}
	v, err := recovery.ParseView(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

func (e Env) apply() *cobra.Command {
	var file, accept string
	cmd := &cobra.Command{
		Use:   "apply --plan FILE --accept PLAN-ID DIR",
		Short: "Change the data directory of a stopped node as a plan says",
		Long: "Change the data directory of a stopped node as a plan says, after printing what is lost. It is run on every node of the plan,\n" +
			"before any of them starts. A run that was cut short is run again; until it is done the node does not start. What was in\n" +
			"the directory before is kept inside it until you delete it.",
		Args: e.Arguments(1, 1, "DIR"),
		RunE: func(_ *cobra.Command, args []string) error {
			if file == "" {
				return e.Usage("--plan names no file")
			}
			data, err := vfs.ReadShortFile(vfs.OS(), file, maxFileBytes)
			if err != nil {
				return err
			}
			p, err := recovery.ParsePlan(data)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			if err := e.Printf("%s", p.Text()); err != nil {
				return err
			}
			old, err := recovery.Apply(recovery.Site{FS: vfs.OS(), Dir: args[0]}, p, accept)
			if err != nil {
				return err
			}
			return e.Printf("applied to %s; what was there before is in %s: delete it once the cluster is well\n", args[0], old)
		},
	}
	cmd.Flags().StringVar(&file, "plan", "", "file that recover plan wrote")
	cmd.Flags().StringVar(&accept, "accept", "", "id of the plan, as a sign that what it says is lost may be lost")
	return cmd
}
