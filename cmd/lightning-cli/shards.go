package main

import (
	"fmt"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
)

func (a *app) shardsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shards",
		Short: "Show every replica of every shard: slots, roles, how far each is behind",
		Long: "Show the slots of every shard, who leads it, who is to lead it when he is fit (PREFERRED: the\n" +
			"leaders are spread over the nodes so), and how far each of its replicas is. BEHIND counts the\n" +
			"entries that are committed, as far as any replica knows, and not applied here. A replica\n" +
			"whose node does not answer has dashes.\n\n" +
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
			v.Replicas = append(v.Replicas, replicaView{
				Node: names[member.GetNodeId()], Answers: found != nil, Role: found.GetRole(), Trouble: found.GetTrouble(), Term: found.GetTerm(),
				Commit: found.GetCommitIndex(), Applied: found.GetAppliedIndex(), Durable: found.GetDurableIndex(), DiskBytes: found.GetDiskBytes(),
			})
		}
		for i := range v.Replicas {
			if v.Replicas[i].Answers {
				v.Replicas[i].Behind = committed - v.Replicas[i].Applied
			}
		}
		list = append(list, v)
	}
	return list
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
