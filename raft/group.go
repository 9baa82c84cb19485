package raft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// GroupOptions configures one group. StateMachine and Tick are required.
type GroupOptions struct {
	ID          GroupID
	Incarnation uint64
	// Voters is the configuration that the group is born with, the same on each of them and for as long as the
	// group lives. It is used only when the log and the state machine are empty and this replica is one of them;
	// any other empty replica waits until a leader sends it entries or a snapshot (R19).
	Voters []ReplicaID
	// VotesEmpty lets this replica vote although it holds nothing yet (R19). Whoever sets it knows that the replica is a
	// voter, and that nothing of it was lost: that it has never run, or has kept what it promised since.
	VotesEmpty bool
	// StateMachine is not closed with the group.
	StateMachine StateMachine
	// Tick makes the command that is proposed after each election. A leader serves reads only
	// when a tick of its own term is applied: then its commit index is the group's, and every
	// later one belongs to an entry that the state machine sees.
	Tick func() []byte
	// PreferredLeader is the node that should lead while nothing speaks against it; empty for none. See
	// Group.SetPreferredLeader.
	PreferredLeader api.NodeID
	// OnLeader is told each time this replica becomes ready to lead. It may block for a while:
	// it runs on a goroutine of the group, not of the library. Optional.
	OnLeader func(term api.Term)
}

// Group is one replica of one group. Safe for concurrent use.
type Group struct {
	// Set by startGroup, never written again.
	host      *Host
	id        GroupID
	replica   ReplicaID
	opts      GroupOptions
	logger    *slog.Logger
	store     LogStore
	log       *guardedLog
	applier   *applier
	snapshots *snapshotStore

	reads    readQueue
	restarts chan restart // capacity 1

	// current is the library's instance; it is replaced when the group restarts itself.
	current atomic.Pointer[instance]
	// readyTerm is the term in which this replica leads, has applied its tick, and has a clock
	// that a majority agrees with (R11); 0 if none.
	readyTerm atomic.Uint64
	everReady atomic.Bool
	elections atomic.Uint64 // times it became ready
	sent      atomic.Uint64 // snapshots

	bytesKept int64 // of the log when it was cut last; owned by reclaimLoop

	preferred atomic.Pointer[api.NodeID]

	// silence is watchLoop's, spread and doubts leadLoop's; see silence.go, spread.go and clockcheck.go.
	silence   silence
	spread    spread
	doubts    clockDoubts
	suspected atomic.Pointer[suspicion]
	// clockTrouble is what the latest comparison of clocks has against this one; nil for nothing.
	clockTrouble atomic.Pointer[string]

	closeOnce sync.Once
	closing   chan struct{}
	done      chan struct{} // everything has ended

	failOnce sync.Once
	failedCh chan struct{} // closed after cause is set
	cause    *api.Error
}

// restart asks for a new instance after repair has run with the old one stopped.
type restart struct {
	reason string
	repair func() error
}

func startGroup(h *Host, o GroupOptions) (*Group, error) {
	g := &Group{
		host: h, id: o.ID, replica: ReplicaID{Node: h.opts.Node, Incarnation: o.Incarnation}, opts: o,
		restarts: make(chan restart, 1),
		closing:  make(chan struct{}), done: make(chan struct{}), failedCh: make(chan struct{}),
	}
	g.logger = h.opts.Logger.With("group", uint64(o.ID), "replica", g.replica.String())
	g.reads.wake = make(chan struct{}, 1)
	g.preferred.Store(&o.PreferredLeader)
	staging := fmt.Sprintf("%s/staging/%s-%d", h.opts.Dir, o.ID, o.Incarnation)
	if err := errors.Join(h.opts.FS.RemoveAll(staging), h.opts.FS.MkdirAll(staging)); err != nil {
		return nil, fmt.Errorf("empty staging directory: %w", err)
	}
	store, err := h.opts.Storage.Open(o.ID, o.Incarnation)
	if err != nil {
		return nil, err
	}
	g.store = store
	g.log = newGuardedLog(store, func() api.Index { return o.StateMachine.Durable().Index }, g.fail)
	g.log.tail = tail{entries: h.opts.Timing.TrailingLogs, bytes: h.tailBytes}
	g.log.stored, g.log.end = g.onStored, g.durableEnd
	g.log.writes.stuck = uint64(h.opts.StallLimit * looksPerTimeout / h.opts.Timing.HeartbeatTimeout)
	g.log.writes.looks.Store(h.looks.Load()) // a write before the first look is not as old as the host
	g.log.writes.onStuck = func() { g.fail(&StalledError{Group: g.id, For: h.opts.StallLimit}) }
	g.storeEarly()
	g.applier = newApplier(o.StateMachine, g.log, g.fail, g.failed)
	g.snapshots = newSnapshotStore(o.StateMachine, h.opts.FS, staging, g.log)
	if err := g.startInstance(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	go g.superviseLoop()
	return g, nil
}

// onStored wakes what replicates. The library writes to the log before its instance is known, too.
func (g *Group) onStored(last uint64) {
	if i := g.current.Load(); i != nil {
		i.transport.Stored(last)
	}
}

// startInstance checks the storage and starts the library on it.
func (g *Group) startInstance() error {
	if err := g.prepare(); err != nil {
		return err
	}
	g.snapshots.restart()
	i, err := newInstance(g)
	if err != nil {
		return err
	}
	g.current.Store(i)
	i.start()
	return nil
}

// superviseLoop owns the instance: it stops it at the end or at a failure and replaces it when
// it has to be restarted.
func (g *Group) superviseLoop() {
	defer close(g.done)
	defer g.finish()
	var reads sync.WaitGroup
	reads.Go(g.readLoop)
	defer reads.Wait()
	for {
		i := g.current.Load()
		select {
		case <-g.closing:
			i.close()
			return
		case <-g.failedCh:
			i.close()
			<-g.closing
			return
		case r := <-g.restarts:
			g.logger.Warn("raft group restarts", "reason", r.reason)
			i.close()
			err := r.repair()
			if err == nil {
				err = g.startInstance()
			}
			if err != nil {
				g.fail(fmt.Errorf("restart group %s: %w", g.id, err))
			}
		}
	}
}

// finish closes the log.
func (g *Group) finish() {
	g.host.remove(g)
	if err := g.store.Close(); err != nil {
		g.logger.Error("raft log not closed", "error", err)
	}
}

// requestRestart asks superviseLoop for a restart; one at a time is enough.
func (g *Group) requestRestart(reason string, repair func() error) {
	select {
	case g.restarts <- restart{reason: reason, repair: repair}:
	default:
	}
}

// fail stops the group for good at the first failure of its storage (R5).
func (g *Group) fail(err error) {
	g.failOnce.Do(func() {
		g.cause = api.Errorf(api.CodeStoreFailed, "group %s: %w", g.id, err)
		close(g.failedCh)
		g.readyTerm.Store(0)
		g.host.fail(g.cause)
	})
}

// Fence stops this replica for good though its storage is well: it does not vote, lead or serve any
// more. Every later call fails with cause.
func (g *Group) Fence(cause error) {
	g.failOnce.Do(func() {
		g.cause = api.Errorf(api.CodeUnavailable, "group %s: %w", g.id, cause)
		close(g.failedCh)
		g.readyTerm.Store(0)
	})
}

func (g *Group) failed() bool {
	select {
	case <-g.failedCh:
		return true
	default:
		return false
	}
}

// unwell is the error of every call after a failure or Close, nil before.
func (g *Group) unwell() error {
	select {
	case <-g.failedCh:
		return g.cause
	case <-g.closing:
		return api.Errorf(api.CodeShuttingDown, "group %s is closed", g.id)
	default:
		return nil
	}
}

// ID is the group's number.
func (g *Group) ID() GroupID { return g.id }

// Replica is this member's identity.
func (g *Group) Replica() ReplicaID { return g.replica }

// Leader is the node that leads, as far as this replica knows, and the current term. The node
// is empty while there is none.
func (g *Group) Leader() (api.NodeID, api.Term) {
	r := g.current.Load().raft
	term := r.CurrentTerm()
	address, _ := r.LeaderWithID()
	if address == "" && seededbug.Enabled(seededbug.SkipReadIndex) && g.everReady.Load() {
		return g.replica.Node, api.Term(term)
	}
	return nodeOf(address), api.Term(term)
}

// IsReadyLeader reports whether this replica believes that it leads and has applied everything
// of earlier terms. Only ReadIndex proves that it still does.
func (g *Group) IsReadyLeader() bool {
	_, err := g.readyLeader()
	return err == nil
}

// readyLeader returns the term in which this replica leads and is ready, or a NOT_LEADER error.
func (g *Group) readyLeader() (uint64, error) {
	if err := g.unwell(); err != nil {
		return 0, err
	}
	r := g.current.Load().raft
	term := r.CurrentTerm()
	if r.State() != hraft.Leader {
		return 0, g.notLeader("group %s is led elsewhere", g.id)
	}
	if g.readyTerm.Load() != term {
		return 0, g.notLeader("group %s has just elected this node, which is not ready", g.id)
	}
	return term, nil
}

// notLeader makes a NOT_LEADER error with the hint that Leader gives.
func (g *Group) notLeader(format string, args ...any) error {
	e := api.Errorf(api.CodeNotLeader, format, args...)
	e.Shard = api.ShardID(g.id)
	e.Leader, _ = g.Leader()
	return e
}

// WaitApplied returns when the state machine has applied index.
func (g *Group) WaitApplied(ctx context.Context, index api.Index) error {
	if err := g.unwell(); err != nil {
		return err
	}
	return g.applier.wait(ctx, uint64(index), g.closing)
}

// Snapshot flushes the state machine and cuts the log now, whatever the thresholds say.
func (g *Group) Snapshot() error {
	if err := g.unwell(); err != nil {
		return err
	}
	i := g.current.Load()
	f := i.raft.Snapshot()
	abandonable(f, i.stopped)
	err := f.Error()
	if errors.Is(err, hraft.ErrNothingNewToSnapshot) {
		err = g.opts.StateMachine.Flush() // nothing was applied since the start
	}
	if err != nil {
		return fmt.Errorf("snapshot of group %s: %w", g.id, err)
	}
	return nil
}

// Close stops the replica: proposals on their way end with an unknown outcome, and the group
// goes on without it. It does not give the leadership away first.
func (g *Group) Close() error {
	g.closeOnce.Do(func() { close(g.closing) })
	<-g.done
	return nil
}

// GroupStatus is what one replica knows of its group. The fields are read one after the other
// and may be of slightly different moments.
type GroupStatus struct {
	Group     GroupID
	Replica   ReplicaID
	Role      string // Leader, Follower, Candidate or Shutdown
	Ready     bool   // leads and is ready to serve
	Preferred bool   // is the one that should lead
	Leader    api.NodeID
	Term      api.Term
	Commit    api.Index
	Applied   api.Index // by the state machine
	Durable   api.Index // in the state machine
	FirstLog  api.Index // 0 when the log is empty
	LastLog   api.Index
	Voters    []ReplicaID
	Elections uint64 // times this replica became ready to lead since it started
	// Snapshots received and put in place, and sent, since the start.
	SnapshotsInstalled uint64
	SnapshotsSent      uint64
	// Err is why the group has stopped, nil while it runs.
	Err error
}

// Status reports the replica's state.
func (g *Group) Status() GroupStatus {
	r := g.current.Load().raft
	first, _ := g.store.FirstIndex() // held in memory, cannot fail
	last, _ := g.store.LastIndex()
	s := GroupStatus{
		Group: g.id, Replica: g.replica, Role: r.State().String(), Ready: g.IsReadyLeader(), Preferred: g.Preferred(),
		Commit: api.Index(r.CommitIndex()), Applied: api.Index(g.applier.applied.Load()),
		Durable:  g.opts.StateMachine.Durable().Index,
		FirstLog: api.Index(first), LastLog: api.Index(last),
		Elections:          g.elections.Load(),
		SnapshotsInstalled: g.applier.installed.Load(), SnapshotsSent: g.sent.Load(),
		Err: g.unwell(),
	}
	s.Leader, s.Term = g.Leader()
	if c, err := configurationFromLibrary(0, r.GetConfiguration().Configuration()); err == nil {
		s.Voters = c.Voters()
	}
	return s
}
