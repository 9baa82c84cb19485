package planner

import (
	"fmt"

	"github.com/lightning-db/lightning/api"
)

// maxShards is how many shards a cluster may have before none is split for its size. The map allows more, by hand.
const maxShards = 256

// minBusySlots is the fewest slots of a shard that is split for its requests: where fewer have so many, one key or a few do,
// and no split parts them.
const minBusySlots = 128

// split begins to split the largest shard that is too large, or else the busiest one that is too busy, if there is room for
// its halves. One split at a time is under way in a cluster. Both halves come out with the bytes of the whole, so that a half is split again only when its own
// size is known (Halved). Nothing joins shards again: a shard that shrinks stays, so that sizes around the limit move nothing
// back and forth.
func (p *planning) split() {
	if len(p.view.Shards) >= maxShards {
		return
	}
	largest, busiest := -1, -1
	for i, s := range p.view.Shards {
		switch {
		case s.Splitting:
			return
		case s.Halved || s.End-s.Start < 2 || p.needs[i] != "" || p.settled[i] || !p.movable(s):
			continue
		}
		large := p.view.SplitBytes > 0 && s.Bytes > p.view.SplitBytes
		busy := p.view.SplitRequests > 0 && s.Requests > p.view.SplitRequests && s.End-s.Start >= minBusySlots
		switch {
		case !large && !busy:
		case p.cramped(s) != "":
			p.plan.Blocked = append(p.plan.Blocked, Blocker{Shard: s.ID, Node: p.cramped(s), Why: NoRoom,
				Text: fmt.Sprintf("shard %d has %s, and is not split: %s has no room to write both halves", s.ID, p.excess(s, large), p.cramped(s))})
		case large && (largest < 0 || s.Bytes > p.view.Shards[largest].Bytes):
			largest = i
		case busy && (busiest < 0 || s.Requests > p.view.Shards[busiest].Requests):
			busiest = i
		}
	}
	switch {
	case largest >= 0:
		p.halve(largest, TooLarge)
	case busiest >= 0:
		p.halve(busiest, TooBusy)
	}
}

// excess says what a shard has too much of.
func (p *planning) excess(s Shard, large bool) string {
	if large {
		return fmt.Sprintf("%d MiB, more than %d", s.Bytes>>20, p.view.SplitBytes>>20)
	}
	return fmt.Sprintf("%d requests per second, more than %d", s.Requests, p.view.SplitRequests)
}

func (p *planning) halve(i int, why Reason) {
	s := p.view.Shards[i]
	at := s.Start + (s.End-s.Start)/2
	p.step(i, Step{Kind: Split, Slot: at, Why: why, Text: fmt.Sprintf("shard %d is split at slot %d: it has %s", s.ID, at, p.excess(s, why == TooLarge))})
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
