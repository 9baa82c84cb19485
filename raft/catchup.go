package raft

import (
	"io"
	"sync"
)

// catchUps are the followers that have put a snapshot in place and do not have yet what was written
// while it was on its way. Their entries stay in the log: under full load it is cut faster than a large
// snapshot travels, and a follower would need one after the other and never catch up.
//
// A follower that is silent for maxCatchUpSilence, or a leadership that ends, lets the entries go; so
// does a storage that is full, because reclaiming it ignores what followers lack.
type catchUps struct {
	// mu is a leaf.
	mu   sync.Mutex
	list []catchUp
}

type catchUp struct {
	replica string
	since   uint64 // in the host's looks
	unpin   func()
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
	i.catchUps.list = append(i.catchUps.list, catchUp{replica: replica, since: i.group.host.looks.Load(), unpin: s.unpin})
}

// lookAtCatchUps lets go of what nobody needs any more. It is called at every look, and with all set
// when the instance ends or the storage is full.
func (i *instance) lookAtCatchUps(now uint64, all bool) {
	for _, c := range i.takeCaughtUp(now, all) {
		c.unpin()
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
		if heard := max(a.look, c.since); all || a.lastLog+caughtUp >= last || heard+maxCatchUpSilence < now {
			done = append(done, c)
		} else {
			kept = append(kept, c)
		}
	}
	i.catchUps.list = kept
	return done
}
