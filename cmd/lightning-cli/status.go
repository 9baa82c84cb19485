package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show nodes, shards, leaders and how many failures the cluster tolerates",
		Long: "Show nodes, shards, leaders and how many failures the cluster tolerates, as one node sees it:\n" +
			"one that --addr names, if one answers.",
		Args: arguments(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error { return a.status(cmd, c) })
		},
	}
}

func (a *app) status(cmd *cobra.Command, c *client.Client) error {
	s, err := c.Status(cmd.Context())
	if err != nil {
		return err
	}
	v := viewOf(s)
	if a.json() {
		return a.printJSON(v)
	}
	return a.printStatus(v)
}

// view is a status with names in the place of ids, as both outputs show it.
type view struct {
	Cluster           string      `json:"cluster,omitempty"`
	Revision          uint64      `json:"revision"`
	Node              string      `json:"node"` // which answered
	Version           string      `json:"version"`
	Ready             bool        `json:"ready"`
	NotReadyReason    string      `json:"not_ready_reason,omitempty"`
	Master            string      `json:"master,omitempty"`
	FailuresTolerated uint32      `json:"failures_tolerated"`
	Nodes             []nodeView  `json:"nodes"`
	Shards            []shardView `json:"shards"`
}

type nodeView struct {
	Name     string `json:"name"`
	ID       string `json:"id"`
	Liveness string `json:"liveness"`
	GRPC     string `json:"grpc"`
	RESP     string `json:"resp"`
	HTTP     string `json:"http"`
	Zone     string `json:"zone,omitempty"`
	Leads    int    `json:"leads"` // shards
}

type shardView struct {
	ID       uint64   `json:"id"`
	Start    uint32   `json:"start_slot"`
	End      uint32   `json:"end_slot"`
	Epoch    uint64   `json:"epoch"`
	Leader   string   `json:"leader,omitempty"`
	Replicas []string `json:"replicas"`
}

func viewOf(s *pb.StatusResponse) view {
	names := make(map[string]string)
	for _, n := range s.GetMap().GetNodes() {
		names[n.GetId()] = n.GetName()
	}
	name := func(id string) string {
		if n := names[id]; n != "" {
			return n
		}
		return id
	}
	leaders, leads := make(map[uint64]string), make(map[string]int)
	for _, l := range s.GetLeaders() {
		leaders[l.GetShardId()] = l.GetNodeId()
		leads[l.GetNodeId()]++
	}
	v := view{
		Cluster: s.GetMap().GetClusterId(), Revision: s.GetMap().GetRevision(), Node: s.GetName(),
		Version: s.GetVersion(), Ready: s.GetReady(), NotReadyReason: s.GetNotReadyReason(),
		Master: name(s.GetMasterId()), FailuresTolerated: s.GetFailuresTolerated(),
		Nodes: []nodeView{}, Shards: []shardView{},
	}
	for _, n := range s.GetMap().GetNodes() {
		v.Nodes = append(v.Nodes, nodeView{
			Name: n.GetName(), ID: n.GetId(), Liveness: liveness(s, n.GetId()), GRPC: n.GetGrpcAddress(),
			RESP: n.GetRespAddress(), HTTP: n.GetHttpAddress(), Zone: n.GetZone(), Leads: leads[n.GetId()],
		})
	}
	for _, shard := range s.GetMap().GetShards() {
		sv := shardView{
			ID: shard.GetId(), Start: shard.GetStartSlot(), End: shard.GetEndSlot(), Epoch: shard.GetEpoch(),
			Leader: name(leaders[shard.GetId()]), Replicas: []string{},
		}
		for _, r := range shard.GetReplicas() {
			sv.Replicas = append(sv.Replicas, name(r.GetNodeId()))
		}
		slices.Sort(sv.Replicas)
		v.Shards = append(v.Shards, sv)
	}
	slices.SortFunc(v.Nodes, func(a, b nodeView) int { return strings.Compare(a.Name, b.Name) })
	return v
}

func liveness(s *pb.StatusResponse, id string) string {
	for _, n := range s.GetNodes() {
		if n.GetNodeId() == id {
			return n.GetLiveness()
		}
	}
	return "unknown"
}

func (a *app) printStatus(v view) error {
	ready := "ready"
	if !v.Ready {
		ready = "NOT READY: " + orDash(v.NotReadyReason)
	}
	if err := a.printf("cluster    %s, map revision %d\nanswered   %s, version %s, %s\nmaster     %s\ntolerates  %s\n",
		orDash(v.Cluster), v.Revision, orDash(v.Node), v.Version, ready, orDash(v.Master), tolerance(v)); err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	// The writer keeps its first error until Flush.
	_, _ = fmt.Fprintf(table, "\nNODE\tSTATE\tLEADS\tGRPC\tRESP\tHTTP\tZONE\tID\n")
	for _, n := range v.Nodes {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n",
			n.Name, n.Liveness, n.Leads, n.GRPC, n.RESP, n.HTTP, orDash(n.Zone), n.ID)
	}
	_, _ = fmt.Fprintf(table, "\nSHARD\tSLOTS\tEPOCH\tLEADER\tREPLICAS\n")
	for _, s := range v.Shards {
		_, _ = fmt.Fprintf(table, "%d\t%d-%d\t%d\t%s\t%s\n",
			s.ID, s.Start, s.End-1, s.Epoch, orDash(s.Leader), strings.Join(s.Replicas, " "))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}

// tolerance says what failures_tolerated means in words, plainest where it is worst.
func tolerance(v view) string {
	lost := lostShards(v)
	switch {
	case len(v.Nodes) == 0:
		return "nothing yet: there is no cluster map"
	case len(lost) > 0:
		return fmt.Sprintf("NO FAILURE, and too many nodes have failed: not served until they return are %d of %d shards (%s)",
			len(lost), len(v.Shards), strings.Join(lost, ", "))
	case len(v.Nodes) == 1:
		return "NO FAILURE: there is one node; while it is down nothing is served, and its disk is the only copy"
	case v.FailuresTolerated == 0:
		return "NO FAILURE: if one more node fails, some shard stops serving"
	case v.FailuresTolerated == 1:
		return "the failure of 1 node"
	default:
		return fmt.Sprintf("the failure of %d nodes", v.FailuresTolerated)
	}
}

// lostShards are the shards without a majority of replicas that are up. A missing leader alone
// says less: a node that holds no replica of a shard may just not have asked for it.
func lostShards(v view) []string {
	down := make(map[string]bool)
	for _, n := range v.Nodes {
		down[n.Name] = n.Liveness == "dead" || n.Liveness == "left"
	}
	var lost []string
	for _, s := range v.Shards {
		up := 0
		for _, replica := range s.Replicas {
			if !down[replica] {
				up++
			}
		}
		if up <= len(s.Replicas)/2 && len(s.Replicas) > 0 {
			lost = append(lost, strconv.FormatUint(s.ID, 10))
		}
	}
	return lost
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
