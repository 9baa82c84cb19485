package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/trace"
	"github.com/lightning-db/lightning/raft"
)

// defaultRetentionMillis is how long a fresh shard keeps versions that nobody has a snapshot of.
// Ten seconds are enough for a reader that works through pages, or gathers shards, at one
// version, and short enough that what is overwritten soon leaves the disk. It is replicated:
// every replica forgets by the same rule.
const defaultRetentionMillis = uint64(10 * time.Second / time.Millisecond)

// Shard is one replica of a shard. Safe for concurrent use.
type Shard struct {
	// Set by Open, never written again.
	reader   // Get, Scan and Count, GetStale and ScanStale, Prove
	options  Options
	steady   *steadyClock
	proposer *proposer
	group    *raft.Group

	// fenced says that this replica has left the group until it was rebuilt; halted, that it leads and refuses
	// writes because the replicas differ.
	fenced, halted atomic.Bool
	// compared is the newest digest that all voters were asked for. Owned by upkeepLoop.
	compared digestAt
	copying  sync.Mutex // held while a checkpoint is sent
	// hurry, of capacity 1, wakes upkeepLoop when there may be more to do than it looks for by itself.
	hurry chan struct{}

	ctx     context.Context // ends when the shard is closed
	cancel  context.CancelFunc
	closing sync.Once
	loops   sync.WaitGroup
}

// Open opens a replica and joins its group.
func Open(host *raft.Host, o Options) (*Shard, error) {
	o = o.withDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := refuseFenced(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("open shard %d: %w", o.ID, err)
	}
	if err := removeRests(o.FS, o.Dir); err != nil {
		return nil, fmt.Errorf("open shard %d: %w", o.ID, err)
	}
	m, err := openMachine(o)
	if err != nil {
		return nil, err
	}
	steady := &steadyClock{wall: o.Clock, stopwatch: o.Stopwatch}
	m.replica, m.splitter, m.found = raft.ReplicaID{Node: host.Node(), Incarnation: o.Incarnation}, o.Splitter, host.Found
	s := &Shard{options: o, steady: steady, hurry: make(chan struct{}, 1), reader: reader{id: o.ID, machine: m, clock: &hybridClock{wall: steady}}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.proposer = newProposer((*groupLog)(s), s.clock, o.Stopwatch)
	s.proposer.level = s.level
	s.reader.confirm, s.reader.tick, s.reader.tickSoon = s.confirm, s.proposer.tick, s.proposer.tickSoon
	s.reader.proofs, s.reader.applied = newProofs(o.Stopwatch, s.fetchProof), s.waitApplied
	s.group, err = host.Start(raft.GroupOptions{
		ID: raft.GroupID(o.ID), Incarnation: o.Incarnation, Voters: o.Voters, VotesEmpty: o.VotesEmpty, StateMachine: m,
		Tick: s.firstEntry, OnLeader: s.onLeader, PreferredLeader: o.PreferredLeader,
	})
	if err != nil {
		s.cancel()
		return nil, errors.Join(fmt.Errorf("open shard %d: %w", o.ID, err), m.close())
	}
	s.proposer.follow = s.group.Follow
	s.proposer.start()
	s.loops.Add(1)
	go s.upkeepLoop()
	return s, nil
}

// groupLog is the Raft group as the proposer uses it.
type groupLog Shard

// Ready implements log.
func (l *groupLog) Ready() error {
	if !l.group.IsReadyLeader() {
		return (*Shard)(l).notLeader()
	}
	if l.halted.Load() {
		return errHalted
	}
	return nil
}

// Propose implements log.
func (l *groupLog) Propose(data []byte, settled func(any, api.Index, error)) {
	l.group.ProposeThen(data, settled)
}

// Term implements log.
func (l *groupLog) Term() api.Term {
	_, term := l.group.Leader()
	return term
}

// Applied implements log.
func (l *groupLog) Applied() api.Version { return l.machine.state().last }

func (s *Shard) confirm(ctx context.Context) error {
	_, span := trace.Begin(ctx, "read index")
	_, err := s.group.ReadIndex(ctx)
	span.End(err)
	return err
}

func (s *Shard) waitApplied(ctx context.Context, index api.Index) error {
	return s.group.WaitApplied(ctx, index)
}

// firstEntry is what a new leader proposes before it is ready: a tick, by which the term gets a
// time above everything that earlier leaders used, and the arc of a shard that has none.
func (s *Shard) firstEntry() []byte {
	s.steady.trust() // raft has just compared the clock with others (R11)
	var commands [][]byte
	if !s.machine.state().configured {
		commands = append(commands, encodeConfigure(configuration{
			shard: s.options.ID, start: s.options.Arc.Start, end: s.options.Arc.End, epoch: s.options.Epoch,
			retentionMillis: defaultRetentionMillis,
		}))
	}
	commands = append(commands, encodeTick())
	t := s.clock.stamp(len(commands), s.machine.state().last)
	// A run of its own: the proposer's begins later.
	return EncodeEntry(Entry{Time: t, CeilingMillis: t.Millis() + maxCeilingAheadMillis, Run: uint64(t), Level: s.level(), Commands: commands})
}

// level is that of the entries that are proposed now.
func (s *Shard) level() uint8 { return levelOf(s.options.ClusterVersion()) }

// onLeader runs when the first entry of a term is applied here.
func (s *Shard) onLeader(term api.Term) {
	s.options.Logger.Info("leading", "term", uint64(term))
	s.wakeUpkeep()
}

// Apply writes a batch through the group and returns what it came to; one that only reads is
// answered as a read is. An error that matches api.ErrUnknownOutcome leaves open whether it was,
// or will be, applied.
func (s *Shard) Apply(ctx context.Context, c Command) (api.Result, error) {
	o := s.Begin(ctx, []Command{c}).Wait(ctx)[0]
	return o.Result, o.Err
}

func (s *Shard) notLeader() error {
	why := "is led by another node"
	leader, _ := s.group.Leader()
	switch leader {
	case "":
		why = "has no leader that this node knows"
	case s.group.Replica().Node:
		leader, why = "", "has just elected this node, which is not up to date yet"
	}
	err := api.Errorf(api.CodeNotLeader, "shard %d %s", s.options.ID, why)
	err.Shard, err.Leader = s.options.ID, leader
	return err
}

// hint adds the shard to an error that does not name it. Errors may be shared, so it copies.
func hint(err error, shard api.ShardID) error {
	var e *api.Error
	if !errors.As(err, &e) || e.Shard != 0 {
		return err
	}
	named := *e
	named.Shard = shard
	named.Message = err.Error()
	return &named
}

// ID is the shard's.
func (s *Shard) ID() api.ShardID { return s.options.ID }

// Group is the Raft group of this replica.
func (s *Shard) Group() *raft.Group { return s.group }

// Leader is the node that leads as far as this replica knows, empty when it knows none.
func (s *Shard) Leader() (api.NodeID, api.Term) { return s.group.Leader() }

// Status is what this replica reports about itself.
func (s *Shard) Status() *pb.ReplicaStatus {
	g := s.group.Status()
	if s.fenced.Load() {
		g.Role = "fenced"
	}
	return &pb.ReplicaStatus{
		ShardId: uint64(s.options.ID), Role: strings.ToLower(g.Role), Term: uint64(g.Term),
		CommitIndex: uint64(g.Commit), AppliedIndex: uint64(g.Applied), DurableIndex: uint64(g.Durable),
		LeaderId: string(g.Leader), FirstLogIndex: uint64(g.FirstLog), LastLogIndex: uint64(g.LastLog),
		SnapshotsInstalled: g.SnapshotsInstalled, DiskBytes: s.machine.diskBytes(),
		Trouble: s.trouble(g.Err), WritesStopped: s.halted.Load(),
	}
}

// EngineMetrics are figures about the replica's engine, which begin anew when a snapshot is installed; false once the
// replica is closed.
func (s *Shard) EngineMetrics() (engine.Metrics, bool) { return s.machine.metrics() }

// trouble is what an operator has to know of this replica, empty when it is well.
func (s *Shard) trouble(stopped error) string {
	switch {
	case stopped != nil:
		return stopped.Error()
	case s.halted.Load():
		return errHalted.Error()
	default:
		return s.group.ClockTrouble()
	}
}

// DiskBytes is the size of the engine's tables.
func (s *Shard) DiskBytes() uint64 { return s.machine.diskBytes() }

// Requests counts the reads and writes that came to this replica since it was opened, but for reads that need no leader.
// A scan counts once for each page.
func (s *Shard) Requests() uint64 { return s.requests.Load() }

// Flush makes everything applied so far durable in the engine.
func (s *Shard) Flush() error { return s.machine.Flush() }

// Snapshot flushes the engine and cuts the log behind what it then holds.
func (s *Shard) Snapshot() error {
	if err := s.group.Snapshot(); err != nil {
		return fmt.Errorf("snapshot shard %d: %w", s.options.ID, err)
	}
	return nil
}

// upkeepLoop lets the leader of an idle shard move shard time while data waits for it.
func (s *Shard) upkeepLoop() {
	defer s.loops.Done()
	ticker := time.NewTicker(s.options.UpkeepInterval)
	defer ticker.Stop()
	var soon <-chan time.Time // while there may be rows of other shards
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.hurry:
			s.maybeTick()
		case <-soon:
			s.maybeTick()
		case <-ticker.C:
			s.maybeTick()
			s.maybeCompare()
		}
		if soon = nil; s.machine.state().foreign.from != "" && s.group.IsReadyLeader() {
			soon = time.After(foreignInterval)
		}
	}
}

func (s *Shard) wakeUpkeep() {
	select {
	case s.hurry <- struct{}{}:
	default: // it is told already
	}
}

// maybeTick ticks if this replica leads and the state is due for it. A tick that fails is made
// up for by the next one.
func (s *Shard) maybeTick() {
	now := clock.Millis(s.options.Clock)
	if !s.group.IsReadyLeader() || !s.machine.state().wantsTick(now, uint64(s.options.UpkeepInterval.Milliseconds())) {
		return
	}
	if err := s.proposer.tick(s.ctx); err != nil {
		s.options.Logger.Debug("upkeep", "error", err)
	}
}

// maybeCompare compares the replicas if this one leads. A new leader finds out anew whether writes
// must stop.
func (s *Shard) maybeCompare() {
	if !s.group.IsReadyLeader() {
		s.halted.Store(false)
		return
	}
	s.compare(s.ctx)
}

// Close leaves the group and closes the engine. It waits for everything in flight; writes whose
// outcome is open by then are told so.
func (s *Shard) Close() error {
	var err error
	s.closing.Do(func() {
		s.cancel()
		s.loops.Wait()
		s.proofs.close()
		s.proposer.close()
		err = errors.Join(s.group.Close(), s.machine.close())
	})
	return err
}
