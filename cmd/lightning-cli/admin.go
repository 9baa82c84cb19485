package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
)

// order is what one verb asks of the master.
type order func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) error

// adminVerb is a verb that gives one order and says what follows from it.
func (a *app) adminVerb(use, short, long string, count int, names string, make func(args []string) (order, string, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: arguments(count, count, names),
		RunE: func(cmd *cobra.Command, args []string) error {
			give, done, err := make(args)
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				if err := c.Admin(cmd.Context(), give); err != nil {
					return err
				}
				if a.json() {
					return a.printJSON(map[string]string{"done": done})
				}
				return a.printf("%s\n", done)
			})
		},
	}
}

// group is a verb that only has verbs below it.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{Use: use, Short: short, RunE: func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s needs a verb: see lightning-cli %s --help", use, use)
		}
		return usagef("unknown command %q of %s", args[0], use)
	}}
	g.AddCommand(verbs...)
	return g
}

func (a *app) stateVerb(verb, short, long, done string, state pb.NodeState) *cobra.Command {
	return a.adminVerb(verb+" NODE", short, long, 1, "NODE, a name or an id", func(args []string) (order, string, error) {
		return func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) error {
			_, err := admin.SetNodeState(ctx, &pb.SetNodeStateRequest{Node: args[0], State: state}, o...)
			return err
		}, fmt.Sprintf(done, args[0]), nil
	})
}

func (a *app) nodeCommand() *cobra.Command {
	list := a.nodesCommand()
	list.Use = "list"
	return group("node", "List, drain, take out and replace nodes; clear their caches", list, a.clearCacheCommand(),
		a.stateVerb("drain", "Take the leaderships from a node, which keeps its replicas",
			"Take the leaderships from a node and give it nothing new. Its replicas stay. Undrain takes it back.",
			"%s is being drained: see lightning-cli cluster status", pb.NodeState_NODE_STATE_DRAINING),
		a.stateVerb("undrain", "Take a node back that was drained or that was to leave",
			"Take a node back into service that was drained, or that is being decommissioned and still is in the map.",
			"%s is in service", pb.NodeState_NODE_STATE_ACTIVE),
		a.stateVerb("decommission", "Move the replicas of a node away and take it out for ever",
			"Move the replicas of a node to the others. When it holds none it leaves the map, and its data directory is\n"+
				"refused for ever. A replica of the cluster map moves as well.",
			"%s is being decommissioned: stop it when lightning-cli cluster status does not show it any more", pb.NodeState_NODE_STATE_DECOMMISSIONING),
		a.stateVerb("replace", "Declare a dead node lost, so that a new one may take its name",
			"Declare a node lost that is dead and will not come back. Its replicas are made again on other nodes at once,\n"+
				"its data directory is refused for ever, and a new node may start with its name.",
			"%s is declared lost: a new node may take its name", pb.NodeState_NODE_STATE_LOST),
	)
}

func shardID(text string) (uint64, error) {
	id, err := strconv.ParseUint(text, 10, 64)
	if err != nil || id == 0 {
		return 0, usagef("%q is not the id of a shard", text)
	}
	return id, nil
}

func (a *app) shardCommand() *cobra.Command {
	list := a.shardsCommand()
	list.Use = "list"
	return group("shard", "List shards, move their replicas and leaders, split them", list, a.explainCommand(), a.splitCommand(),
		a.adminVerb("move SHARD FROM TO", "Move a replica of a shard from one node to another",
			"Begin to move a replica of a shard from one node to another: the new one catches up, votes, and then the old\n"+
				"one goes. Balancing may move it again: see rebalance pause.", 3, "SHARD FROM TO",
			func(args []string) (order, string, error) {
				id, err := shardID(args[0])
				return func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) error {
					_, err := admin.MoveReplica(ctx, &pb.MoveReplicaRequest{ShardId: id, From: args[1], To: args[2]}, o...)
					return err
				}, fmt.Sprintf("shard %s moves from %s to %s: see lightning-cli cluster status", args[0], args[1], args[2]), err
			}),
		a.adminVerb("transfer-leader SHARD NODE", "Give the leadership of a shard to a node",
			"Give the leadership of a shard to a node that holds a voting replica, and prefer that node from now on.", 2, "SHARD NODE",
			func(args []string) (order, string, error) {
				id, err := shardID(args[0])
				return func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) error {
					_, err := admin.TransferLeader(ctx, &pb.TransferLeaderRequest{ShardId: id, Node: args[1]}, o...)
					return err
				}, fmt.Sprintf("%s leads shard %s", args[1], args[0]), err
			}),
	)
}

func (a *app) rebalanceCommand() *cobra.Command {
	verb := func(use, short, done string, paused bool) *cobra.Command {
		return a.adminVerb(use, short, short+".", 0, "none", func([]string) (order, string, error) {
			return func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) error {
				_, err := admin.SetRebalance(ctx, &pb.SetRebalanceRequest{Paused: paused}, o...)
				return err
			}, done, nil
		})
	}
	return group("rebalance", "Pause and resume moves that only even out the load",
		verb("pause", "Leave replicas and leaders where they are, but for repairs, drains and decommissions", "balancing is paused", true),
		verb("resume", "Even out replicas and leaders again", "balancing is resumed", false))
}

func (a *app) clusterCommand() *cobra.Command {
	return group("cluster", "Show what the master sees and does, and end upgrades", a.raiseVersionCommand(), &cobra.Command{
		Use: "status", Short: "Show nodes, what is under-replicated, what moves and what blocks it",
		Long: "Show the cluster as its master sees it: the nodes and what is wanted of them, the shards that have too few\n" +
			"replicas, the replicas that come and go with their progress, and what blocks them. KNOWS is the newest\n" +
			"cluster version that a node's build can work at.",
		Args: arguments(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				var s *pb.ClusterStatusResponse
				err := c.Admin(cmd.Context(), func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) (err error) {
					s, err = admin.ClusterStatus(ctx, &pb.ClusterStatusRequest{}, o...)
					return err
				})
				if err != nil {
					return err
				}
				return a.printCluster(clusterOf(s))
			})
		},
	})
}

func (a *app) raiseVersionCommand() *cobra.Command {
	return a.adminVerb("raise-version VERSION", "End an upgrade: let nodes write what the build before cannot read",
		"Raise the version of the cluster by one, when every node runs a build that knows it. Until then the nodes write nothing\n"+
			"that the build before cannot read, and each can go back to that; afterwards none can.", 1, "VERSION",
		func(args []string) (order, string, error) {
			version, err := strconv.ParseUint(args[0], 10, 32)
			if err != nil {
				err = usagef("%q is no version of a cluster", args[0])
			}
			return func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) error {
				_, err := admin.RaiseClusterVersion(ctx, &pb.RaiseClusterVersionRequest{Version: uint32(version)}, o...)
				return err
			}, fmt.Sprintf("the cluster is at version %s", args[0]), err
		})
}

// clusterView is the cluster as both outputs show it.
type clusterView struct {
	Master          string            `json:"master"`
	Revision        uint64            `json:"revision"`
	RebalancePaused bool              `json:"rebalance_paused"`
	ClusterVersion  uint32            `json:"cluster_version"`
	Nodes           []clusterNode     `json:"nodes"`
	UnderReplicated []uint64          `json:"under_replicated"`
	Silent          []uint64          `json:"silent"`
	Moving          []clusterMovement `json:"moving"`
	Splitting       []clusterSplit    `json:"splitting"`
	Planned         []string          `json:"planned"`
	Blocked         []string          `json:"blocked"`
}

type clusterNode struct {
	Name     string  `json:"name"`
	ID       string  `json:"id"`
	State    string  `json:"state"`
	Alive    bool    `json:"alive"`
	Down     float64 `json:"down_seconds"`
	Replicas uint32  `json:"replicas"`
	Leads    uint32  `json:"leads"`
	Zone     string  `json:"zone,omitempty"`
	HoldsMap bool    `json:"holds_map"`
	// Newest is the newest cluster version that its build knows.
	Newest uint32 `json:"newest_cluster_version"`
}

type clusterMovement struct {
	Shard uint64 `json:"shard"`
	Node  string `json:"node"`
	Phase string `json:"phase"`
	Have  uint64 `json:"have"`
	Want  uint64 `json:"want"`
}

func clusterOf(s *pb.ClusterStatusResponse) clusterView {
	v := clusterView{
		Revision: s.Revision, ClusterVersion: s.ClusterVersion, RebalancePaused: s.RebalancePaused, Nodes: []clusterNode{}, Moving: []clusterMovement{},
		UnderReplicated: append([]uint64{}, s.UnderReplicated...), Silent: append([]uint64{}, s.Silent...),
		Splitting: splitsOf(s), Planned: append([]string{}, s.Planned...), Blocked: append([]string{}, s.Blocked...),
	}
	names := make(map[string]string)
	for _, n := range s.Nodes {
		names[n.NodeId] = n.Name
		v.Nodes = append(v.Nodes, clusterNode{
			Name: n.Name, ID: n.NodeId, State: strings.ToLower(strings.TrimPrefix(n.State.String(), "NODE_STATE_")), Alive: n.Alive,
			Down: (time.Duration(n.DownMillis) * time.Millisecond).Seconds(), Replicas: n.Replicas, Leads: n.Leaders, Zone: n.Zone, HoldsMap: n.HoldsMap, Newest: n.NewestClusterVersion,
		})
	}
	v.Master = names[s.MasterId]
	for _, m := range s.Moving {
		v.Moving = append(v.Moving, clusterMovement{Shard: m.ShardId, Node: names[m.NodeId], Phase: m.Phase, Have: m.Have, Want: m.Want})
	}
	return v
}

func (a *app) printCluster(v clusterView) error {
	if a.json() {
		return a.printJSON(v)
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	// The writer keeps its first error until Flush.
	_, _ = fmt.Fprintf(table, "NODE\tSTATE\tALIVE\tREPLICAS\tLEADS\tMAP\tKNOWS\tZONE\n")
	for _, n := range v.Nodes {
		alive := "yes"
		if !n.Alive {
			alive = fmt.Sprintf("no, for %.0fs", n.Down)
		}
		holds := "-"
		if n.HoldsMap {
			holds = "yes"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%d\t%s\n", n.Name, n.State, alive, n.Replicas, n.Leads, holds, n.Newest, orDash(n.Zone))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	var lines []string
	lines = append(lines, "master: "+orDash(v.Master), fmt.Sprintf("cluster version: %d", v.ClusterVersion))
	if v.RebalancePaused {
		lines = append(lines, "balancing is paused")
	}
	if len(v.UnderReplicated) > 0 {
		lines = append(lines, fmt.Sprintf("too few replicas: shards %v", v.UnderReplicated))
	}
	if len(v.Silent) > 0 {
		lines = append(lines, fmt.Sprintf("no report of a leader: shards %v", v.Silent))
	}
	for _, m := range v.Moving {
		what := fmt.Sprintf("shard %d", m.Shard)
		if m.Shard == 0 {
			what = "the cluster map"
		}
		lines = append(lines, fmt.Sprintf("%s on %s: %s %s", what, m.Node, m.Phase, bar(m.Have, m.Want)))
	}
	for _, s := range v.Splitting {
		lines = append(lines, s.String())
	}
	for _, s := range v.Planned {
		lines = append(lines, "next: "+s)
	}
	for _, s := range v.Blocked {
		lines = append(lines, "waiting: "+s)
	}
	return a.printf("%s\n", strings.Join(lines, "\n"))
}

// bar shows how much of a log a replica has.
func bar(have, want uint64) string {
	if want == 0 {
		return ""
	}
	const width = 20
	full := int(min(have, want) * width / want)
	return fmt.Sprintf("[%s%s] %d %%", strings.Repeat("#", full), strings.Repeat(".", width-full), min(have, want)*100/want)
}
