package planner

import (
	"cmp"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/meta/placement"
)

// Make plans the next steps of a cluster.
func Make(v View) Plan {
	p := newPlanning(v)
	p.run()
	return p.plan
}

// planning is a plan that is being made. Not safe for concurrent use.
type planning struct {
	view   View
	limits Limits
	nodes  map[api.NodeID]Node
	// want is how many voters a shard should have; enough is less where nodes are too few.
	want, enough int
	// manyDown: so many nodes are down that none counts as dead for that.
	manyDown bool
	layout   *placement.Layout

	// By shard.
	needs   []Reason // "" when it is as it should be
	settled []bool   // a step or a blocker says all there is to say

	// What is being made, by node at either end, and in all.
	making    map[api.NodeID]int
	makingAll int
	average   int64 // requests of a shard of which they are known
	repairing bool  // something is missing, so balance waits
	leaving   map[api.NodeID]bool
	given     map[api.NodeID]int // leaderships that go to a node by this plan

	plan Plan
}

func newPlanning(v View) *planning {
	p := &planning{
		view: v, limits: v.Limits.withDefaults(),
		nodes:   make(map[api.NodeID]Node, len(v.Nodes)),
		needs:   make([]Reason, len(v.Shards)),
		settled: make([]bool, len(v.Shards)),
		making:  make(map[api.NodeID]int),
		leaving: make(map[api.NodeID]bool),
		given:   make(map[api.NodeID]int),
	}
	known, alive := 0, 0
	for _, n := range v.Nodes {
		p.nodes[n.ID] = n
		if n.Duty != Lost {
			known++
			if n.Down == 0 {
				alive++
			}
		}
	}
	p.manyDown = alive*2 < known
	p.average = averageRequests(v.Shards)
	places := p.places()
	p.want = max(1, v.Replication)
	p.enough = max(1, min(p.want, odd(len(places))))
	groups := make([]placement.Group, len(v.Shards))
	for i, s := range v.Shards {
		p.needs[i] = p.need(s)
		groups[i] = placement.Group{
			Key: int64(s.ID), Replicas: p.outcome(s), Bytes: s.Bytes, Requests: p.requests(s),
			Fixed: p.needs[i] != "" || !p.movable(s),
		}
		p.countLearners(s)
	}
	p.layout = placement.NewLayout(v.Cluster, p.want, places, groups)
	for i := range v.Shards {
		if _, crowded := p.layout.Crowded(i); crowded && p.needs[i] == "" {
			p.needs[i] = Zone
		}
	}
	return p
}

func averageRequests(shards []Shard) int64 {
	sum, known := int64(0), int64(0)
	for _, s := range shards {
		if s.Requests >= 0 {
			sum, known = sum+s.Requests, known+1
		}
	}
	return sum / max(1, known)
}

// requests of a shard, those of an average one where they are unknown.
func (p *planning) requests(s Shard) int64 {
	if s.Requests < 0 {
		return p.average
	}
	return s.Requests
}

// odd is the number of voters that n nodes allow: an even one costs and survives no more than the odd
// one below it.
func odd(n int) int { return n - (n+1)%2 }

// places are the nodes that hold replicas in the long run.
func (p *planning) places() []placement.Node {
	var out []placement.Node
	for _, n := range p.view.Nodes {
		if p.gone(n.ID) || n.Duty == Decommissioning {
			continue
		}
		out = append(out, placement.Node{
			ID: n.ID, Zone: n.Zone, Weight: n.Weight,
			Closed: n.Duty == Draining || n.Down > 0 || n.Full,
			Fixed:  n.Duty == Draining || n.Down > 0,
		})
	}
	return out
}

// gone reports a node that does not come back as far as one can know.
func (p *planning) gone(id api.NodeID) bool {
	n, known := p.nodes[id]
	return !known || n.Duty == Lost || n.Down >= p.limits.DeadAfter && !p.manyDown
}

func (p *planning) alive(id api.NodeID) bool {
	n, known := p.nodes[id]
	return known && n.Duty != Lost && n.Down == 0
}

// lost reports a replica that does not come back: its node does not, or it has not answered for as long though the node lives.
func (p *planning) lost(r Replica) bool {
	return p.gone(r.Node) || r.Down >= p.limits.DeadAfter && !p.manyDown
}

// answers reports a replica that takes part: its node is alive, and so is what it holds.
func (p *planning) answers(r Replica) bool { return p.alive(r.Node) && r.Down == 0 }

// replicaOn is the replica that a shard has on a node.
func replicaOn(s Shard, id api.NodeID) (Replica, bool) {
	at := slices.IndexFunc(s.Replicas, func(r Replica) bool { return r.Node == id })
	if at < 0 {
		return Replica{}, false
	}
	return s.Replicas[at], true
}

// aliveIn reports whether the replica of a shard on a node takes part.
func (p *planning) aliveIn(s Shard, id api.NodeID) bool {
	r, ok := replicaOn(s, id)
	return ok && p.answers(r)
}

// replaced reports whether another replica of the shard, on a node that stays, is to take id's place.
func (p *planning) replaced(s Shard, id api.NodeID) bool {
	return slices.ContainsFunc(s.Replicas, func(r Replica) bool { return p.takesPlace(r, id) })
}

func (p *planning) takesPlace(r Replica, id api.NodeID) bool {
	return r.Replaces == id && r.Node != id && !p.lost(r) && p.nodes[r.Node].Duty != Decommissioning
}

// replacedByVoter reports whether the replica that takes id's place votes already.
func (p *planning) replacedByVoter(s Shard, id api.NodeID) bool {
	return slices.ContainsFunc(s.Replicas, func(r Replica) bool { return r.Voter && p.takesPlace(r, id) })
}

// outcome is where the replicas will be when what was begun is finished. One that is lost while its node lives counts: the
// node cannot get another before it is gone.
func (p *planning) outcome(s Shard) []api.NodeID {
	var out []api.NodeID
	for _, r := range s.Replicas {
		if !p.gone(r.Node) && p.nodes[r.Node].Duty != Decommissioning {
			out = append(out, r.Node)
		}
	}
	for i := 0; i < len(out); {
		if len(out) > p.want && p.replaced(s, out[i]) {
			out = slices.Delete(out, i, i+1)
			continue
		}
		i++
	}
	return out
}

// need is the first thing that a shard's replicas lack, as far as nodes alone tell.
func (p *planning) need(s Shard) Reason {
	voters, dead, leaving := 0, false, false
	for _, r := range s.Replicas {
		if !r.Voter {
			return Unfinished
		}
		voters++
		dead = dead || p.lost(r)
		leaving = leaving || p.nodes[r.Node].Duty == Decommissioning
	}
	switch {
	case voters > p.want || voters < p.want && voters > p.enough && slices.ContainsFunc(s.Replicas, func(r Replica) bool { return p.replacedByVoter(s, r.Node) }):
		return Surplus
	case voters < p.enough:
		return TooFew
	case dead:
		return Dead
	case leaving:
		return Leaving
	}
	return ""
}

// movable reports whether a shard is in a state in which balance may change it.
func (p *planning) movable(s Shard) bool {
	return !s.Busy && !s.Splitting && s.Reported && p.alive(s.Leader) && p.healthy(s) == len(s.Replicas)
}

// healthy counts the voters that take part.
func (p *planning) healthy(s Shard) int {
	count := 0
	for _, r := range s.Replicas {
		if r.Voter && p.answers(r) {
			count++
		}
	}
	return count
}

func voters(s Shard) int {
	count := 0
	for _, r := range s.Replicas {
		if r.Voter {
			count++
		}
	}
	return count
}

func quorum(voters int) int { return voters/2 + 1 }

func (p *planning) countLearners(s Shard) {
	for _, r := range s.Replicas {
		if !r.Voter && !r.CaughtUp {
			p.begin(r.Node, s.Leader)
		}
	}
}

// begin counts a replica that is made on node from the leader's.
func (p *planning) begin(node, leader api.NodeID) {
	p.making[node]++
	p.making[leader]++
	p.makingAll++
}

func (p *planning) full(node, leader api.NodeID) bool {
	return p.makingAll >= p.limits.Snapshots || p.making[node] >= p.limits.SnapshotsPerNode || p.making[leader] >= p.limits.SnapshotsPerNode
}

// run plans what matters most first: what was begun, what is missing, what is to leave, and then what
// could be better.
func (p *planning) run() {
	order := make([]int, len(p.view.Shards))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(p.healthy(p.view.Shards[a]), p.healthy(p.view.Shards[b])), cmp.Compare(p.view.Shards[a].ID, p.view.Shards[b].ID))
	})
	for _, i := range order {
		p.gate(i)
	}
	each := func(why Reason, do func(int)) {
		for _, i := range order {
			if p.needs[i] == why && !p.settled[i] {
				do(i)
			}
		}
	}
	each(Unfinished, p.finish)
	each(Surplus, p.shed)
	p.drain(order)
	each(TooFew, func(i int) { p.add(i, "", TooFew) })
	p.replaceDead(order)
	each(Leaving, p.evacuate)
	each(Zone, p.separate)
	p.forget()
	if !p.view.Paused && !p.repairing {
		p.split()
		p.balance()
		p.spread()
	}
}

// gate blocks shards that want something and are in no state to get it.
func (p *planning) gate(i int) {
	s := p.view.Shards[i]
	if p.needs[i] == "" && !s.Busy && !s.Splitting {
		return
	}
	switch {
	case s.Busy, s.Splitting: // the members of a shard stay until its split is done
		p.settled[i] = true
	case p.healthy(s) < quorum(max(1, voters(s))):
		p.block(i, "", NoQuorum, "shard %d has %d of %d voters alive, which is no majority", s.ID, p.healthy(s), voters(s))
	case !p.alive(s.Leader):
		p.block(i, "", NoLeader, "shard %d has no leader that is known", s.ID)
	case !s.Reported:
		p.block(i, "", NoReport, "the leader of shard %d has not reported since its last change", s.ID)
	}
	if p.needs[i] == TooFew || p.needs[i] == Dead {
		p.repairing = true
	}
}
