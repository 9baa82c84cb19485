package planner

import "fmt"

// maxShards is how many shards a cluster may have before none is split for its size. The map allows more, by hand.
const maxShards = 256

// split begins to split the largest shard that is too large. One split at a time is under way in a cluster. Both halves
// come out with the bytes of the whole, so that a half is split again only when its own size is known (Halved). Nothing
// joins shards again: a shard that shrinks stays, so that sizes around the limit move nothing back and forth.
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
