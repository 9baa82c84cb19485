package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/client"
)

func (a *app) nodesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "nodes",
		Short: "Show every node: where it is, whether it answers, what it runs and holds",
		Long: "Show every node of the cluster: its addresses and zone, what gossip believes of it, whether it\n" +
			"answers, its version, how many replicas it holds and how many shards it leads.\n\n" +
			"Each node is asked itself; one that does not answer shows what the others know.",
		Args: arguments(0, 0, "none"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *client.Client) error {
				r, err := a.askEveryNode(cmd.Context(), c)
				if err != nil {
					return err
				}
				return a.printNodes(nodesOf(r))
			})
		},
	}
}

// memberView is a node as both outputs show it.
type memberView struct {
	Name        string `json:"name"`
	ID          string `json:"id"`
	Zone        string `json:"zone,omitempty"`
	Liveness    string `json:"liveness"` // as gossip sees it
	Answers     bool   `json:"answers"`
	Ready       bool   `json:"ready"`
	Reason      string `json:"not_ready_reason,omitempty"`
	Version     string `json:"version,omitempty"`
	Replicas    int    `json:"replicas"` // that the map gives it
	Leads       int    `json:"leads"`
	GRPC        string `json:"grpc"`
	RESP        string `json:"resp"`
	RESPCluster string `json:"resp_cluster,omitempty"`
	HTTP        string `json:"http"`
}

func nodesOf(r report) []memberView {
	leads, replicas := make(map[string]int), make(map[string]int)
	for _, l := range r.asked.GetLeaders() {
		leads[l.GetNodeId()]++
	}
	for _, s := range r.asked.GetMap().GetShards() {
		for _, replica := range s.GetReplicas() {
			replicas[replica.GetNodeId()]++
		}
	}
	list := []memberView{}
	for _, n := range r.nodes() {
		said := r.said[n.GetId()]
		list = append(list, memberView{
			Name: n.GetName(), ID: n.GetId(), Zone: n.GetZone(), Liveness: liveness(r.asked, n.GetId()),
			Answers: said != nil, Ready: said.GetReady(), Reason: said.GetNotReadyReason(), Version: said.GetVersion(),
			Replicas: replicas[n.GetId()], Leads: leads[n.GetId()],
			GRPC: n.GetGrpcAddress(), RESP: n.GetRespAddress(), RESPCluster: n.GetRespClusterAddress(), HTTP: n.GetHttpAddress(),
		})
	}
	return list
}

func (a *app) printNodes(list []memberView) error {
	if a.json() {
		return a.printJSON(list)
	}
	table := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	// The writer keeps its first error until Flush.
	_, _ = fmt.Fprintf(table, "NODE\tGOSSIP\tSTATE\tVERSION\tREPLICAS\tLEADS\tZONE\tGRPC\tRESP\tHTTP\n")
	for _, n := range list {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", n.Name, n.Liveness, n.state(), orDash(n.Version),
			n.Replicas, n.Leads, orDash(n.Zone), n.GRPC, n.RESP, n.HTTP)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	for _, n := range list {
		if n.Reason != "" {
			if err := a.printf("%s is not ready: %s\n", n.Name, n.Reason); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n memberView) state() string {
	switch {
	case !n.Answers:
		return "SILENT"
	case !n.Ready:
		return "NOT READY"
	default:
		return "ready"
	}
}
