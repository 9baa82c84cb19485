package raft

import (
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/clock"
)

// Passage is when an entry that this replica proposed passed the stations of its log, by the machine's clock. A time is
// zero if the entry has not been there.
type Passage struct {
	Stored   time.Time // it was given to the log
	Durable  time.Time // the log here was synced with it
	Applying time.Time // a majority had it, and the state machine began with it
	Applied  time.Time
}

// passages are the entries that somebody follows. What is not followed costs one load where it passes.
type passages struct {
	count atomic.Int32

	// mu is a leaf.
	mu   sync.Mutex
	open map[*byte]*passing // by where the data of the entry begins, which the library hands on as it is
}

type passing struct {
	index uint64 // 0 until the entry has one
	Passage
}

// Follow follows an entry that is about to be proposed: ProposeThen has to be called with the same
// slice, which is not empty. end is called once the proposal is settled, and tells how far it came.
func (g *Group) Follow(data []byte) (end func() Passage) {
	p := &g.log.passages
	key, followed := &data[0], &passing{}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		p.open = make(map[*byte]*passing)
	}
	p.open[key] = followed
	p.count.Store(int32(len(p.open)))
	return func() Passage {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.open, key)
		p.count.Store(int32(len(p.open)))
		return followed.Passage
	}
}

// storing finds the entries that are followed among those that are about to be stored.
func (p *passages) storing(entries []*hraft.Log) {
	if p.count.Load() == 0 {
		return
	}
	now := clock.Real{}.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range entries {
		if len(e.Data) == 0 {
			continue
		}
		if f := p.open[&e.Data[0]]; f != nil {
			f.index, f.Stored = e.Index, now
		}
	}
}

// passed sets a time of the entries up to an index that have none yet.
func (p *passages) passed(through uint64, station func(*Passage) *time.Time) {
	if p.count.Load() == 0 {
		return
	}
	now := clock.Real{}.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.open {
		if at := station(&f.Passage); f.index != 0 && f.index <= through && at.IsZero() {
			*at = now
		}
	}
}

func durableAt(p *Passage) *time.Time  { return &p.Durable }
func applyingAt(p *Passage) *time.Time { return &p.Applying }
func appliedAt(p *Passage) *time.Time  { return &p.Applied }
