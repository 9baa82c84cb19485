package planner

import (
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/meta/placement"
)

// words is the reason for people.
func (r Reason) words() string {
	switch r {
	case Dead:
		return "the node is dead"
	case TooFew:
		return "the shard has too few replicas"
	case Leaving:
		return "the node is being decommissioned"
	case Zone:
		return "its zone holds too many replicas of the shard"
	case Drain:
		return "the node should lead nothing"
	case Surplus:
		return "its replica is to go"
	}
	return string(r)
}

// balance moves replicas from nodes that hold or carry too much, as far as limits allow. There are no
// more tries than replicas that may be made at once.
func (p *planning) balance() {
	for range p.limits.Snapshots {
		m, ok := p.layout.Balance()
		if !ok {
			return
		}
		s := p.view.Shards[m.Group]
		why := Count
		if m.ByLoad {
			why = Load
		}
		if p.settled[m.Group] || p.full(m.To, s.Leader) {
			continue // its move counts as made, so that the next one is another
		}
		p.begin(m.To, s.Leader)
		p.step(m.Group, Step{Kind: AddLearner, Node: m.To, Replaces: m.From, Why: why,
			Text: fmt.Sprintf("%s gets a replica of shard %d instead of %s: they carry %d %% and %d %% of their shares", m.To, s.ID, m.From, m.ToFill/10, m.FromFill/10)})
	}
}

// leads is who leads a shard in the long run.
func (p *planning) leads(s Shard) api.NodeID {
	if s.Preferred != "" && p.aliveIn(s, s.Preferred) && slices.ContainsFunc(s.Replicas, func(r Replica) bool { return r.Voter && r.Node == s.Preferred }) {
		return s.Preferred
	}
	return s.Leader
}

// able are the voters of a shard that could lead it.
func (p *planning) able(s Shard) []api.NodeID {
	var out []api.NodeID
	for _, r := range s.Replicas {
		n := p.nodes[r.Node]
		if r.Voter && p.answers(r) && n.Duty == Serving && !n.Full && (r.CaughtUp || r.Node == s.Leader) && !(p.replaced(s, r.Node) && len(s.Replicas) > p.want) {
			out = append(out, r.Node)
		}
	}
	return out
}

// handOver gives the leadership of a shard to the able voter that leads the fewest.
func (p *planning) handOver(i int, from api.NodeID, why Reason) bool {
	s := p.view.Shards[i]
	best, bestCount := api.NodeID(""), 0
	for _, id := range p.able(s) {
		if id == from {
			continue
		}
		count := p.given[id]
		for j, other := range p.view.Shards {
			if j != i && p.leads(other) == id {
				count++
			}
		}
		if best == "" || count < bestCount || count == bestCount && (id == s.Preferred || best != s.Preferred && id < best) {
			best, bestCount = id, count
		}
	}
	if best == "" {
		return false
	}
	p.given[best]++
	p.leaving[from] = true
	p.step(i, Step{Kind: Lead, Node: best, Why: why, Text: fmt.Sprintf("%s leads shard %d instead of %s: %s", best, s.ID, from, why.words())})
	return true
}

// drain gives away what nodes lead that should lead nothing.
func (p *planning) drain(order []int) {
	for _, i := range order {
		s := p.view.Shards[i]
		if s.Busy || !s.Reported || !p.alive(s.Leader) || p.stepped(s.ID) {
			continue
		}
		for _, id := range []api.NodeID{s.Leader, p.leads(s)} {
			if d := p.nodes[id].Duty; d != Draining && d != Decommissioning {
				continue
			}
			if !p.handOver(i, id, Drain) {
				p.plan.Blocked = append(p.plan.Blocked, Blocker{Shard: s.ID, Node: id, Why: CatchingUp, Text: fmt.Sprintf("%s leads shard %d, and no other voter can", id, s.ID)})
			}
			break
		}
	}
}

func (p *planning) stepped(id api.ShardID) bool {
	return slices.ContainsFunc(p.plan.Steps, func(s Step) bool { return s.Kind != Forget && s.Shard == id })
}

// spread evens out leaders. It waits while a node is down that may come back soon, since that one would
// have to get back what it led.
func (p *planning) spread() {
	for _, n := range p.view.Nodes {
		if n.Down > 0 && !p.gone(n.ID) {
			return
		}
	}
	leaders := p.leaders()
	for begun := range p.limits.Transfers {
		m, ok := leaders.Spread()
		if !ok && begun == 0 && len(p.leaving) == 0 {
			p.swap(leaders)
		}
		if !ok {
			return
		}
		why := LeaderCount
		if m.ByLoad {
			why = LeaderLoad
		}
		if p.leaving[m.From] {
			continue
		}
		p.leaving[m.From] = true
		p.step(m.Group, Step{Kind: Lead, Node: m.To, Why: why, Text: fmt.Sprintf("%s leads shard %d instead of %s: they lead %d %% and %d %% of their shares",
			m.To, p.view.Shards[m.Group].ID, m.From, m.ToFill/10, m.FromFill/10)})
	}
}

// swap has two shards exchange their leaders for load. Nothing else moves leaders in the same plan, so that neither half of it
// is left out.
func (p *planning) swap(leaders *placement.Leaders) {
	there, back, ok := leaders.Swap()
	if !ok || p.limits.Transfers < 2 {
		return
	}
	for _, m := range []placement.Move{there, back} {
		p.step(m.Group, Step{Kind: Lead, Node: m.To, Why: LeaderLoad, Text: fmt.Sprintf("%s leads shard %d instead of %s, which leads shard %d for that: their requests are uneven",
			m.To, p.view.Shards[m.Group].ID, m.From, p.view.Shards[there.Group+back.Group-m.Group].ID)})
	}
}

func (p *planning) leaders() *placement.Leaders {
	led := make([]placement.Led, len(p.view.Shards))
	for i, s := range p.view.Shards {
		led[i] = placement.Led{Key: int64(s.ID), Leader: p.leads(s), Candidates: p.able(s), Requests: p.requests(s), Lately: s.LedLately, Fixed: p.settled[i] || p.stepped(s.ID) || !p.movable(s)}
	}
	return placement.NewLeaders(p.view.Cluster, p.places(), led)
}
