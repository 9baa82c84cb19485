package raft

import (
	"fmt"
	"slices"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/internal/vfs"
)

// prepare checks before every start that the log and the state machine fit together, finishes
// what a crash interrupted, and bootstraps a new replica. A replica whose log was lost or
// replaced must not run: it could vote twice in one term.
func (g *Group) prepare() error {
	state := g.opts.StateMachine.Durable()
	first, err := g.store.FirstIndex()
	if err != nil {
		return err
	}
	last, err := g.store.LastIndex()
	if err != nil {
		return err
	}
	if last == 0 && state.Index == 0 {
		if err := g.refuseForgotten(); err != nil {
			return err
		}
		if err := g.bootstrap(); err != nil {
			return err
		}
		return g.markBorn()
	}
	term, err := g.store.GetUint64([]byte(keyCurrentTerm))
	if err != nil && !isKeyNotFound(err) {
		return err
	}
	switch {
	case term < uint64(state.Term) || term == 0:
		return fmt.Errorf("the raft log was lost or replaced: it knows term %d, the state machine holds entry %d of term %d",
			term, state.Index, state.Term)
	case state.Index > 0 && len(state.Configuration.Servers) == 0:
		return fmt.Errorf("the state machine holds entry %d but no membership", state.Index)
	case last > uint64(state.Index) && first > uint64(state.Index)+1:
		return fmt.Errorf("the raft log begins at %d but the state machine holds only up to %d: it has lost data", first, state.Index)
	}
	// A crash may have come between the installation of a snapshot and the repair of the log.
	if err := g.dropConflict(uint64(state.Index), uint64(state.Term)); err != nil {
		return err
	}
	if err := dropBelow(g.store, uint64(state.Index)); err != nil {
		return err
	}
	if err := g.verifyLog(state, term); err != nil {
		return err
	}
	return g.markBorn()
}

// bootstrap writes the first entry of a new group. Both writes may be repeated after a crash,
// and the entry is the same on every initial voter, so it does not matter who starts first.
func (g *Group) bootstrap() error {
	if g.opts.VotesEmpty {
		// With a term it is known as one that has run, before it votes for anybody.
		return g.firstTerm()
	}
	if !slices.Contains(g.opts.Voters, g.replica) {
		return nil
	}
	var c Configuration
	for _, v := range g.opts.Voters {
		c.Servers = append(c.Servers, Server{Replica: v, Voter: true})
	}
	if err := g.firstTerm(); err != nil {
		return err
	}
	return g.store.StoreLog(&hraft.Log{
		Index: 1, Term: 1, Type: hraft.LogConfiguration, Data: hraft.EncodeConfiguration(c.toLibrary()),
	})
}

// firstTerm makes sure that there is a term: an interrupted bootstrap, or a vote before it, may have left one.
func (g *Group) firstTerm() error {
	_, err := g.store.GetUint64([]byte(keyCurrentTerm))
	if err == nil || !isKeyNotFound(err) {
		return err
	}
	return g.store.SetUint64([]byte(keyCurrentTerm), 1)
}

// verifyLog reads every entry that the library will read, so that damage is found now and not
// in the middle of its start.
func (g *Group) verifyLog(state State, term uint64) error {
	last, err := g.store.LastIndex()
	if err != nil {
		return err
	}
	// At least the last entry, which the library reads even if the state machine holds it.
	for index := max(min(uint64(state.Index)+1, last), 1); index <= last; index++ {
		var e hraft.Log
		if err := g.store.GetLog(index, &e); err != nil {
			return err
		}
		if e.Term > term {
			return fmt.Errorf("the raft log was lost or replaced: it knows term %d, entry %d is of term %d", term, index, e.Term)
		}
	}
	if _, err := g.store.Get([]byte(keyLastVoteCand)); err != nil && !isKeyNotFound(err) {
		return err
	}
	return nil
}

// A replica that has a term in its log store leaves a mark beside it, in the host's directory.
// Before its state machine is first flushed the mark is the only sign that it has lived: if the
// log store is gone then, so are the votes, and the entries that it acknowledged.
const bornDir = "born"

func (g *Group) bornName() string { return bornName(g.id, g.replica.Incarnation) }

func bornName(id GroupID, incarnation uint64) string { return fmt.Sprintf("%s-%d", id, incarnation) }

// refuseForgotten is asked when neither the log nor the state machine holds anything.
func (g *Group) refuseForgotten() error {
	_, err := g.store.GetUint64([]byte(keyCurrentTerm))
	if err == nil {
		return nil
	}
	if !isKeyNotFound(err) {
		return err
	}
	if ran, err := g.host.Ran(g.id, g.replica.Incarnation); err != nil || !ran {
		return err
	}
	return fmt.Errorf("the raft log was lost or replaced: it is empty, but replica %s ran on this disk before", g.replica)
}

// markBorn comes after the term is in the log store and before the replica answers anyone.
func (g *Group) markBorn() error {
	if _, err := g.store.GetUint64([]byte(keyCurrentTerm)); err != nil {
		if isKeyNotFound(err) {
			return nil // a learner that has heard of nobody has nothing to forget
		}
		return err
	}
	fsys, dir := g.host.opts.FS, g.host.opts.Dir+"/"+bornDir
	f, err := fsys.Open(dir + "/" + g.bornName())
	if err == nil {
		return f.Close()
	}
	if !vfs.IsNotExist(err) {
		return fmt.Errorf("look whether the replica ran before: %w", err)
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return fmt.Errorf("mark the replica as running: %w", err)
	}
	if err := vfs.WriteFileAtomic(fsys, dir, g.bornName(), nil); err != nil {
		return fmt.Errorf("mark the replica as running: %w", err)
	}
	return nil
}
