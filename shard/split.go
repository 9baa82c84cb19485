package shard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard/directory"
)

// Splitting a shard in two.
//
// One entry of the parent's log does it, so that every replica does it at the same place in the order of
// writes. Each member makes its replica of the child out of what it holds itself: a checkpoint, which costs links and no copies,
// gets the child's state and membership, and the name of the child's directory. Then the parent gives up the slots and has its next
// epoch. Nothing is taken from anywhere else: not the log, which begins empty, nor a term or a vote, which stay if there are any.
//
// The child is born with everything that the parent remembers of its slots: rows with their versions, answers to requests,
// parts of values, shard time and its ceiling. Both halves hold rows of the other's slots as well, which nobody
// reads; ticks delete them (see foreign.go).
//
// A replica that got beyond the entry by a snapshot has no child of its own. It begins an empty one, which its leader
// sends a snapshot.

// Split says how a shard is split. It is the same on every try.
type Split struct {
	// Child is the shard that gets the slots from At on.
	Child api.ShardID
	At    uint32
	// Epoch is the parent's before the split; the next one is that after it. ChildEpoch is the child's.
	Epoch, ChildEpoch api.Epoch
	// Replicas are the child's first members, which are the parent's members, by node and incarnation.
	Replicas []raft.ReplicaID
}

// Splitter is what a split needs of the node that a replica is on.
type Splitter interface {
	// ChildDir is the directory of the replica of a child, on the file system of its parent's.
	ChildDir(child api.ShardID, incarnation uint64) string
	// OnSplit is told that the parent is split here: this node's replica of the child, if it is to have one, can be opened. It
	// must return at once.
	OnSplit(child api.ShardID)
}

// childName is a directory in that of a replica, in which a child's is made.
const childName = "child"

// maxSplitReplicas bounds the members of a child.
const maxSplitReplicas = 64

func encodeSplit(c *Split) []byte {
	dst := []byte{byte(opSplit), byte(evaluateSplit)}
	dst = binary.AppendUvarint(dst, uint64(c.Child))
	dst = binary.AppendUvarint(dst, uint64(c.At))
	dst = binary.AppendUvarint(dst, uint64(c.Epoch))
	dst = binary.AppendUvarint(dst, uint64(c.ChildEpoch))
	dst = binary.AppendUvarint(dst, uint64(len(c.Replicas)))
	for _, r := range c.Replicas {
		dst = appendBytes(dst, []byte(r.Node))
		dst = binary.AppendUvarint(dst, r.Incarnation)
	}
	return dst
}

func readSplit(r *byteReader) *Split {
	c := &Split{Child: api.ShardID(r.uvarint())}
	at := r.uvarint()
	if at >= api.SlotCount {
		r.fail()
	}
	c.At = uint32(at)
	c.Epoch, c.ChildEpoch = api.Epoch(r.uvarint()), api.Epoch(r.uvarint())
	for range r.count(maxSplitReplicas, 2) {
		c.Replicas = append(c.Replicas, raft.ReplicaID{Node: api.NodeID(r.bytes()), Incarnation: r.uvarint()})
	}
	return c
}

func (c *Split) validate() error {
	if c.Child == 0 || c.Epoch == 0 || c.ChildEpoch == 0 || len(c.Replicas) == 0 || len(c.Replicas) > maxSplitReplicas || c.At >= api.SlotCount {
		return api.Errorf(api.CodeInvalid, "a split without a child, epochs, members or a slot: %+v", *c)
	}
	return nil
}

// Split splits the shard, which this replica must lead. It succeeds at once if that is done already, so that it
// can be repeated after any error.
func (s *Shard) Split(ctx context.Context, c Split) error {
	if err := c.validate(); err != nil {
		return err
	}
	if !s.group.IsReadyLeader() {
		return s.notLeader()
	}
	if err := s.confirm(ctx); err != nil {
		return err
	}
	if s.machine.state().isSplit(&c) {
		return nil
	}
	// So that the entry, which flushes on every replica, has little left to flush.
	if err := s.machine.Flush(); err != nil {
		return err
	}
	t := s.clock.stamp(1, s.machine.state().last)
	// A run of its own: what the proposer has under way behind it was routed by the old epoch.
	data := EncodeEntry(Entry{Level: s.level(), Time: t, CeilingMillis: t.Millis() + maxCeilingAheadMillis, Run: uint64(t), Commands: [][]byte{encodeSplit(&c)}})
	settled := make(chan error, 1)
	s.group.ProposeThen(data, func(result any, _ api.Index, err error) {
		applied, ok := result.(*Applied)
		switch {
		case err != nil:
			err = classify(err)
		case !ok || len(applied.Answers) != 1:
			err = api.Errorf(api.CodeInternal, "apply answered a split with a %T", result)
		case applied.Answers[0].Err != nil:
			err = applied.Answers[0].Err
		}
		settled <- err
	})
	select {
	case err := <-settled:
		if err != nil {
			return fmt.Errorf("split shard %d: %w", s.options.ID, hint(err, s.options.ID))
		}
		s.wakeUpkeep()
		return nil
	case <-ctx.Done():
		return api.Errorf(api.CodeUnknownOutcome, "split shard %d: proposed, and not answered in time: %w", s.options.ID, context.Cause(ctx))
	}
}

// Epoch is the epoch of the shard's arc as this replica has applied it, 0 for a shard that has none yet.
func (s *Shard) Epoch() api.Epoch { return s.machine.state().epoch }

// isSplit reports whether a split is done.
func (s *state) isSplit(c *Split) bool {
	return s.configured && s.epoch == c.Epoch+1 && s.arc.End == c.At && s.splitOff == c.Child
}

// checkSplit refuses a split that is not this shard's, or not its next.
func (s *state) checkSplit(c *Split, members raft.Configuration) *api.Error {
	if refusal := s.checkEpoch(c.Epoch); refusal != nil {
		return refusal
	}
	if c.Child == s.shard || c.validate() != nil || c.At <= s.arc.Start || c.At >= s.arc.End {
		return api.Errorf(api.CodeInvalid, "shard %d with the arc %s cannot be split at slot %d into shard %d", s.shard, s.arc, c.At, c.Child)
	}
	// A majority of the child's members must have what a majority of the parent's has.
	for _, m := range members.Servers {
		if !m.Voter || !slices.Contains(c.Replicas, m.Replica) {
			return api.Errorf(api.CodeUnavailable, "shard %d: %s is a member, and is to be none of shard %d or does not vote yet", s.shard, m.Replica, c.Child)
		}
	}
	if len(members.Servers) != len(c.Replicas) {
		return api.Errorf(api.CodeUnavailable, "shard %d has %d members, shard %d is to have %d", s.shard, len(members.Servers), c.Child, len(c.Replicas))
	}
	return nil
}

// applySplitAlone is applySplit for an entry that has no other command.
func (m *Machine) applySplitAlone(r *run, c *Split, entry *entryReader, at engine.Position) (Answer, error) {
	if entry.count != 1 {
		return Answer{Err: api.Errorf(api.CodeInvalid, "a split has an entry of its own")}, nil
	}
	return m.applySplit(r, c, at)
}

// applySplit splits the shard at an entry. The run is empty.
func (m *Machine) applySplit(r *run, c *Split, at engine.Position) (Answer, error) {
	if r.state.isSplit(c) {
		return Answer{}, nil
	}
	members := r.handle.Members.At(r.db.Applied()).Configuration
	if refusal := r.state.checkSplit(c, members); refusal != nil {
		return Answer{Err: refusal}, nil
	}
	child := r.state
	child.shard, child.epoch, child.splitOff = c.Child, c.ChildEpoch, 0
	child.arc = router.Arc{Start: c.At, End: r.state.arc.End}
	child.mayHoldForeign()
	if seededbug.Enabled(seededbug.ShardSplitForgetCeiling) {
		child.ceilingMillis, child.earlierCeilingMillis = 0, 0
	}
	if err := m.foundChild(r, c, &child, at); err != nil {
		return Answer{}, fmt.Errorf("split off shard %d: %w", c.Child, err)
	}
	if !seededbug.Enabled(seededbug.ShardSplitKeepSlots) {
		r.state.arc.End = c.At
	}
	r.state.epoch, r.state.splitOff = r.state.epoch+1, c.Child
	r.state.mayHoldForeign()
	m.split = append(m.split, c.Child)
	return Answer{}, nil
}

// foundChild makes this node's replica of the child, if it is to have one and has none. When it returns, that is
// durable: only then the parent may note that it is split (S12).
func (m *Machine) foundChild(r *run, c *Split, child *state, at engine.Position) error {
	if m.splitter == nil || !slices.Contains(c.Replicas, m.replica) {
		return nil
	}
	place := m.splitter.ChildDir(c.Child, m.replica.Incarnation)
	if there, err := directory.Founded(m.fs, place); there || err != nil {
		return err
	}
	members := raft.Configuration{Index: api.Index(at.Index)}
	for _, replica := range c.Replicas {
		members.Servers = append(members.Servers, raft.Server{Replica: replica, Voter: true})
	}
	dir := m.dir + "/" + childName
	if err := r.handle.Found(dir, func(db *engine.DB) error { return child.begin(db, members, at) }); err != nil {
		return err
	}
	state := raft.State{Index: members.Index, Term: api.Term(at.Term), Configuration: members}
	founded, err := m.found(raft.GroupID(c.Child), m.replica.Incarnation, state, func() error { return m.move(dir, place) })
	if err == nil && !founded {
		m.logger.Info("a replica of the split-off shard is here already, or was", "shard", uint64(m.id), "child", uint64(c.Child))
		err = m.fs.RemoveAll(dir)
	}
	return err
}

// move gives the child's directory its name. Without CURRENT there is nothing in a directory of that name.
func (m *Machine) move(dir, place string) error {
	err := errors.Join(m.fs.RemoveAll(place), m.fs.Rename(dir, place))
	if err != nil || seededbug.Enabled(seededbug.ShardSplitRecordFirst) {
		return err
	}
	return m.fs.SyncDir(path.Dir(place))
}

// begin makes the checkpoint of a parent the state of its child.
func (s *state) begin(db *engine.DB, members raft.Configuration, at engine.Position) error {
	b := db.NewBatch()
	v := s.rowVersion()
	b.Put(configurationKey(), members.Marshal(), v, 0)
	b.Put(stateRowKey, s.append(nil), v, 0)
	if seededbug.Enabled(seededbug.ShardSplitLosesRequests) {
		start, end := allSessions()
		b.DeleteRange(start, end, v)
	}
	b.SetHorizon(s.horizon())
	b.SetPosition(at)
	return db.Apply(b)
}
