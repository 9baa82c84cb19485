package planner

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/meta/placement"
)

// Explanation says why the replicas of a shard are where they are, and what is next for it.
type Explanation struct {
	Shard api.ShardID
	// Want is how many voters it should have; ZoneLimit how many of its replicas a zone should hold.
	Want, ZoneLimit int
	// Nodes are all that may hold replicas in the long run: those that do first, then by how well they
	// suit another one.
	Nodes []Place
	// Next is the step that the plan has for the shard, nil when there is none.
	Next *Step
	// Blocked is what the shard waits for.
	Blocked []Blocker
}

// Place is a node as seen by a shard.
type Place struct {
	Node api.NodeID
	Zone string
	// Score is the node's claim to the shard, and Claim its rank among all claims, from 1.
	Score int64
	Claim int
	// Replicas is what the node holds when what was begun is finished; Share, in thousandths, is its fair
	// number, and Least to Most are the numbers that are tolerated.
	Replicas    int
	Share       int64
	Least, Most int
	// Fill is number, bytes and requests together, in thousandths of the fair load.
	Fill int64
	// Standing says what keeps the node from a replica of the shard, or "holds a replica".
	Standing string
}

// Explain says about one shard what Make knows. It reports false for a shard that is not in the view.
func Explain(v View, shard api.ShardID) (Explanation, bool) {
	at := slices.IndexFunc(v.Shards, func(s Shard) bool { return s.ID == shard })
	if at < 0 {
		return Explanation{}, false
	}
	p := newPlanning(v)
	out := Explanation{Shard: shard, Want: p.want, ZoneLimit: p.layout.ZoneLimit()}
	stands := map[api.NodeID]placement.Stand{}
	for _, s := range p.layout.Stands() {
		stands[s.Node] = s
	}
	ranking := p.layout.Ranking(at)
	for _, c := range ranking {
		s := stands[c.Node]
		claim := 1
		for _, other := range ranking {
			if other.Score > c.Score {
				claim++
			}
		}
		out.Nodes = append(out.Nodes, Place{
			Node: c.Node, Zone: c.Zone, Score: c.Score, Claim: claim, Replicas: s.Replicas, Share: s.Share,
			Least: s.Least, Most: s.Most, Fill: s.Fill, Standing: c.Rank.String(),
		})
	}
	slices.SortStableFunc(out.Nodes, func(a, b Place) int {
		switch {
		case a.Standing == b.Standing:
			return 0
		case a.Standing == placement.Holding.String():
			return -1
		case b.Standing == placement.Holding.String():
			return 1
		}
		return 0
	})
	p.run()
	for i := range p.plan.Steps {
		if s := p.plan.Steps[i]; s.Shard == shard && s.Kind != Forget {
			out.Next = &s
		}
	}
	for _, b := range p.plan.Blocked {
		if b.Shard == shard {
			out.Blocked = append(out.Blocked, b)
		}
	}
	return out, true
}
