package shard

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard/directory"
)

// Rebuilding a replica that is fenced.
//
// Its engine is not to be trusted, its log and its votes are (see raft.Host.Transplant). So it fetches a
// checkpoint from one of the others, whose digest more than half of the voters confirm, puts it in the place
// of its engine, and is a replica like any other again. Until then it stays fenced, over crashes too.

const (
	// copyName and receivedName are directories in that of a replica; neither counts.
	copyName     = "copy"
	receivedName = "received"
)

// Fenced reports whether this replica is out of use because its state differs from the majority's.
func (s *Shard) Fenced() bool { return s.fenced.Load() }

// Options are what the replica was opened with.
func (s *Shard) Options() Options { return s.options }

// MarkFenced makes sure that this replica, which is fenced, is so after a restart as well: Fence may not have been
// able to write that.
func (s *Shard) MarkFenced() error {
	if !s.Fenced() {
		return fmt.Errorf("mark shard %d: %w", s.options.ID, ErrNotFenced)
	}
	if err := writeFence(s.options, cmp.Or(s.group.Status().Err, ErrFenced)); err != nil {
		return fmt.Errorf("shard %d is fenced, but may not be after a restart: %w", s.options.ID, err)
	}
	return nil
}

// SendCheckpoint writes what this replica holds, for one that is fenced. One at a time.
func (s *Shard) SendCheckpoint(w io.Writer) (err error) {
	if s.fenced.Load() || s.halted.Load() {
		return api.Errorf(api.CodeUnavailable, "shard %d: this replica is fenced itself, or the replicas differ without a majority", s.options.ID)
	}
	if !s.copying.TryLock() {
		return api.Errorf(api.CodeUnavailable, "shard %d: another checkpoint is being sent", s.options.ID)
	}
	defer s.copying.Unlock()
	fs, dir := s.options.FS, s.options.Dir+"/"+copyName
	if err := fs.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove an earlier copy: %w", err)
	}
	defer func() { err = errors.Join(err, fs.RemoveAll(dir)) }()
	state, err := s.machine.Checkpoint(dir)
	if err != nil {
		return err
	}
	// Whoever puts it in place raises its term to the state's, which must be the one that the state was committed under
	// (raft's R15). That of the last entry is when this replica has seen no later one: a new leader's first entry ends that.
	if _, term := s.group.Leader(); term != state.Term {
		return api.Errorf(api.CodeUnavailable, "shard %d: this replica has applied nothing yet of its term %d", s.options.ID, term)
	}
	return raft.SendCheckpoint(w, fs, dir, state)
}

// Replacement is a checkpoint that was fetched for a fenced replica and is in its directory.
type Replacement struct {
	state raft.State
	sum   uint64 // the digest that a majority confirmed
}

// ErrNotFenced is the error of FetchReplacement for a replica that is not fenced on disk.
var ErrNotFenced = errors.New("the replica is not fenced")

// FetchReplacement fetches a checkpoint for the replica of o on the node self, which is fenced, from the first
// donor that sends one which a majority confirms. Donors are the nodes that have a replica of the shard now.
func FetchReplacement(ctx context.Context, self api.NodeID, o Options, donors []api.NodeID) (Replacement, error) {
	o = o.withDefaults()
	switch err := refuseFenced(o.FS, o.Dir); {
	case err == nil:
		return Replacement{}, fmt.Errorf("rebuild shard %d: %w", o.ID, ErrNotFenced)
	case !errors.Is(err, ErrFenced):
		return Replacement{}, fmt.Errorf("rebuild shard %d: %w", o.ID, err)
	}
	var problems []error
	for _, donor := range donors {
		if donor == self {
			continue
		}
		r, err := fetchFrom(ctx, self, o, donor)
		if err == nil {
			return r, nil
		}
		problems = append(problems, fmt.Errorf("from node %s: %w", donor, err))
	}
	if len(problems) == 0 {
		problems = append(problems, errors.New("the map gives no other node a replica of it"))
	}
	return Replacement{}, fmt.Errorf("rebuild shard %d: %w", o.ID, errors.Join(problems...))
}

func fetchFrom(ctx context.Context, self api.NodeID, o Options, donor api.NodeID) (Replacement, error) {
	dir := o.Dir + "/" + receivedName
	if err := o.FS.RemoveAll(dir); err != nil {
		return Replacement{}, fmt.Errorf("remove an earlier checkpoint: %w", err)
	}
	var r Replacement
	files, err := raft.ReceiveCheckpoint(o.FS, dir, func(state raft.State) (err error) {
		r.state = state
		r.sum, err = confirm(ctx, self, o, donor, state)
		return err
	})
	if err != nil {
		return r, err
	}
	err = o.Peers.Checkpoint(ctx, donor, o.ID, files)
	if err == nil {
		err = files.Finish()
	}
	if err != nil {
		return r, errors.Join(err, files.Abandon())
	}
	return r, nil
}

// confirm is the digest that more than half of the voters, the donor among them, have after the last entry of a
// checkpoint. They are asked before it arrives: they remember the digests of the latest entries only.
func confirm(ctx context.Context, self api.NodeID, o Options, donor api.NodeID, state raft.State) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, digestTimeout)
	defer cancel()
	// What this replica would say itself counts for nobody.
	reports := askVoters(ctx, o, state.Configuration.Voters(), state.Index, func(v raft.ReplicaID) (Digest, bool) {
		return Digest{}, v.Node == self
	})
	v := judge(reports)
	for _, r := range reports {
		if v.found && r.known && r.replica.Node == donor && r.sum == v.majority {
			return v.majority, nil
		}
		if seededbug.Enabled(seededbug.ShardRebuildUnconfirmed) && r.known && r.replica.Node == donor {
			return r.sum, nil
		}
	}
	return 0, api.Errorf(api.CodeUnavailable, "no majority of the voters confirms the checkpoint at entry %d", state.Index)
}

// Rebuild puts a replacement in the place of what a fenced replica holds, which is closed. Then it is not
// fenced any more, and can be opened.
func Rebuild(host *raft.Host, o Options, r Replacement) error {
	o = o.withDefaults()
	m, err := openMachine(o)
	if err != nil {
		return err
	}
	err = host.Transplant(raft.GroupID(o.ID), o.Incarnation, r.state, m.Durable().Index, func() error {
		return m.replace(o.Dir+"/"+receivedName, r.sum)
	})
	if err = errors.Join(err, m.close()); err != nil {
		return fmt.Errorf("rebuild shard %d: %w", o.ID, err)
	}
	if err := errors.Join(o.FS.Remove(o.Dir+"/"+fenceName), o.FS.SyncDir(o.Dir)); err != nil {
		return fmt.Errorf("rebuild shard %d: lift the fence: %w", o.ID, err)
	}
	o.Logger.Warn("the replica was rebuilt from the others and is not fenced any more", "index", uint64(r.state.Index))
	return nil
}

// replace is Install for a checkpoint whose digest is known.
func (m *Machine) replace(dir string, sum uint64) error {
	err := m.store.Install(dir, func(db *engine.DB, members *directory.Members) error {
		loaded, err := m.load(db, members)
		if err == nil && loaded.digest != sum {
			err = fmt.Errorf("the checkpoint has digest %016x, a majority %016x: %w", loaded.digest, sum, engine.ErrCorrupt)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("install checkpoint: %w", err)
	}
	return nil
}

// removeRests removes what a crash left of checkpoints that were sent or received, and of a child.
func removeRests(fs vfs.FS, dir string) error {
	return errors.Join(fs.RemoveAll(dir+"/"+copyName), fs.RemoveAll(dir+"/"+receivedName), fs.RemoveAll(dir+"/"+childName))
}
