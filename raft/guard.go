package raft

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"runtime"
	"sync"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// guardedLog stands between hashicorp/raft and a LogStore. It stops the group at the first
// failure, refuses to delete what the state machine does not hold (R4), and keeps what a
// snapshot on its way will need.
//
// The library panics when the term cannot be written or a committed entry cannot be read.
// What disks do must not end the process that way, and no answer can be invented either. So
// after the group was stopped the library's goroutine is ended where it stands: its deferred
// calls run, which answer its caller with no and stop its replication, and nothing after the
// failure does (R5).
//
// It also tells when a write takes too long. A leader that cannot write must not keep its
// office by heartbeats and empty appends, which the library sends all the same (hashicorp/raft
// issue 503), so the transport then sends none.
type guardedLog struct {
	store   LogStore
	durable func() api.Index
	fail    func(error)
	stored  func(last uint64) // told where the log ends after each write of entries
	// end stands in for the entry at which the state machine's durable state ends, which need not be in the log.
	end    func(index uint64, out *hraft.Log) bool
	writes writes
	early  earlyWrites

	passages passages

	tail tail

	// mu is a leaf.
	mu   sync.Mutex
	pins map[*pin]struct{}
}

func newGuardedLog(store LogStore, durable func() api.Index, fail func(error)) *guardedLog {
	return &guardedLog{
		store: store, durable: durable, fail: fail, stored: func(uint64) {}, end: func(uint64, *hraft.Log) bool { return false }, pins: make(map[*pin]struct{}),
		writes: writes{slow: looksPerTimeout, stuck: math.MaxUint64},
	}
}

// earlyWrites is what a log needs that does not wait for its syncs; see writes.go.
type earlyWrites struct {
	store   EarlyLogStore // nil if every write is waited for
	allowed func() bool
	durable func() // is told that more is durable
}

// stalled reports whether a write has been going on for longer than a heartbeat timeout.
func (g *guardedLog) stalled() bool { return g.writes.stalled.Load() }

// failed reports err to the group, unless it only says that something is absent, closed or held already.
func (g *guardedLog) failed(err error) bool {
	if err == nil || errors.Is(err, hraft.ErrLogNotFound) || errors.Is(err, errStateHolds) || isKeyNotFound(err) || errors.Is(err, fs.ErrClosed) {
		return false
	}
	g.fail(err)
	return true
}

// FirstIndex implements hraft.LogStore.
func (g *guardedLog) FirstIndex() (uint64, error) { return g.store.FirstIndex() }

// LastIndex implements hraft.LogStore.
func (g *guardedLog) LastIndex() (uint64, error) { return g.store.LastIndex() }

// GetLog implements hraft.LogStore. It does not return if the entry is damaged.
func (g *guardedLog) GetLog(index uint64, out *hraft.Log) error {
	err := g.store.GetLog(index, out)
	if errors.Is(err, hraft.ErrLogNotFound) && g.end(index, out) {
		return nil
	}
	if g.failed(err) {
		runtime.Goexit()
	}
	return err
}

// durableEnd is the entry at which the durable state ends, without its data, for a follower whose log begins behind
// it. The library knows index and term of its last snapshot, but does not look there when a leader asks for what
// comes before the first entry of the log. A follower whose first entries conflict with the leader's
// would refuse all that it is sent, for ever. A leader must not have it: it would send it to others.
func (g *Group) durableEnd(index uint64, out *hraft.Log) bool {
	i := g.current.Load()
	if i == nil || i.raft.State() != hraft.Follower {
		return false
	}
	state := g.opts.StateMachine.Durable()
	if index <= 1 || uint64(state.Index) != index {
		return false
	}
	*out = hraft.Log{Index: index, Term: uint64(state.Term), Type: hraft.LogNoop}
	return true
}

// StoreLog implements hraft.LogStore.
func (g *guardedLog) StoreLog(e *hraft.Log) error { return g.StoreLogs([]*hraft.Log{e}) }

// StoreLogs implements hraft.LogStore.
func (g *guardedLog) StoreLogs(entries []*hraft.Log) error {
	err := g.checkPlace(entries)
	if err == nil {
		g.passages.storing(entries)
		if g.mayStoreEarly(entries) {
			err = g.storeEarly(entries)
		} else {
			if err = g.writes.run(func() error { return g.store.StoreLogs(entries) }); err == nil && len(entries) > 0 {
				g.passages.passed(entries[len(entries)-1].Index, durableAt)
			}
		}
	}
	if !g.failed(err) && err == nil && len(entries) > 0 {
		g.stored(entries[len(entries)-1].Index)
	}
	return err
}

var errStateHolds = errors.New("the state machine holds the entries, and the log does not reach that far any more")

// checkPlace lets entries leave a gap only if the state machine holds what is missing, and refuses those that it holds
// (R17). Such ones come late, to a log that was dropped meanwhile, and are no failure; in a log that goes on behind
// the state machine's end they would replace what is committed.
func (g *guardedLog) checkPlace(entries []*hraft.Log) error {
	last, err := g.store.LastIndex()
	if err != nil || len(entries) == 0 {
		return err
	}
	first, durable := entries[0].Index, uint64(g.durable())
	switch {
	case first <= durable && last < durable && !seededbug.Enabled(seededbug.RaftStoreBelowSnapshot):
		return errStateHolds
	case first <= durable && last >= durable:
		return fmt.Errorf("replace entry %d: the state machine holds up to %d", first, durable)
	case first > last+1 && first > durable+1:
		return fmt.Errorf("store entry %d: the log ends at %d and the state machine at %d", first, last, durable)
	}
	return nil
}

// dropPassed deletes a log that ends below the state machine's durable state (R17).
func (g *guardedLog) dropPassed() error {
	err := g.writes.run(func() error { return dropBelow(g.store, uint64(g.durable())) })
	g.failed(err)
	return err
}

// dropBelow deletes a log that ends below a committed entry, which the state machine holds with all before it. Such a
// log may have entries that others were committed in the place of: nothing shows that, because the log does not reach the
// entry at which it could be compared. A leader sends what its log has, with its commit index, until
// it has stored the first entry of its term, and a follower that lacks the committed ones would apply them.
func dropBelow(store LogStore, index uint64) error {
	first, err := store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := store.LastIndex()
	if err != nil || last == 0 || last >= index || seededbug.Enabled(seededbug.RaftKeepLogBelowSnapshot) {
		return err
	}
	return store.DeleteRange(first, last)
}

// DeleteRange implements hraft.LogStore. A prefix may go further than the state machine, which
// never sees the entries that the library makes for itself: then the rest of it stays. So does what
// followers that lag a little, or that a snapshot is on its way to, will need (see reclaim.go and catchup.go).
func (g *guardedLog) DeleteRange(start, end uint64) error {
	last, err := g.store.LastIndex()
	if err != nil {
		return err
	}
	return g.deleteRange(start, end, last, g.tail.before(g.store, last))
}

// cut deletes a prefix as DeleteRange does, and keeps no tail.
func (g *guardedLog) cut(start, end uint64) error {
	last, err := g.store.LastIndex()
	if err != nil {
		return err
	}
	return g.deleteRange(start, end, last, end)
}

// deleteRange deletes a prefix up to what the state machine holds, or a suffix of what it does not. A prefix may be all
// of the log, if the state machine holds that.
func (g *guardedLog) deleteRange(start, end, last, tail uint64) error {
	first, err := g.store.FirstIndex()
	if err != nil {
		return err
	}
	durable := uint64(g.durable())
	if start <= first && seededbug.Enabled(seededbug.RaftCutBeyondDurable) {
		durable = max(durable, end) // the bug: what the state machine holds in memory only is cut as well
	}
	switch {
	case first == 0 || end < first || start > last: // nothing is there; the library may remember a log that was dropped
		return nil
	case start <= first && (end < last || end <= durable): // a prefix that is not needed any more
		if end = g.unpinned(min(end, durable, tail)); end < start {
			return nil
		}
	case end >= last && start > durable: // a suffix that conflicts with the leader's
	default:
		err := fmt.Errorf("delete entries %d to %d: the state machine holds up to %d", start, end, durable)
		g.fail(err)
		return err
	}
	err = g.writes.run(func() error { return g.store.DeleteRange(start, end) })
	g.failed(err)
	return err
}

// Set implements hraft.StableStore.
func (g *guardedLog) Set(key, value []byte) error {
	err := g.writes.run(func() error { return g.store.Set(key, value) })
	g.failed(err)
	return err
}

// Get implements hraft.StableStore.
func (g *guardedLog) Get(key []byte) ([]byte, error) {
	value, err := g.store.Get(key)
	g.failed(err)
	return value, err
}

// SetUint64 implements hraft.StableStore. It does not return if the term cannot be written.
func (g *guardedLog) SetUint64(key []byte, value uint64) error {
	err := g.writes.run(func() error { return g.store.SetUint64(key, value) })
	if err == nil {
		return nil
	}
	g.fail(err)
	if string(key) == keyCurrentTerm {
		runtime.Goexit()
	}
	return err
}

// GetUint64 implements hraft.StableStore.
func (g *guardedLog) GetUint64(key []byte) (uint64, error) {
	value, err := g.store.GetUint64(key)
	g.failed(err)
	return value, err
}

var _ interface {
	hraft.LogStore
	hraft.StableStore
} = (*guardedLog)(nil)
