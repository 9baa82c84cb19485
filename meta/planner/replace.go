package planner

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/lightning-db/lightning/api"
)

func (p *planning) step(i int, s Step) {
	s.Shard = p.view.Shards[i].ID
	p.plan.Steps = append(p.plan.Steps, s)
	p.settled[i] = true
	p.layout.Fix(i)
}

func (p *planning) block(i int, node api.NodeID, why Reason, format string, args ...any) {
	p.plan.Blocked = append(p.plan.Blocked, Blocker{Shard: p.view.Shards[i].ID, Node: node, Why: why, Text: fmt.Sprintf(format, args...)})
	p.settled[i] = true
	p.layout.Fix(i)
}

// finish brings a shard with a learner one step further (PN4).
func (p *planning) finish(i int) {
	s := p.view.Shards[i]
	at := slices.IndexFunc(s.Replicas, func(r Replica) bool { return !r.Voter })
	l := s.Replicas[at]
	node, known := p.nodes[l.Node]
	switch {
	case !known || node.Duty == Lost || node.Duty == Decommissioning || node.Down >= p.limits.LearnerPatience, node.Duty == Draining && !l.CaughtUp:
		p.step(i, Step{Kind: Remove, Node: l.Node, Why: Cancelled, Text: fmt.Sprintf("the new replica of shard %d cannot be finished on %s", s.ID, l.Node)})
	case l.Stuck && !l.CaughtUp:
		p.step(i, Step{Kind: Remove, Node: l.Node, Why: Cancelled, Text: fmt.Sprintf("the new replica of shard %d on %s makes no progress", s.ID, l.Node)})
	case node.Down > 0:
		p.block(i, l.Node, NotYet, "%s, which gets a replica of shard %d, is down", l.Node, s.ID)
	case !l.CaughtUp:
		p.block(i, l.Node, CatchingUp, "the new replica of shard %d on %s learns%s", s.ID, l.Node, l.lacks())
	default:
		p.admit(i, l)
	}
}

// lacks says how far a learner is behind, if that is known.
func (r Replica) lacks() string {
	if r.MissingEntries == 0 {
		return ""
	}
	return fmt.Sprintf(": it lacks %d entries, %d KiB of the log", r.MissingEntries, r.MissingBytes>>10)
}

// admit gives a learner that has caught up its vote, after taking that of the one it replaces if that
// one is not alive: with a dead voter more, the quorum would grow and what can be lost would not.
func (p *planning) admit(i int, l Replica) {
	s := p.view.Shards[i]
	count := voters(s)
	victim := p.victim(s)
	if count >= p.want && victim == "" {
		p.step(i, Step{Kind: Remove, Node: l.Node, Why: Surplus, Text: fmt.Sprintf("shard %d has the voters it should have without %s", s.ID, l.Node)})
		return
	}
	if victim != "" && !p.aliveIn(s, victim) && p.removable(s, victim) {
		p.step(i, Step{Kind: Remove, Node: victim, Why: Unfinished, Text: fmt.Sprintf("%s is not alive, and %s is ready to take its place in shard %d", victim, l.Node, s.ID)})
		return
	}
	if p.healthy(s)+1 < quorum(count+1) {
		p.block(i, l.Node, NoQuorum, "shard %d would need %d voters alive with one more, and has %d", s.ID, quorum(count+1), p.healthy(s)+1)
		return
	}
	p.step(i, Step{Kind: Promote, Node: l.Node, Replaces: l.Replaces, Why: Unfinished, Text: fmt.Sprintf("the replica of shard %d on %s has caught up", s.ID, l.Node)})
}

// victim is the voter that is to leave a shard in which something is under way: one on a dead node
// before the one that a new replica was meant to replace, before one whose node is to leave. Of equals it is not the leader.
func (p *planning) victim(s Shard) api.NodeID {
	rank := func(r Replica) int {
		switch {
		case p.lost(r):
			return 3
		case p.replaced(s, r.Node):
			return 2
		case p.nodes[r.Node].Duty == Decommissioning:
			return 1
		}
		return 0
	}
	best, bestRank := api.NodeID(""), 0
	for _, r := range s.Replicas {
		if k := rank(r); r.Voter && (k > bestRank || k == bestRank && best == s.Leader && k > 0) {
			best, bestRank = r.Node, k
		}
	}
	return best
}

// removable reports whether a shard works without a voter: the others have a healthy majority, and they
// are a quorum of the registered size, or all that there are nodes for (PN2).
func (p *planning) removable(s Shard, id api.NodeID) bool {
	rest, healthy := voters(s)-1, p.healthy(s)
	if p.aliveIn(s, id) {
		healthy--
	}
	return healthy >= quorum(rest) && (rest >= quorum(p.want) || rest >= p.enough && p.replacedByVoter(s, id))
}

// shed takes a voter out of a shard with too many.
func (p *planning) shed(i int) {
	s := p.view.Shards[i]
	victim := p.victim(s)
	if victim == "" {
		victim, _ = p.layout.Spare(i)
	}
	switch {
	case victim == "":
		p.block(i, "", NoPlace, "shard %d has too many voters, and none can be told that should go", s.ID)
	case !p.removable(s, victim):
		p.block(i, victim, NoQuorum, "shard %d would have too few healthy voters without %s", s.ID, victim)
	case s.Leader == victim || s.Preferred == victim && p.aliveIn(s, victim):
		p.layout.Drop(i, victim)
		if !p.handOver(i, victim, Surplus) {
			p.block(i, victim, CatchingUp, "%s leads shard %d, and no other voter can", victim, s.ID)
		}
	default:
		p.layout.Drop(i, victim)
		p.step(i, Step{Kind: Remove, Node: victim, Why: Surplus, Text: fmt.Sprintf("shard %d has %d voters and should have %d", s.ID, voters(s), p.want)})
	}
}

// add makes a replica for a shard, in the place of leaving if that is not empty.
func (p *planning) add(i int, leaving api.NodeID, why Reason) bool {
	s := p.view.Shards[i]
	target, ok := p.layout.Best(i)
	if why == Zone {
		target, ok = p.layout.BestApart(i)
	}
	switch {
	case !ok:
		p.block(i, leaving, NoPlace, "no node can take a replica of shard %d%s", s.ID, insteadOf(leaving))
		return false
	case p.full(target, s.Leader):
		p.block(i, target, Limited, "shard %d waits until fewer replicas are made at once", s.ID)
		return false
	}
	p.begin(target, s.Leader)
	p.layout.Place(i, target)
	if leaving != "" {
		p.layout.Drop(i, leaving)
	}
	p.step(i, Step{Kind: AddLearner, Node: target, Replaces: leaving, Why: why, Text: fmt.Sprintf("%s gets a replica of shard %d%s: %s", target, s.ID, insteadOf(leaving), why.words())})
	return true
}

func insteadOf(id api.NodeID) string {
	if id == "" {
		return ""
	}
	return fmt.Sprintf(" instead of %s", id)
}

// replaceDead makes replicas for those on dead nodes, of one failure domain at a time (PN3).
func (p *planning) replaceDead(order []int) {
	for _, domain := range p.deadDomains(order) {
		begun := false
		for _, i := range order {
			victim := p.victim(p.view.Shards[i])
			if p.settled[i] || p.needs[i] != Dead || p.domain(victim) != domain {
				continue
			}
			begun = p.succeed(i, victim) || p.lastWhy() == Limited || begun
		}
		if !begun && !p.underWay(domain) {
			continue
		}
		for _, i := range order {
			if !p.settled[i] && p.needs[i] == Dead {
				victim := p.victim(p.view.Shards[i])
				p.block(i, victim, OtherDomain, "%s is dead; replicas of another failure domain are replaced first", victim)
			}
		}
		return
	}
}

// succeed makes a replica for one that is lost. One whose node lives is taken out first if no other node can take its place,
// so that its node gets a new one.
func (p *planning) succeed(i int, victim api.NodeID) bool {
	s := p.view.Shards[i]
	node := p.nodes[victim]
	if _, elsewhere := p.layout.Best(i); elsewhere || p.gone(victim) || node.Duty != Serving || node.Full || !p.removable(s, victim) {
		return p.add(i, victim, Dead)
	}
	p.step(i, Step{Kind: Remove, Node: victim, Why: Dead, Text: fmt.Sprintf("what %s held of shard %d is gone, and no other node can take it: %s gets a new replica", victim, s.ID, victim)})
	return true
}

func (p *planning) lastWhy() Reason { return p.plan.Blocked[len(p.plan.Blocked)-1].Why }

// underWay reports whether a replica on a dead node of the domain is being replaced.
func (p *planning) underWay(domain string) bool {
	return slices.ContainsFunc(p.view.Shards, func(s Shard) bool {
		return slices.ContainsFunc(s.Replicas, func(r Replica) bool {
			return r.Voter && p.lost(r) && p.domain(r.Node) == domain && p.replaced(s, r.Node)
		})
	})
}

func (p *planning) domain(id api.NodeID) string {
	if zone := p.nodes[id].Zone; zone != "" {
		return zone
	}
	return "\x00" + string(id)
}

// deadDomains are those of dead nodes that shards wait for, the one that died first in front.
func (p *planning) deadDomains(order []int) []string {
	since := map[string]time.Duration{}
	for _, i := range order {
		if p.needs[i] != Dead {
			continue
		}
		victim := p.victim(p.view.Shards[i])
		d := p.domain(victim)
		r, _ := replicaOn(p.view.Shards[i], victim)
		since[d] = max(since[d], p.nodes[victim].Down, r.Down)
	}
	out := make([]string, 0, len(since))
	for d := range since {
		out = append(out, d)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(since[b], since[a]), cmp.Compare(a, b)) })
	return out
}

// evacuate moves a replica off a node that is to leave.
func (p *planning) evacuate(i int) { p.add(i, p.victim(p.view.Shards[i]), Leaving) }

// separate moves a replica out of a zone that holds too many of its shard. Nothing waits for it when
// there is no better place.
func (p *planning) separate(i int) {
	s := p.view.Shards[i]
	crowded, ok := p.layout.Crowded(i)
	if _, apart := p.layout.BestApart(i); !ok || !apart || p.healthy(s) < len(s.Replicas) {
		p.layout.Fix(i)
		return
	}
	p.add(i, crowded, Zone)
}

// forget takes nodes that hold nothing any more out of the map.
func (p *planning) forget() {
	for _, n := range p.view.Nodes {
		if n.Duty != Decommissioning && n.Duty != Lost {
			continue
		}
		holds := slices.ContainsFunc(p.view.Shards, func(s Shard) bool {
			return slices.ContainsFunc(s.Replicas, func(r Replica) bool { return r.Node == n.ID })
		})
		if !holds {
			p.plan.Steps = append(p.plan.Steps, Step{Kind: Forget, Node: n.ID, Why: Leaving, Text: fmt.Sprintf("%s holds no replica any more", n.ID)})
		}
	}
}
