package server

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/router"
)

// Count counts the keys of a namespace on all shards in parallel. Each shard's count is
// linearizable at its own time. It reads every key, so it takes long on a large store.
func (s *Server) Count(ctx context.Context, ns api.Namespace) (uint64, error) {
	if err := checkNamespace(ns); err != nil {
		return 0, err
	}
	table := s.opts.Router.Table()
	if table == nil {
		return 0, errNoMap()
	}
	ctx, leave, err := s.gate.enter(ctx, 0)
	if err != nil {
		return 0, err
	}
	defer leave()
	ctx, cancel := s.withDeadline(ctx)
	defer cancel()
	var total atomic.Uint64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxParallelPages)
	for _, sh := range table.Shards() {
		g.Go(func() error {
			count, err := s.countArc(ctx, sh.Arc, ns)
			total.Add(count)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return total.Load(), nil
}

// countArc counts the keys of an arc, shard by shard, because it may have been split since the
// caller looked. A shard answers only at the epoch of the map, so what it counted is the map's arc.
func (s *Server) countArc(ctx context.Context, arc router.Arc, ns api.Namespace) (uint64, error) {
	total := uint64(0)
	for slot := arc.Start; slot < arc.End; {
		err := s.route(ctx, api.Slot(slot), read, func(ctx context.Context, at place) error {
			count, err := s.count(ctx, at, ns)
			if err == nil {
				total += count
				slot = at.shard.Arc.End
			}
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	return total, nil
}

// Leaders are the leaders of all shards as this node believes, but for those it knows nothing of.
func (s *Server) Leaders() []*pb.ShardLeader {
	table := s.opts.Router.Table()
	if table == nil {
		return nil
	}
	var leaders []*pb.ShardLeader
	for _, sh := range table.Shards() {
		if leader, _ := s.leaderOf(sh.ID); leader != "" {
			leaders = append(leaders, &pb.ShardLeader{ShardId: uint64(sh.ID), NodeId: string(leader)})
		}
	}
	return leaders
}

// Map is the cluster map as this node knows it, nil before the cluster has formed. Callers must
// not change it.
func (s *Server) Map() *pb.ClusterMap { return s.opts.View.Map() }

// Status reports what this node sees.
func (s *Server) Status() *pb.StatusResponse {
	res := &pb.StatusResponse{
		NodeId: string(s.opts.Node), Name: s.opts.Name, Version: s.opts.Version,
		Map: s.opts.View.Map(), Leaders: s.Leaders(), MasterId: string(s.opts.View.Master()),
		Replicas: s.opts.Replicas(), Nodes: s.opts.Liveness(),
	}
	if err := s.Ready(); err != nil {
		// A group without a leader knows of a loss before gossip does.
		res.NotReadyReason = err.Error()
		return res
	}
	res.Ready = true
	res.FailuresTolerated = failuresTolerated(res.Map, res.Nodes)
	return res
}

// Alive is the error that stopped this node's storage, nil while it is well.
func (s *Server) Alive() error { return s.opts.Failed() }

// Ready says why this node should get no requests, nil when it should: it knows the map, holds
// every replica that the map gives it, and the group of each has a leader.
func (s *Server) Ready() error {
	if err := s.opts.Failed(); err != nil {
		return fmt.Errorf("storage failed: %w", err)
	}
	table := s.opts.Router.Table()
	if table == nil {
		return fmt.Errorf("the cluster has not formed: no cluster map yet")
	}
	if _, ok := table.Node(s.opts.Node); !ok {
		return fmt.Errorf("this node is not in the cluster map yet")
	}
	for _, sh := range table.Shards() {
		for _, replica := range sh.Replicas {
			if replica.Node != s.opts.Node {
				continue
			}
			local, ok := s.opts.Local(sh.ID)
			if !ok {
				return fmt.Errorf("shard %d is not open yet", sh.ID)
			}
			if leader, _ := local.Leader(); leader == "" {
				return fmt.Errorf("shard %d has no leader", sh.ID)
			}
		}
	}
	return nil
}

// failuresTolerated is how many more nodes may fail before some shard or the meta group loses
// its majority. A node that gossip calls dead or left has failed already.
func failuresTolerated(m *pb.ClusterMap, nodes []*pb.NodeStatus) uint32 {
	if m == nil {
		return 0
	}
	down := make(map[string]bool)
	for _, n := range nodes {
		down[n.NodeId] = n.Liveness == "dead" || n.Liveness == "left"
	}
	groups := [][]*pb.Replica{votersOf(m.MetaReplicas)}
	for _, sh := range m.Shards {
		groups = append(groups, votersOf(sh.Replicas))
	}
	tolerated := -1
	for _, replicas := range groups {
		if len(replicas) == 0 {
			continue
		}
		up := 0
		for _, r := range replicas {
			if !down[r.NodeId] {
				up++
			}
		}
		spare := max(up-(len(replicas)/2+1), 0)
		if tolerated < 0 || spare < tolerated {
			tolerated = spare
		}
	}
	return uint32(max(tolerated, 0))
}

// votersOf leaves out the replicas that do not count yet.
func votersOf(replicas []*pb.Replica) []*pb.Replica {
	return slices.DeleteFunc(slices.Clone(replicas), func(r *pb.Replica) bool { return r.Learner })
}
