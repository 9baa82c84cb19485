package planner

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/meta/placement"
)

// Status is the state of the cluster in numbers.
type Status struct {
	// UnderReplicated are shards with fewer healthy voters than wanted.
	UnderReplicated []api.ShardID
	// WithoutQuorum are those of them that have no healthy majority.
	WithoutQuorum []api.ShardID
	// Changing are shards whose members are being changed.
	Changing []api.ShardID
	// DeadUnreplaced are nodes that are dead beyond the limit and still members of shards.
	DeadUnreplaced []api.NodeID
	// LeaderImbalance is 1 when all nodes lead their shares; else 1 and what the worst of them leads beyond
	// its share, by that share or by one shard, whichever is more.
	LeaderImbalance float64
	// Replicas and Leaders say what each node holds and leads, and should.
	Replicas, Leaders []placement.Stand
}

// Report computes the status of a cluster.
func Report(v View) Status {
	p := newPlanning(v)
	out := Status{Replicas: p.layout.Stands(), Leaders: p.leaders().Stands()}
	dead := map[api.NodeID]bool{}
	for i, s := range v.Shards {
		if p.answering(s) < v.Replication {
			out.UnderReplicated = append(out.UnderReplicated, s.ID)
		}
		if p.healthy(s) < quorum(voters(s)) {
			out.WithoutQuorum = append(out.WithoutQuorum, s.ID)
		}
		if p.needs[i] == Unfinished || p.needs[i] == Surplus || s.Busy {
			out.Changing = append(out.Changing, s.ID)
		}
		for _, r := range s.Replicas {
			n := p.nodes[r.Node]
			if n.Duty == Lost || n.Down >= p.limits.DeadAfter {
				dead[r.Node] = true
			}
		}
	}
	for id := range dead {
		out.DeadUnreplaced = append(out.DeadUnreplaced, id)
	}
	slices.Sort(out.DeadUnreplaced)
	out.LeaderImbalance = 1
	for _, l := range out.Leaders {
		over := float64(l.Replicas) - float64(l.Share)/1000
		out.LeaderImbalance = max(out.LeaderImbalance, 1+over/max(1, float64(l.Share)/1000))
	}
	return out
}

// answering counts the voters that are alive and answer.
func (p *planning) answering(s Shard) (n int) {
	for _, r := range s.Replicas {
		if r.Voter && !r.Silent && p.alive(r.Node) {
			n++
		}
	}
	return n
}
