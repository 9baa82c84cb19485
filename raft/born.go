package raft

import (
	"fmt"

	"github.com/lightning-db/lightning/internal/vfs"
)

// A replica that has a term in its log store leaves a mark beside it, in the host's directory.
// Before its state machine is first flushed the mark is the only sign that it has lived: if the
// log store is gone then, so are the votes, and the entries that it acknowledged.
const bornDir = "born"

func (g *Group) bornName() string {
	return fmt.Sprintf("%s-%d", g.id, g.replica.Incarnation)
}

// refuseForgotten is asked when neither the log nor the state machine holds anything.
func (g *Group) refuseForgotten() error {
	_, err := g.store.GetUint64([]byte(keyCurrentTerm))
	if err == nil {
		return nil
	}
	if !isKeyNotFound(err) {
		return err
	}
	f, err := g.host.opts.FS.Open(g.host.opts.Dir + "/" + bornDir + "/" + g.bornName())
	if vfs.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look whether the replica ran before: %w", err)
	}
	if err := f.Close(); err != nil {
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
