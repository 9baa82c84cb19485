package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
)

// Dial connects to a node's gRPC port. Messages may have any size: what is too large is for the node to say.
func Dial(address string, options ...grpc.DialOption) (*grpc.ClientConn, error) {
	const any = 1 << 30
	return grpc.NewClient("passthrough:///"+address, append([]grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(any), grpc.MaxCallSendMsgSize(any)),
	}, options...)...)
}

// Status asks the node what it sees.
func (n *Node) Status(ctx context.Context) (*pb.StatusResponse, error) {
	conn, err := Dial(n.GRPC, n.secure.DialOptions()...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, err := pb.NewClusterClient(conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return nil, fmt.Errorf("status of %s: %w", n.Name, err)
	}
	return status, nil
}

// MustStatus is Status, asked for until the node answers.
func (n *Node) MustStatus() (status *pb.StatusResponse) {
	n.t.Helper()
	Eventually(n.t, time.Minute, "status of "+n.Name, func() (err error) {
		status, err = n.Status(context.Background())
		return err
	})
	return status
}

// Leaders maps each shard to the node that leads it: of those that say so of themselves, the one
// with the highest term. Nodes that do not answer are left out.
func (c *Cluster) Leaders(ctx context.Context) map[uint64]*Node {
	leaders, _ := c.leaders(ctx)
	return leaders
}

// leaders also returns why nodes were left out.
func (c *Cluster) leaders(ctx context.Context) (map[uint64]*Node, error) {
	answers := make([]*pb.StatusResponse, len(c.Nodes))
	problems := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		if n.answers() {
			wg.Go(func() { answers[i], problems[i] = n.Status(ctx) })
		}
	}
	wg.Wait()
	leaders := make(map[uint64]*Node)
	terms := make(map[uint64]uint64)
	for i, a := range answers {
		for _, r := range a.GetReplicas() {
			if r.Role == "leader" && r.Term > terms[r.ShardId] {
				leaders[r.ShardId], terms[r.ShardId] = c.Nodes[i], r.Term
			}
		}
	}
	return leaders, errors.Join(problems...)
}

// LeaderOfMost waits until every shard has a leader and returns the node that leads most shards,
// with those shards. The meta group, if it is reported, is shard 0 and does not count.
func (c *Cluster) LeaderOfMost(limit time.Duration) (*Node, []uint64) {
	c.t.Helper()
	led := make(map[*Node][]uint64)
	Eventually(c.t, limit, "a leader for every shard", func() error {
		clear(led)
		leaders, problem := c.leaders(context.Background())
		shards, err := c.shards(context.Background())
		if err != nil {
			return err
		}
		for _, s := range shards {
			if leaders[s] == nil {
				return errors.Join(fmt.Errorf("shard %d has no leader", s), problem)
			}
			led[leaders[s]] = append(led[leaders[s]], s)
		}
		return nil
	})
	var most *Node
	for _, n := range c.Nodes {
		if most == nil || len(led[n]) > len(led[most]) {
			most = n
		}
	}
	return most, led[most]
}

// shards lists the shards of the map that the first node to answer has.
func (c *Cluster) shards(ctx context.Context) ([]uint64, error) {
	err := fmt.Errorf("no node runs")
	for _, n := range c.Running() {
		var status *pb.StatusResponse
		if status, err = n.Status(ctx); err != nil {
			continue
		}
		var out []uint64
		for _, s := range status.GetMap().GetShards() {
			out = append(out, s.Id)
		}
		if len(out) == 0 {
			err = fmt.Errorf("%s has no cluster map", n.Name)
			continue
		}
		return out, nil
	}
	return nil, err
}

// Table is the routing table of the first node that answers.
func (c *Cluster) Table() *router.Table {
	c.t.Helper()
	var table *router.Table
	Eventually(c.t, time.Minute, "a cluster map", func() error {
		for _, n := range c.Running() {
			status, err := n.Status(context.Background())
			if err != nil {
				continue
			}
			table, err = router.NewTable(status.GetMap())
			return err
		}
		return fmt.Errorf("no node answers")
	})
	return table
}

// preferredLead fails unless every shard is led by the first node of its placement, to which leaders
// hand over when all is well: from then on nothing moves by itself.
func (c *Cluster) preferredLead(ctx context.Context) error {
	status, err := c.Nodes[0].Status(ctx)
	if err != nil {
		return err
	}
	leaders := map[uint64]string{}
	for _, l := range status.GetLeaders() {
		leaders[l.GetShardId()] = l.GetNodeId()
	}
	for _, s := range status.GetMap().GetShards() {
		if want := s.GetReplicas()[0].GetNodeId(); leaders[s.GetId()] != want {
			return fmt.Errorf("shard %d is led by %q, not by %q", s.GetId(), leaders[s.GetId()], want)
		}
	}
	return nil
}

// Terms maps each shard to the highest term in which a node leads it. Equal terms before and after
// mean that no leadership moved between.
func (c *Cluster) Terms(ctx context.Context) map[uint64]uint64 {
	terms := map[uint64]uint64{}
	for _, n := range c.Running() {
		status, err := n.Status(ctx)
		if err != nil {
			continue
		}
		for _, r := range status.GetReplicas() {
			terms[r.GetShardId()] = max(terms[r.GetShardId()], r.GetTerm())
		}
	}
	return terms
}

// WaitLeaderMoves waits until shard is led by another node than old.
func (c *Cluster) WaitLeaderMoves(shard uint64, old *Node, limit time.Duration) *Node {
	c.t.Helper()
	var now *Node
	Eventually(c.t, limit, fmt.Sprintf("another leader than %s for shard %d", old.Name, shard), func() error {
		if now = c.Leaders(context.Background())[shard]; now == nil || now == old {
			return fmt.Errorf("leader is %v", name(now))
		}
		return nil
	})
	return now
}

func name(n *Node) string {
	if n == nil {
		return "nobody"
	}
	return n.Name
}
