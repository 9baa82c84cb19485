package directory

import (
	"sync"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/raft"
)

// Members knows the membership at every position of one engine from the durable one on. It
// is a cache: the newest membership is a row of the engine, and right after opening that row is
// all there is. Safe for concurrent use.
type Members struct {
	mu   sync.Mutex           // a leaf
	list []raft.Configuration // oldest first
	// pins counts those who will ask for a position that is not known yet.
	pins int
}

// Add notes a membership.
func (l *Members) Add(c raft.Configuration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, c)
}

// At is the raft state at a position.
func (l *Members) At(p engine.Position) raft.State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := raft.State{Index: api.Index(p.Index), Term: api.Term(p.Term)}
	for _, c := range l.list {
		if uint64(c.Index) <= p.Index {
			s.Configuration = c
		}
	}
	return s
}

// Durable is the raft state at the position that read returns, and forgets the memberships before
// it. The pin keeps another call, which read a later position meanwhile, from forgetting this
// one's.
func (l *Members) Durable(read func() engine.Position) raft.State {
	unpin := l.Pin()
	p := read()
	s := l.At(p)
	unpin()
	l.forget(p)
	return s
}

// forget drops the memberships before the one at a durable position, unless somebody may still
// ask for them.
func (l *Members) forget(durable engine.Position) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pins > 0 {
		return
	}
	for len(l.list) > 1 && uint64(l.list[1].Index) <= durable.Index {
		l.list = l.list[1:]
	}
}

// Pin keeps forget away until the returned function is called.
func (l *Members) Pin() (unpin func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pins--
	}
}
