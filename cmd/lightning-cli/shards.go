package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
)

func (a *app) shardsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shards",
		Short: "Show every replica of every shard: slots, roles, how far each is behind",
		Long: "Show the slots of every shard, who leads it, who is to lead it when he is fit (PREFERRED: the\n" +
			"leaders are spread over the nodes so), and how far each of its replicas is. BEHIND counts the\n" +
			"entries that are committed, as far as any replica knows, and not applied here. A replica\n" +
			"whose node does not answer has dashes. A replica that is not open is \"stopped\". Those\n" +
			"that the map does not give to their nodes any more are shown until they are deleted. What is wrong with a replica\n" +
			"stands below the table.\n\n" +
			"The nodes are asked one after another, so a busy shard shows small numbers.",
		Args: arguments(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				r, err := a.askEveryNode(cmd.Context(), c)
				if err != nil {
					return err
				}
				return a.printShards(shardsOf(r))
			})
		},
	}
}

// arcView is a shard with its replicas.
type arcView struct {
	ID     uint64 `json:"id"`
	Start  uint32 `json:"start_slot"`
	End    uint32 `json:"end_slot"`
	Epoch  uint64 `json:"epoch"`
	Leader string `json:"leader,omitempty"`
	// Preferred is who is to lead it when it is fit.
	Preferred string        `json:"preferred_leader,omitempty"`
	Replicas  []replicaView `json:"replicas"`
}

type replicaView struct {
	Node string `json:"node"`
	// Answers is false when the node, or this replica on it, says nothing; then the rest is unknown.
	Answers   bool   `json:"answers"`
	Role      string `json:"role,omitempty"`
	Trouble   string `json:"trouble,omitempty"` // what is wrong with the replica
	Term      uint64 `json:"term"`
	Commit    uint64 `json:"commit_index"`
	Applied   uint64 `json:"applied_index"`
	Durable   uint64 `json:"durable_index"`
	Behind    uint64 `json:"behind"`
	DiskBytes uint64 `json:"disk_bytes"`
}

func shardsOf(r report) []arcView {
	names, leaders := make(map[string]string), make(map[uint64]string)
	for _, n := range r.nodes() {
		names[n.GetId()] = n.GetName()
	}
	for _, l := range r.asked.GetLeaders() {
		leaders[l.GetShardId()] = names[l.GetNodeId()]
	}
	list := []arcView{}
	for _, s := range r.asked.GetMap().GetShards() {
		v := arcView{
			ID: s.GetId(), Start: s.GetStartSlot(), End: s.GetEndSlot(), Epoch: s.GetEpoch(),
			Leader: leaders[s.GetId()], Replicas: []replicaView{},
		}
		switch members := s.GetReplicas(); { // as the nodes take the map
		case s.GetPreferredLeader() != "":
			v.Preferred = names[s.GetPreferredLeader()]
		case len(members) > 0:
			v.Preferred = names[members[0].GetNodeId()]
		}
		committed := uint64(0)
		for _, member := range s.GetReplicas() {
			found := r.replica(member.GetNodeId(), s.GetId())
			committed = max(committed, found.GetCommitIndex(), found.GetAppliedIndex())
			v.Replicas = append(v.Replicas, replicaViewOf(names[member.GetNodeId()], found))
		}
		v.Replicas = append(v.Replicas, r.unlisted(s, names)...)
		for i := range v.Replicas {
			if v.Replicas[i].Answers {
				v.Replicas[i].Behind = committed - min(committed, v.Replicas[i].Applied)
			}
		}
		list = append(list, v)
	}
	return list
}

// unlisted are the replicas of a shard that nodes have and that the map does not give to them.
func (r report) unlisted(s *pb.Shard, names map[string]string) (list []replicaView) {
	for _, n := range r.nodes() {
		found := r.replica(n.GetId(), s.GetId())
		if found != nil && !slices.ContainsFunc(s.GetReplicas(), func(x *pb.Replica) bool { return x.GetNodeId() == n.GetId() }) {
			list = append(list, replicaViewOf(names[n.GetId()], found))
		}
	}
	return list
}

// replicaViewOf is what a node says of a replica, nil if it says nothing.
func replicaViewOf(node string, found *pb.ReplicaStatus) replicaView {
	return replicaView{
		Node: node, Answers: found != nil, Role: found.GetRole(), Trouble: found.GetTrouble(), Term: found.GetTerm(),
		Commit: found.GetCommitIndex(), Applied: found.GetAppliedIndex(), Durable: found.GetDurableIndex(), DiskBytes: found.GetDiskBytes(),
	}
}

func (a *app) printShards(list []arcView) error {
	if a.json() {
		return a.printJSON(list)
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	// The writer keeps its first error until Flush.
	_, _ = fmt.Fprintf(table, "SHARD\tSLOTS\tEPOCH\tLEADER\tPREFERRED\tREPLICA\tROLE\tTERM\tCOMMIT\tAPPLIED\tBEHIND\tDURABLE\tDISK\n")
	for _, s := range list {
		shard := fmt.Sprintf("%d\t%d-%d\t%d\t%s\t%s", s.ID, s.Start, s.End-1, s.Epoch, orDash(s.Leader), orDash(s.Preferred))
		for _, r := range s.Replicas {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", shard, r.Node, r.columns())
			shard = "\t\t\t\t" // once for all of its replicas
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	for _, s := range list {
		for _, r := range s.Replicas {
			if r.Trouble == "" {
				continue
			}
			if _, err := fmt.Fprintf(a.stdout, "shard %d on %s: %s\n", s.ID, r.Node, r.Trouble); err != nil {
				return fmt.Errorf("write the result: %w", err)
			}
		}
	}
	return nil
}

func (r replicaView) columns() string {
	if !r.Answers {
		return "-\t-\t-\t-\t-\t-\t-"
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	return r.Role + "\t" + number(r.Term) + "\t" + number(r.Commit) + "\t" + number(r.Applied) + "\t" +
		number(r.Behind) + "\t" + number(r.Durable) + "\t" + byteText(r.DiskBytes)
}

func (a *app) splitCommand() *cobra.Command {
	at := uint32(0)
	cmd := &cobra.Command{
		Use: "split SHARD", Short: "Split a shard in two, while it serves",
		Long: "Split a shard in two, while it serves: a new shard gets the slots from --at on, by default the upper half. It begins on\n" +
			"the nodes of the old one, and balancing moves it away from there. A split that has begun is not taken back, and\n" +
			"shards are not joined again.",
		Args: arguments(1, 1, "SHARD, its id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := shardID(args[0])
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error { return a.split(cmd.Context(), c, id, at) })
		},
	}
	cmd.Flags().Uint32Var(&at, "at", 0, "the first slot of the new shard; 0 is the middle")
	return cmd
}

func (a *app) split(ctx context.Context, c *client.Client, id uint64, at uint32) error {
	if at == 0 {
		var err error
		if at, err = middle(ctx, c, id); err != nil {
			return err
		}
	}
	var r *pb.SplitShardResponse
	err := c.Admin(ctx, func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) (err error) {
		r, err = admin.SplitShard(ctx, &pb.SplitShardRequest{ShardId: id, AtSlot: at}, o...)
		return err
	})
	if err != nil {
		return err
	}
	v := clusterSplit{Shard: id, Child: r.ChildId, At: r.AtSlot}
	if a.json() {
		return a.printJSON(v)
	}
	return a.printf("shard %d is being split: slots from %d on go to shard %d: see lightning-cli cluster status\n", v.Shard, v.At, v.Child)
}

// middle finds where a shard is split by default. The order itself names the slot, so that it may be repeated. If a
// split of the shard is under way that one is meant.
func middle(ctx context.Context, c *client.Client, id uint64) (uint32, error) {
	s, err := c.Status(ctx)
	if err != nil {
		return 0, err
	}
	for _, shard := range s.GetMap().GetShards() {
		if shard.Id != id {
			continue
		}
		if shard.Split != nil {
			return shard.Split.AtSlot, nil
		}
		return shard.StartSlot + (shard.EndSlot-shard.StartSlot)/2, nil
	}
	return 0, usagef("the cluster has no shard %d: see lightning-cli shard list", id)
}

// clusterSplit is a shard that is being split, as both outputs show it.
type clusterSplit struct {
	Shard uint64 `json:"shard"`
	Child uint64 `json:"new_shard"`
	At    uint32 `json:"at_slot"`
}

func splitsOf(s *pb.ClusterStatusResponse) []clusterSplit {
	list := []clusterSplit{}
	for _, x := range s.Splitting {
		list = append(list, clusterSplit{Shard: x.ShardId, Child: x.ChildId, At: x.AtSlot})
	}
	return list
}

// String is its line in the status.
func (s clusterSplit) String() string {
	return fmt.Sprintf("shard %d: being split at slot %d into shard %d", s.Shard, s.At, s.Child)
}

func (a *app) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain SHARD", Short: "Say why the replicas of a shard are where they are, who should lead it, and what comes next",
		Long: "Say, as the master sees it, why each replica of a shard is on its node and none is on the others, who should lead the\n" +
			"shard and why, the next step that is planned for it, and what it waits for. CLAIM is the rank of the node among all by\n" +
			"rendezvous hashing; HOLDS is how many replicas of all shards the node holds when what was begun is finished, and how\n" +
			"many it may hold before balancing moves one; LOAD is its load in percent of the fair one.",
		Args: arguments(1, 1, "SHARD, its id"),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := shardID(args[0])
			if err != nil {
				return err
			}
			return a.withClient(func(c *client.Client) error {
				var r *pb.ExplainShardResponse
				err := c.Admin(cmd.Context(), func(ctx context.Context, admin pb.AdminClient, o ...grpc.CallOption) (err error) {
					r, err = admin.ExplainShard(ctx, &pb.ExplainShardRequest{ShardId: id}, o...)
					return err
				})
				if err != nil {
					return err
				}
				return a.printExplanation(explanationOf(r))
			})
		},
	}
}

// explanation is what is known of a shard, as both outputs show it.
type explanation struct {
	Shard     uint64      `json:"shard"`
	Start     uint32      `json:"start_slot"`
	End       uint32      `json:"end_slot"`
	Want      uint32      `json:"replicas_wanted"`
	ZoneLimit uint32      `json:"zone_limit"`
	DiskBytes uint64      `json:"disk_bytes"`
	Leader    string      `json:"leader,omitempty"`
	LeaderWhy string      `json:"leader_why"`
	Nodes     []placeView `json:"nodes"`
	Next      string      `json:"next,omitempty"`
	Waiting   []string    `json:"waiting"`
}

type placeView struct {
	Node     string `json:"node"`
	Zone     string `json:"zone,omitempty"`
	Holds    bool   `json:"holds"`
	Claim    uint32 `json:"claim,omitempty"`
	Replicas uint32 `json:"replicas"`
	Least    uint32 `json:"least"`
	Most     uint32 `json:"most"`
	Load     uint32 `json:"load_percent"`
	Why      string `json:"why"`
}

func explanationOf(r *pb.ExplainShardResponse) explanation {
	v := explanation{
		Shard: r.ShardId, Start: r.StartSlot, End: r.EndSlot, Want: r.Want, ZoneLimit: r.ZoneLimit, DiskBytes: r.DiskBytes,
		LeaderWhy: r.LeaderWhy, Nodes: []placeView{}, Next: r.Next, Waiting: append([]string{}, r.Waiting...),
	}
	for _, p := range r.Places {
		name := p.Name
		if name == "" {
			name = p.NodeId
		}
		if p.NodeId == r.LeaderId {
			v.Leader = name
		}
		v.Nodes = append(v.Nodes, placeView{
			Node: name, Zone: p.Zone, Holds: p.Holds, Claim: p.Claim, Replicas: p.Replicas, Least: p.Least, Most: p.Most, Load: p.LoadPercent, Why: p.Why,
		})
	}
	return v
}

func (a *app) printExplanation(v explanation) error {
	if a.json() {
		return a.printJSON(v)
	}
	if err := a.printf("shard %d, slots %d-%d, %s: %d replicas wanted, at most %d in a zone\n",
		v.Shard, v.Start, v.End-1, byteText(v.DiskBytes), v.Want, v.ZoneLimit); err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	// The writer keeps its first error until Flush.
	_, _ = fmt.Fprintf(table, "NODE\tZONE\tREPLICA\tCLAIM\tHOLDS\tLOAD\tWHY\n")
	for _, n := range v.Nodes {
		replica, figures := "no", "-\t-\t-"
		if n.Holds {
			replica = "yes"
		}
		if n.Claim > 0 {
			figures = fmt.Sprintf("%d\t%d (%d-%d)\t%d %%", n.Claim, n.Replicas, n.Least, n.Most, n.Load)
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", n.Node, orDash(n.Zone), replica, figures, n.Why)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	text := "leader: " + v.LeaderWhy + "\n"
	if v.Next != "" {
		text += "next: " + v.Next + "\n"
	}
	for _, w := range v.Waiting {
		text += "waiting: " + w + "\n"
	}
	return a.printf("%s", text)
}
