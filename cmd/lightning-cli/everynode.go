package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

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
	ctx, cancel := context.WithTimeout(ctx, min(a.timeout, nodeTimeout))
	defer cancel()
	quiet := *a // errors of other nodes are no errors of the command
	c, err := quiet.connectTo(n.GetGrpcAddress())
	if err != nil {
		return nil // the map has no address that can be dialed
	}
	defer func() { _ = c.Close() }() // what it said is here
	s, err := c.Status(ctx)
	if err != nil || s.GetNodeId() != n.GetId() {
		return nil
	}
	return s
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
