package planner

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/meta/placement"
)

// Explanation says why the replicas of a shard are where they are, and what is next for it.
type Explanation struct {
	Shard api.ShardID
	// Want is how many voters it should have; ZoneLimit how many of its replicas a zone should hold.
	Want, ZoneLimit int
	// Places are the nodes: those that hold a replica first, then by how well they suit another one.
	Places []Place
	// Leader is who leads, empty when unknown, and LeaderWhy who should and why.
	Leader    api.NodeID
	LeaderWhy string
	// Next is the step that the plan has for the shard, nil when there is none.
	Next *Step
	// Waiting is what the shard waits for, one sentence each.
	Waiting []string
}

// Place is a node as seen by a shard.
type Place struct {
	Node  api.NodeID
	Zone  string
	Holds bool
	// Score is the node's claim to the shard, and Claim its rank among all claims, from 1. Both are 0 for a node that is
	// to hold nothing in the long run.
	Score int64
	Claim int
	// Replicas is what the node holds when what was begun is finished; Share, in thousandths, is its fair
	// number, and Least to Most are the numbers that are tolerated.
	Replicas    int
	Share       int64
	Least, Most int
	// Fill is number, bytes and requests together, in thousandths of the fair load.
	Fill int64
	// Why says why the node holds a replica of the shard, or none.
	Why  string
	rank placement.Rank
}

// Explain says about one shard what Make knows. It reports false for a shard that is not in the view.
func Explain(v View, shard api.ShardID) (Explanation, bool) {
	at := slices.IndexFunc(v.Shards, func(s Shard) bool { return s.ID == shard })
	if at < 0 {
		return Explanation{}, false
	}
	p := newPlanning(v)
	s := v.Shards[at]
	out := Explanation{Shard: shard, Want: p.want, ZoneLimit: p.layout.ZoneLimit(), Leader: s.Leader, Places: p.explainPlaces(at)}
	leads := p.leaders().Stands()
	p.run()
	for i := range p.plan.Steps {
		if step := p.plan.Steps[i]; step.Shard == shard && step.Kind != Forget {
			out.Next = &step
		}
	}
	out.Waiting = p.waiting(s, out.Next)
	out.LeaderWhy = p.explainLeader(s, out.Next, leads)
	return out, true
}

// explainPlaces lists the nodes with their claims and reasons, before anything is planned.
func (p *planning) explainPlaces(at int) []Place {
	s := p.view.Shards[at]
	stands := map[api.NodeID]placement.Stand{}
	for _, stand := range p.layout.Stands() {
		stands[stand.Node] = stand
	}
	ranking := p.layout.Ranking(at)
	var out []Place
	for _, c := range ranking {
		stand := stands[c.Node]
		_, holds := replicaOn(s, c.Node)
		claim := 1
		for _, other := range ranking {
			if other.Score > c.Score {
				claim++
			}
		}
		out = append(out, Place{
			Node: c.Node, Zone: c.Zone, Holds: holds, Score: c.Score, Claim: claim, Replicas: stand.Replicas, Share: stand.Share,
			Least: stand.Least, Most: stand.Most, Fill: stand.Fill, rank: c.Rank,
		})
	}
	for _, r := range s.Replicas { // on nodes that are to hold nothing
		if _, stays := stands[r.Node]; !stays {
			out = append(out, Place{Node: r.Node, Zone: p.nodes[r.Node].Zone, Holds: true})
		}
	}
	for i := range out {
		if r, holds := replicaOn(s, out[i].Node); holds {
			out[i].Why = p.whyHere(s, r, out[i], out)
		} else {
			out[i].Why = p.whyNotHere(out[i])
		}
	}
	slices.SortStableFunc(out, func(a, b Place) int { // claim 0 is the last of those that hold a replica
		held := func(x Place) int {
			switch {
			case !x.Holds:
				return 2
			case x.Claim == 0:
				return 1
			}
			return 0
		}
		return cmp.Compare(held(a), held(b))
	})
	return out
}

// whyHere is the reason of a replica.
func (p *planning) whyHere(s Shard, r Replica, here Place, all []Place) string {
	switch {
	case p.gone(r.Node):
		return "stays until another one takes its place: " + p.plight(r.Node)
	case p.lost(r):
		return "stays until another one takes its place: what the node held is gone"
	case p.nodes[r.Node].Duty == Decommissioning:
		return "stays until another one takes its place: " + Leaving.words()
	case !r.Voter && r.Replaces != "":
		return fmt.Sprintf("is being made and takes the place of %s: %s", r.Replaces, p.whyReplaced(s, r.Replaces)) + r.lacks()
	case !r.Voter:
		return "is being made: the shard has too few replicas" + r.lacks()
	case p.replaced(s, r.Node):
		return "goes when the one that takes its place votes"
	}
	held := func(x Place) bool { return x.Holds }
	if here.Claim <= p.want {
		return fmt.Sprintf("one of the %d strongest claims", p.want)
	}
	var stronger []string
	for _, x := range all {
		if !held(x) && x.Claim > 0 && x.Claim < here.Claim {
			stronger = append(stronger, fmt.Sprintf("%s (%s)", x.Node, x.rank))
		}
	}
	if len(stronger) == 0 {
		return "the strongest claim of those that hold none"
	}
	return fmt.Sprintf("kept, since no claim alone moves a replica; stronger ones: %s", strings.Join(stronger, ", "))
}

// whyReplaced is why a replica on a node is being replaced, as far as the view tells.
func (p *planning) whyReplaced(s Shard, id api.NodeID) string {
	switch r, holds := replicaOn(s, id); {
	case p.gone(id):
		return p.plight(id)
	case p.nodes[id].Duty == Decommissioning:
		return Leaving.words()
	case holds && p.lost(r):
		return "what the node held is gone"
	}
	return "moved by hand, or to make nodes more even or zones apart"
}

// plight is what is wrong with a node that is gone.
func (p *planning) plight(id api.NodeID) string {
	if n, known := p.nodes[id]; !known || n.Duty == Lost {
		return "the node is lost"
	}
	return Dead.words()
}

// whyNotHere is the reason why a node holds no replica of the shard.
func (p *planning) whyNotHere(here Place) string {
	n := p.nodes[here.Node]
	switch here.rank {
	case placement.Refusing:
		switch {
		case n.Down > 0:
			return "gets nothing new: it is down"
		case n.Duty == Draining:
			return "gets nothing new: it is being drained"
		}
		return "gets nothing new: it is full, or a replica made no progress on it"
	case placement.Crowding:
		return fmt.Sprintf("zone %s holds as many replicas of the shard as it should", n.Zone)
	case placement.OverShare:
		return fmt.Sprintf("holds its share: %d replicas", here.Replicas)
	}
	return "could take a replica, if one were missing or a node beyond its bounds"
}

// waiting is what keeps a shard from what should be done.
func (p *planning) waiting(s Shard, next *Step) []string {
	var out []string
	switch {
	case s.Splitting:
		out = append(out, "it is being split, and its members stay until that is done")
	case s.Busy:
		out = append(out, "a step of it is being carried out, and there is one at a time")
	}
	for _, b := range p.plan.Blocked {
		if b.Shard == s.ID {
			out = append(out, b.Text)
		}
	}
	if !p.view.Paused || next != nil {
		return out
	}
	resumed := p.view
	resumed.Paused = false
	for _, step := range Make(resumed).Steps {
		if step.Shard == s.ID && step.Kind != Forget {
			out = append(out, "balancing is paused; otherwise: "+step.Text)
		}
	}
	return out
}

// explainLeader says who should lead a shard and why.
func (p *planning) explainLeader(s Shard, next *Step, stands []placement.Stand) string {
	if next != nil && next.Kind == Lead {
		return next.Text
	}
	leads := func(id api.NodeID) string {
		for _, x := range stands {
			if x.Node == id {
				return fmt.Sprintf(": it leads %d shards, of %d to %d", x.Replicas, x.Least, x.Most)
			}
		}
		return ""
	}
	switch {
	case s.Leader == "":
		return "nobody is known to lead"
	case !p.aliveIn(s, s.Leader):
		return fmt.Sprintf("%s led last, and does not answer", s.Leader)
	case s.Preferred != "" && s.Preferred != s.Leader && p.leads(s) == s.Preferred:
		return fmt.Sprintf("%s should lead, and gets the leadership when it is fit%s", s.Preferred, leads(s.Preferred))
	case s.Preferred != "" && s.Preferred != s.Leader:
		return fmt.Sprintf("%s leads while %s, which is preferred, cannot", s.Leader, s.Preferred)
	case !slices.Contains(p.able(s), s.Leader):
		return fmt.Sprintf("%s leads, and another one would, if it could", s.Leader)
	}
	return fmt.Sprintf("%s leads as it should%s", s.Leader, leads(s.Leader))
}
