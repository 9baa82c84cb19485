package raft

import (
	"cmp"
	"io"
	"math"
	"slices"
	"sync"

	hraft "github.com/hashicorp/raft"
)

// catchUps are the followers that have put a snapshot in place and do not have yet what was written
// while it was on its way. The pin of the snapshot goes on, and moves with them.
//
// A follower that is silent for maxCatchUpSilence, or a leadership that ends, lets the entries go.
type catchUps struct {
	// mu is a leaf.
	mu   sync.Mutex
	list []catchUp
}

type catchUp struct {
	replica string
	since   uint64 // in the host's looks
	pin     *pin
}

const (
	// caughtUp is how many entries a follower may lack that needs no help any more: fewer than any
	// cut leaves.
	caughtUp = 64
	// maxCatchUpSilence is in looks: five heartbeat timeouts.
	maxCatchUpSilence = 5 * looksPerTimeout
)

// SnapshotSent implements mux.SnapshotOwner.
func (i *instance) SnapshotSent(replica string, data io.Reader) {
	i.group.sent.Add(1)
	s, ok := data.(*sentSnapshot)
	if !ok {
		return
	}
	s.kept = true
	i.catchUps.mu.Lock()
	defer i.catchUps.mu.Unlock()
	i.catchUps.list = append(i.catchUps.list, catchUp{replica: replica, since: i.group.host.looks.Load(), pin: s.pin})
}

// lookAtCatchUps lets go of what nobody needs any more. It is called at every look, and with all set
// when the instance ends.
func (i *instance) lookAtCatchUps(now uint64, all bool) {
	for _, c := range i.takeCaughtUp(now, all) {
		c.pin.release()
	}
}

func (i *instance) takeCaughtUp(now uint64, all bool) (done []catchUp) {
	i.catchUps.mu.Lock()
	defer i.catchUps.mu.Unlock()
	if len(i.catchUps.list) == 0 {
		return nil
	}
	last, _ := i.group.store.LastIndex() // held in memory
	all = all || !i.Leads(i.raft.CurrentTerm())
	var kept []catchUp
	for _, c := range i.catchUps.list {
		a, _ := i.progress.of(c.replica)
		answered := a.look > c.since // since it has put the snapshot in place
		heard := max(a.look, c.since)
		if all || c.pin.isLost() || answered && a.lastLog+caughtUp >= last || heard+maxCatchUpSilence < now {
			done = append(done, c)
			continue
		}
		if answered {
			c.pin.advance(a.lastLog)
		}
		kept = append(kept, c)
	}
	i.catchUps.list = kept
	return done
}

// A pin keeps entries in the log for a follower: while a snapshot is on its way to it, and then until it has what
// was written meanwhile. Otherwise the log would be cut faster than a large snapshot travels, and the
// follower would need one after the other and never catch up.
//
// A pin lets the node's log exceed its limit by as many bytes as the snapshot has, and no more: a follower that
// lacks more than that is better off with another snapshot. Then the pin is lost, and a snapshot that is
// still on its way ends. So the log is bounded by its limit and the largest snapshots that are being sent.
type pin struct {
	log *guardedLog

	// Guarded by log.mu.
	index     uint64 // the first entry that is kept
	allowance int64
	lost      bool
}

// pin keeps the entry at index and all after it, whatever that takes until the pin is settled.
func (g *guardedLog) pin(index uint64) *pin {
	p := &pin{log: g, index: index, allowance: math.MaxInt64}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pins[p] = struct{}{}
	return p
}

// settle says what the snapshot is: one up to index, of so many bytes.
func (p *pin) settle(index uint64, bytes int64) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.index, p.allowance = max(p.index, index), bytes
}

// advance lets go of the entries before index.
func (p *pin) advance(index uint64) {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	p.index = max(p.index, index)
}

// release lets everything go. It may be called again.
func (p *pin) release() {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	delete(p.log.pins, p)
}

func (p *pin) isLost() bool {
	p.log.mu.Lock()
	defer p.log.mu.Unlock()
	return p.lost
}

// losePins drops the pins that may not let the log exceed its limit by so much.
func (g *guardedLog) losePins(excess int64) (lost int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p := range g.pins {
		if p.allowance < excess {
			p.lost = true
			delete(g.pins, p)
			lost++
		}
	}
	return lost
}

// unpinned is the last index up to end that no pin keeps.
func (g *guardedLog) unpinned(end uint64) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p := range g.pins {
		if p.index <= end {
			end = max(p.index, 1) - 1
		}
	}
	return end
}

// progress is what a leader knows of the other replicas from their answers to its entries and
// heartbeats. The library keeps the like and does not tell.
type progress struct {
	// mu is a leaf.
	mu   sync.Mutex
	last map[string]answered
}

// answered is the latest answer of one replica.
type answered struct {
	lastLog uint64 // the end of its log
	look    uint64 // when it came, in the host's looks
}

func (p *progress) note(replica string, lastLog, look uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last == nil {
		p.last = make(map[string]answered)
	}
	p.last[replica] = answered{lastLog: lastLog, look: look}
}

func (p *progress) of(replica string) (answered, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.last[replica]
	return a, ok
}

// successors are the other voters that are connected and have answered within a heartbeat timeout, the one whose log
// ends last first, and those that are to be avoided last.
func (i *instance) successors() []string {
	type candidate struct {
		id      string
		lastLog uint64
	}
	var list []candidate
	for _, s := range i.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage != hraft.Voter || string(s.ID) == i.local {
			continue
		}
		if a, ok := i.healthy(string(s.ID)); ok {
			list = append(list, candidate{string(s.ID), a.lastLog})
		}
	}
	slices.SortStableFunc(list, func(a, b candidate) int {
		avoids := func(c candidate) bool { return i.group.host.avoids(nodeOf(hraft.ServerAddress(c.id))) }
		return cmp.Or(-boolFirst(avoids(a), avoids(b)), cmp.Compare(b.lastLog, a.lastLog))
	})
	ids := make([]string, len(list))
	for k, c := range list {
		ids[k] = c.id
	}
	return ids
}

// healthy is the latest answer of a replica that is connected and has just answered.
func (i *instance) healthy(replica string) (answered, bool) {
	if !i.group.host.mux.Connected(nodeOf(hraft.ServerAddress(replica))) {
		return answered{}, false
	}
	a, ok := i.progress.of(replica)
	return a, ok && a.look+looksPerTimeout >= i.group.host.looks.Load()
}
