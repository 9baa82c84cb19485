package raft

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/raft/mux"
)

// instance is one run of hashicorp/raft for a group, from NewRaft to Shutdown.
type instance struct {
	group     *Group
	raft      *hraft.Raft
	transport *mux.Transport
	local     string // this replica's id

	hints  chan struct{} // capacity 1: look whether the leader is silent
	wishes chan struct{} // capacity 1: look whether another should lead
	// transferFailed, of capacity 1, says that this replica was to give the leadership away.
	transferFailed chan struct{}
	progress       progress
	granted        map[hraft.ServerID]bool // who confirmed the last reads; owned by Group.readLoop
	catchUps       catchUps

	// inflight are the proposals that the library has; closed once nobody is entering any more.
	inflight chan inflightProposal
	entering sync.WaitGroup

	// stop ends our loops; stopped is closed when the library's goroutines have ended.
	stop     chan struct{}
	stopped  chan struct{}
	stopOnce sync.Once

	// mu is a leaf. It keeps goroutines and proposals from being added when close waits.
	mu struct {
		sync.Mutex
		closed    bool
		proposals int // at most the capacity of inflight
	}
	wg sync.WaitGroup
}

var errLibraryEnded = errors.New("hashicorp/raft did not start: the log failed")

func newInstance(g *Group) (*instance, error) {
	i := &instance{
		group: g, local: g.replica.String(), hints: make(chan struct{}, 1), wishes: make(chan struct{}, 1), transferFailed: make(chan struct{}, 1),
		granted:  make(map[hraft.ServerID]bool),
		inflight: make(chan inflightProposal, maxInflightProposals),
		stop:     make(chan struct{}), stopped: make(chan struct{}),
	}
	i.transport = g.host.mux.NewTransport(mux.TransportOptions{
		Group: uint64(g.id), Local: i.local, Owner: i,
		HeartbeatTimeout: g.host.opts.Timing.HeartbeatTimeout, ElectionTimeout: g.host.opts.Timing.ElectionTimeout,
	})
	r, err := i.newRaft()
	if err != nil {
		return nil, errors.Join(err, i.transport.Close())
	}
	i.raft = r
	return i, nil
}

// newRaft starts the library on a goroutine of its own: guardedLog may end it (R5), and the
// library panics when it cannot read the log.
func (i *instance) newRaft() (r *hraft.Raft, err error) {
	err = errLibraryEnded
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("hashicorp/raft did not start: %v", p)
			}
		}()
		g := i.group
		r, err = hraft.NewRaft(g.libraryConfig(), g.applier, g.log, g.log, g.snapshots, i.transport)
	}()
	<-done
	return r, err
}

// libraryConfig sets every field on purpose.
func (g *Group) libraryConfig() *hraft.Config {
	t := g.host.opts.Timing
	return &hraft.Config{
		ProtocolVersion:    hraft.ProtocolVersionMax,
		HeartbeatTimeout:   t.HeartbeatTimeout,
		ElectionTimeout:    t.ElectionTimeout,
		CommitTimeout:      t.CommitTimeout,
		LeaderLeaseTimeout: t.LeaderLease,
		MaxAppendEntries:   t.MaxAppendEntries,
		SnapshotInterval:   t.SnapshotInterval,
		SnapshotThreshold:  t.SnapshotThreshold,
		TrailingLogs:       1, // guardedLog keeps what is to stay, see reclaim.go
		LocalID:            hraft.ServerID(g.replica.String()),
		Logger:             libraryLogger(g.logger, g.host.opts.Clock),
		// The state machine is its own snapshot.
		NoSnapshotRestoreOnStart: true,
		// A removed replica is stopped by whoever removed it.
		ShutdownOnRemove: false,
		// The library's metrics have no group in their names.
		NoLegacyTelemetry: true,
		// The channel into the library has a buffer, so that what waited during one write of the
		// log goes into the next: 64 writers on three nodes made 9,200 entries a second with it
		// and 760 without. The library never answers what is in the buffer when it shuts down;
		// abandonable is there for that.
		BatchApplyCh: true,
	}
}

// start lets messages in and starts our loops.
func (i *instance) start() {
	i.group.host.mux.Attach(i.transport)
	i.wg.Go(i.completeLoop)
	i.wg.Go(i.leadLoop)
}

// run starts a goroutine that close waits for; false when the instance is closed.
func (i *instance) run(f func()) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.mu.closed {
		return false
	}
	i.wg.Go(f)
	return true
}

// close stops the library and our loops. The order matters: the library's goroutines may be
// waiting in the transport, and ours for the library's futures.
func (i *instance) close() {
	i.stopOnce.Do(func() {
		i.mu.Lock()
		i.mu.closed = true
		i.mu.Unlock()
		i.group.readyTerm.Store(0)
		close(i.stop)
		ended := i.raft.Shutdown()
		_ = i.transport.Close() // never fails
		_ = ended.Error()       // never fails
		close(i.stopped)
		i.lookAtCatchUps(0, true)
		i.entering.Wait()
		close(i.inflight)
		i.wg.Wait()
	})
}

// CurrentTerm implements mux.Owner.
func (i *instance) CurrentTerm() uint64 {
	if i.group.failed() {
		return math.MaxUint64
	}
	return i.raft.CurrentTerm()
}

// CommitIndex implements mux.Owner.
func (i *instance) CommitIndex() uint64 { return i.raft.CommitIndex() }

// Stalled implements mux.Owner.
func (i *instance) Stalled() bool { return i.group.log.stalled() }

// Durable implements mux.Owner.
func (i *instance) Durable() uint64 { return i.group.log.durableThrough() }

// Failed implements mux.Owner.
func (i *instance) Failed() bool { return i.group.failed() }

// Leads implements mux.Owner. The library enters the state of a leader before it replicates, and
// leaves it for good when the term is over.
func (i *instance) Leads(term uint64) bool {
	return i.published() && i.raft.State() == hraft.Leader && i.raft.CurrentTerm() == term
}

// Electing implements mux.Owner.
func (i *instance) Electing() bool { return i.published() && i.raft.State() == hraft.Candidate }

// MayVote implements mux.Owner. The library would vote for anybody while it knows no member (R19).
func (i *instance) MayVote() bool {
	return i.MayLead() || i.group.opts.VotesEmpty && !seededbug.Enabled(seededbug.RaftEmptyMute) || seededbug.Enabled(seededbug.RaftEmptyVotes)
}

// MayLead implements mux.Owner.
func (i *instance) MayLead() bool {
	last, _ := i.group.store.LastIndex() // held in memory
	return last > 0 || i.group.opts.StateMachine.Durable().Index > 0
}

// published reports whether the library's constructor has returned. Its goroutines run before.
func (i *instance) published() bool { return i.group.current.Load() == i }

// Answered implements mux.Owner.
func (i *instance) Answered(replica string, lastLog uint64) {
	i.progress.note(replica, lastLog, i.group.host.looks.Load())
}

var (
	errSnapshotOld       = errors.New("the snapshot is older than what is applied here")
	errSnapshotConflicts = errors.New("the log conflicts with the snapshot and is being repaired")
	errSnapshotSoonHeld  = errors.New("the log holds what the snapshot does and is being synced")
	errSnapshotDeposed   = errors.New("this replica does not lead any more in the term that announces the snapshot")
)

// AppliedIndex implements mux.Owner.
func (i *instance) AppliedIndex() uint64 { return i.group.applier.applied.Load() }

// Leader implements mux.Owner.
func (i *instance) Leader() (term uint64, replica string) {
	term = i.raft.CurrentTerm()
	_, id := i.raft.LeaderWithID()
	return term, string(id)
}

// AdmitSnapshot implements mux.Owner. The library keeps a log whose entry at the
// snapshot's index has another term, and then neither accepts entries after it nor another
// snapshot to any effect (hashicorp/raft issue 697). So the suffix goes first, with the library
// stopped, because it keeps the last index in memory.
func (i *instance) AdmitSnapshot(index, term uint64) error {
	g := i.group
	if index < g.applier.applied.Load() {
		return errSnapshotOld
	}
	conflict, err := conflicts(g.store, index, term)
	if g.log.failed(err) || err != nil {
		return err
	}
	if !conflict {
		return g.unlessHeld(index)
	}
	// Until the library has stopped, a newer leader may replace the suffix and be told that its
	// entries are stored, so the repair looks again.
	g.requestRestart("the log conflicts with a snapshot", func() error { return g.dropConflict(index, term) })
	return errSnapshotConflicts
}

// unlessHeld refuses a snapshot whose last entry is in the log. It is called when that is not of another term.
func (g *Group) unlessHeld(index uint64) error {
	first, err := g.store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := g.store.LastIndex()
	switch {
	case err != nil || first == 0 || index < first || index > last:
		return err
	case g.log.durableThrough() < index:
		return errSnapshotSoonHeld
	}
	return mux.ErrSnapshotHeld
}

// Passed implements mux.Owner.
func (i *instance) Passed(previous uint64) (index, term uint64) {
	state := i.group.opts.StateMachine.Durable()
	if state.Index <= 1 || uint64(state.Index) <= previous {
		return 0, 0
	}
	first, err := i.group.store.FirstIndex()
	if err != nil {
		return 0, 0
	}
	last, err := i.group.store.LastIndex()
	if err != nil || first != 0 && first <= max(previous, 1) && last >= uint64(state.Index) {
		return 0, 0
	}
	return uint64(state.Index), uint64(state.Term)
}

// PrepareSnapshot implements mux.Owner.
func (i *instance) PrepareSnapshot(r *hraft.InstallSnapshotRequest, data io.Reader, applied uint64) (needed bool, err error) {
	s, ok := data.(*sentSnapshot)
	if !ok {
		return false, fmt.Errorf("send a snapshot from a %T", data)
	}
	first, err := i.group.store.FirstIndex()
	if err != nil {
		return false, err
	}
	last, err := i.group.store.LastIndex()
	if err != nil {
		return false, err
	}
	if first != 0 && first <= applied && applied <= last {
		s.meta.Index, r.LastLogIndex = applied, applied
		return false, nil
	}
	if err := s.prepare(r); err != nil {
		return false, err
	}
	// Looked at when the snapshot is made: all of it was committed under this term or before (R15).
	if !i.Leads(r.Term) {
		return false, errSnapshotDeposed
	}
	return true, nil
}

// StageSnapshot implements mux.Owner.
func (i *instance) StageSnapshot(r *hraft.InstallSnapshotRequest, data io.Reader) (discard func(), err error) {
	return i.group.snapshots.stage(r.LastLogIndex, r.LastLogTerm, r.Size, data)
}

// conflicts reports whether the log has an entry at index that is of another term.
func conflicts(store LogStore, index, term uint64) (bool, error) {
	var e hraft.Log
	err := store.GetLog(index, &e)
	if errors.Is(err, hraft.ErrLogNotFound) {
		return false, nil
	}
	return err == nil && e.Term != term, err
}

// dropConflict deletes everything from index on if the entry there is of another term than the
// committed one. The library must not run.
func (g *Group) dropConflict(index, term uint64) error {
	if conflict, err := conflicts(g.store, index, term); err != nil || !conflict {
		return err
	}
	last, err := g.store.LastIndex()
	if err != nil {
		return err
	}
	g.logger.Warn("raft log conflicts with a snapshot and is cut", "from", index, "to", last)
	return g.store.DeleteRange(index, last)
}
