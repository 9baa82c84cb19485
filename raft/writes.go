package raft

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/seededbug"
)

// writes are the writes of one log that are under way. The host looks at them from time to time,
// see silence.go, which costs a write two short locks and no timer.
type writes struct {
	// slow and stuck are how many looks a write may see before it is said to be so.
	slow, stuck uint64
	onStuck     func()

	stalled atomic.Bool // a write is slow
	looks   atomic.Uint64

	// mu is a leaf.
	mu    sync.Mutex
	began []uint64 // the looks at which they began, in no order
	// early are those that nobody waits for, oldest first; what began at one look is one.
	early []earlyWrite
}

// earlyWrite is entries up to last.
type earlyWrite struct{ last, began uint64 }

// run runs one write.
func (w *writes) run(write func() error) error {
	began := w.looks.Load()
	w.mu.Lock()
	w.began = append(w.began, began)
	w.mu.Unlock()
	defer w.end(began) // also when the write ends its goroutine
	return write()
}

func (w *writes) end(began uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	at := slices.Index(w.began, began)
	w.began = slices.Delete(w.began, at, at+1)
	w.stalled.Store(w.oldest() > w.slow)
}

// expect notes that entries up to last are about to be written and that nobody will wait.
func (w *writes) expect(last uint64) {
	began := w.looks.Load()
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.early); n > 0 && w.early[n-1].began == began {
		w.early[n-1].last = last
		return
	}
	w.early = append(w.early, earlyWrite{last, began})
}

// reached notes that the entries up to last are durable.
func (w *writes) reached(last uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for n < len(w.early) && w.early[n].last <= last {
		n++
	}
	w.early = slices.Delete(w.early, 0, n)
	w.stalled.Store(w.oldest() > w.slow)
}

// oldest is how many looks the longest write has seen. The caller holds the lock.
func (w *writes) oldest() uint64 {
	now := w.looks.Load()
	began := now
	if len(w.early) > 0 {
		began = w.early[0].began
	}
	if len(w.began) > 0 {
		began = min(began, slices.Min(w.began))
	}
	return now - began
}

// look counts one look at the writes.
func (w *writes) look(now uint64) {
	w.looks.Store(now)
	w.mu.Lock()
	age := w.oldest()
	w.stalled.Store(age > w.slow)
	w.mu.Unlock()
	if age > w.stuck {
		w.onStuck()
	}
}

// Entries whose writer does not wait for the sync.
//
// The library calls StoreLogs on its main loop and takes what it stored for durable: a leader counts
// itself at once and then sends, a follower answers. The syncs of leader and follower follow one another,
// and the main loop does nothing meanwhile. Here StoreLogs returns when the entries are queued, and the
// transport holds back what must not be said before they are durable (RM10): a follower's yes, and at the leader
// the yes of a follower until the leader's own log is durable that far. The decision record
// docs/decisions/0013 has the proof that a majority holds durably what is committed; it needs (R14) that
//
//   - entries are early only while the latest membership has two voters or more: a leader that is the
//     only one commits without any answer that could be held back;
//   - entries are early only if all of them are commands. The first entry of a leader's term and every
//     membership are durable before anything follows from them;
//   - entries are early only if they follow the last one, so that what is not durable is the end of the log;
//   - terms, votes and cuts are waited for, and are durable after everything stored before them.

// storeEarly has the log of the group take entries early, if it can.
func (g *Group) storeEarly() {
	store, ok := g.store.(EarlyLogStore)
	if !ok {
		return
	}
	g.log.early = earlyWrites{store: store, allowed: g.hasOtherVoters, durable: func() {
		if i := g.current.Load(); i != nil {
			i.transport.Durable()
		}
	}}
	store.OnDurable(g.log.onDurable)
}

// hasOtherVoters reports whether the latest membership that the library knows has two voters or more. On the
// library's main loop that is the membership by which it counts.
func (g *Group) hasOtherVoters() bool {
	i := g.current.Load()
	if i == nil {
		return false
	}
	voters := 0
	for _, s := range i.raft.GetConfiguration().Configuration().Servers {
		if s.Suffrage == hraft.Voter {
			voters++
		}
	}
	return voters > 1 || seededbug.Enabled(seededbug.RaftEarlyAlone)
}

// mayStoreEarly reports whether nobody has to wait for entries.
func (g *guardedLog) mayStoreEarly(entries []*hraft.Log) bool {
	if g.early.store == nil || len(entries) == 0 {
		return false
	}
	for _, e := range entries {
		if e.Type != hraft.LogCommand {
			return false
		}
	}
	return g.early.allowed()
}

func (g *guardedLog) storeEarly(entries []*hraft.Log) error {
	last := entries[len(entries)-1].Index
	g.writes.expect(last)
	early, err := g.early.store.StoreEarly(entries)
	if !early {
		g.writes.reached(last) // and with it everything before
		if err == nil {
			g.passages.passed(last, durableAt)
		}
	}
	return err
}

// onDurable is called on the goroutine of the log's writer.
func (g *guardedLog) onDurable(through uint64, err error) {
	if g.failed(err) || err != nil {
		return
	}
	g.writes.reached(through)
	g.passages.passed(through, durableAt)
	g.early.durable()
}

// durableThrough is the index up to which everything stored is durable.
func (g *guardedLog) durableThrough() uint64 {
	if g.early.store == nil {
		return math.MaxUint64
	}
	return g.early.store.Durable()
}
