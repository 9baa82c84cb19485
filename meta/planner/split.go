package planner

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
)

// maxShards is how many shards a cluster may have before none is split for its size. The map allows more, by hand.
const maxShards = 256

// split begins to split the largest shard that is too large and for whose halves there is room. One split at a time is
// under way in a cluster. Both halves come out with the bytes of the whole, so that a half is split again only when its own
// size is known (Halved). Nothing joins shards again: a shard that shrinks stays, so that sizes around the limit move
// nothing back and forth.
func (p *planning) split() {
	if p.view.SplitBytes <= 0 || len(p.view.Shards) >= maxShards {
		return
	}
	largest := -1
	for i, s := range p.view.Shards {
		switch {
		case s.Splitting:
			return
		case s.Bytes <= p.view.SplitBytes || s.Halved || s.End-s.Start < 2:
		case p.needs[i] != "" || p.settled[i] || !p.movable(s):
		case p.cramped(s) != "":
			p.plan.Blocked = append(p.plan.Blocked, Blocker{Shard: s.ID, Node: p.cramped(s), Why: NoRoom,
				Text: fmt.Sprintf("shard %d has %d MiB, more than %d, and is not split: %s has no room to write both halves", s.ID, s.Bytes>>20, p.view.SplitBytes>>20, p.cramped(s))})
		case largest < 0 || s.Bytes > p.view.Shards[largest].Bytes:
			largest = i
		}
	}
	if largest < 0 {
		return
	}
	s := p.view.Shards[largest]
	at := s.Start + (s.End-s.Start)/2
	p.step(largest, Step{Kind: Split, Slot: at, Why: TooLarge,
		Text: fmt.Sprintf("shard %d is split at slot %d: it has %d MiB, more than %d", s.ID, at, s.Bytes>>20, p.view.SplitBytes>>20)})
}

// cramped is a node that holds a shard and has no room for its split, empty if all have. Tables of the whole shard stay until
// both halves have written anew what is theirs, which is together as much again (PN7). So it is with halves of earlier splits.
func (p *planning) cramped(s Shard) api.NodeID {
	for _, r := range s.Replicas {
		n, need := p.nodes[r.Node], s.Bytes
		for _, half := range p.view.Shards {
			if _, here := replicaOn(half, r.Node); here && half.Halved {
				need += half.Bytes / 2
			}
		}
		if n.Full || n.Room > 0 && n.Room < need {
			return r.Node
		}
	}
	return ""
}
