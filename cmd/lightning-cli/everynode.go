package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/client"
)

// nodeTimeout is how long one of many nodes may take to say how it is.
const nodeTimeout = 2 * time.Second

// maxAsked bounds the nodes that are asked at a time.
const maxAsked = 32

// report is what the nodes of a cluster say.
type report struct {
	asked *pb.StatusResponse            // the node that --addr leads to
	said  map[string]*pb.StatusResponse // by node id; who did not answer is missing
}

// askEveryNode asks one node for the map and then all of the map what they run and hold.
func (a *app) askEveryNode(ctx context.Context, c *client.Client) (report, error) {
	first, err := c.Status(ctx)
	if err != nil {
		return report{}, err
	}
	r := report{asked: first, said: map[string]*pb.StatusResponse{first.GetNodeId(): first}}
	var mu sync.Mutex
	var asking sync.WaitGroup
	slots := make(chan struct{}, maxAsked)
	for _, n := range first.GetMap().GetNodes() {
		if n.GetId() == first.GetNodeId() {
			continue
		}
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			if s := a.askNode(ctx, n); s != nil {
				mu.Lock()
				defer mu.Unlock()
				r.said[n.GetId()] = s
			}
		})
	}
	asking.Wait()
	return r, nil
}

// askNode is nil when the node does not answer, or another one does at its address.
func (a *app) askNode(ctx context.Context, n *pb.Node) *pb.StatusResponse {
	var said *pb.StatusResponse
	_ = a.atNode(ctx, n, func(_ context.Context, _ *client.Client, s *pb.StatusResponse) error {
		said = s
		return nil
	})
	return said
}

// atNode talks to one node of the map, once it has said that it is that node.
func (a *app) atNode(ctx context.Context, n *pb.Node, talk func(context.Context, *client.Client, *pb.StatusResponse) error) error {
	ctx, cancel := context.WithTimeout(ctx, min(a.timeout, nodeTimeout))
	defer cancel()
	quiet := *a // errors of other nodes are no errors of the command
	c, err := quiet.connectTo(n.GetGrpcAddress())
	if err != nil {
		return err // the map has no address that can be dialed
	}
	defer func() { _ = c.Close() }() // what it said is here
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if s.GetNodeId() != n.GetId() {
		return api.Errorf(api.CodeUnavailable, "node %s does not answer at %s", n.GetName(), n.GetGrpcAddress())
	}
	return talk(ctx, c, s)
}

// clearedView is what a node has dropped, as both outputs show it.
type clearedView struct {
	Node       string `json:"node"`
	RowBytes   uint64 `json:"row_bytes"`
	BlockBytes uint64 `json:"block_bytes"`
}

func (a *app) clearCacheCommand() *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "clear-cache NODE...",
		Short: "Drop what nodes have cached of rows and blocks",
		Long: "Drop what nodes have cached of rows and blocks, and print how many bytes that were. Reads then read files\n" +
			"again, which takes longer until the caches have filled. Nothing else changes. With --all on every node.",
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usagef("clear-cache needs names or ids of nodes, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *client.Client) error { return a.clearCaches(cmd.Context(), c, args) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "on every node")
	return cmd
}

// clearCaches clears the caches of the nodes that are named, or of all. What was cleared is printed also when a node fails.
func (a *app) clearCaches(ctx context.Context, c *client.Client, names []string) error {
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	nodes := report{asked: s}.nodes()
	for _, name := range names {
		if !slices.ContainsFunc(nodes, func(n *pb.Node) bool { return n.GetName() == name || n.GetId() == name }) {
			return api.Errorf(api.CodeInvalid, "no node is called %q: see lightning-cli nodes", name)
		}
	}
	cleared := []clearedView{}
	var failed []error
	for _, n := range nodes {
		if len(names) > 0 && !slices.Contains(names, n.GetName()) && !slices.Contains(names, n.GetId()) {
			continue
		}
		err := a.atNode(ctx, n, func(ctx context.Context, c *client.Client, _ *pb.StatusResponse) error {
			r, err := c.ClearCaches(ctx)
			if err == nil {
				cleared = append(cleared, clearedView{n.GetName(), r.GetRowBytes(), r.GetBlockBytes()})
			}
			return err
		})
		if err != nil {
			failed = append(failed, fmt.Errorf("clear the caches of node %s: %w", n.GetName(), err))
		}
	}
	return errors.Join(append(failed, a.printCleared(cleared))...)
}

func (a *app) printCleared(cleared []clearedView) error {
	if a.json() {
		return a.printJSON(cleared)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tBYTES OF ROWS\tBYTES OF BLOCKS")
	for _, v := range cleared {
		fmt.Fprintf(w, "%s\t%d\t%d\n", v.Node, v.RowBytes, v.BlockBytes)
	}
	return w.Flush()
}

// replica is what a node says about one shard it holds.
func (r report) replica(node string, shard uint64) *pb.ReplicaStatus {
	for _, s := range r.said[node].GetReplicas() {
		if s.GetShardId() == shard {
			return s
		}
	}
	return nil
}

// nodes are those of the map by name.
func (r report) nodes() []*pb.Node {
	return slices.SortedFunc(slices.Values(r.asked.GetMap().GetNodes()), func(x, y *pb.Node) int { return cmp.Compare(x.GetName(), y.GetName()) })
}

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
