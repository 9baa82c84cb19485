package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/datadir"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard"
)

// The phases of Apply. The mark in the directory says which one is to be carried out, from its beginning.
const (
	phaseBuild   = "build"   // make the new files
	phaseAside   = "aside"   // move what is there into old
	phaseInstall = "install" // move the new files to where a node looks for them
)

// mark is the content of datadir.RecoveryFile.
type mark struct {
	Plan  string `json:"plan"`
	Phase string `json:"phase"`
}

// parts are the names in a data directory that a recovery replaces. The identity, the lock and the pledge stay.
var parts = []string{"cluster", "map", "shards", "meta", "raft", "born", "staging"}

// applier applies a plan to one directory, which it has locked.
type applier struct {
	Site
	plan *Plan
	self api.NodeID
	work string
}

// Apply changes a directory as a plan says whose id the caller accepts. It may be repeated after any error or crash,
// and has no effect once it is done. What was there before is in old, which may be deleted.
func Apply(s Site, p *Plan, accept string) (old string, err error) {
	if accept != p.ID {
		return "", fmt.Errorf("plan %s is not accepted: read what is lost, then say --accept %s", p.ID, p.ID)
	}
	self, lock, err := datadir.OpenStopped(s.FS, s.Dir)
	if err != nil {
		return "", fmt.Errorf("apply plan %s to %s: %w", p.ID, s.Dir, err)
	}
	a := &applier{Site: s, plan: p, self: self, work: s.Dir + "/recovery-" + p.ID}
	if err = errors.Join(a.apply(), lock.Close()); err != nil {
		return "", fmt.Errorf("apply plan %s to %s: %w", p.ID, s.Dir, err)
	}
	return a.work + "/old", nil
}

func (a *applier) apply() error {
	if !slices.ContainsFunc(a.plan.Nodes, func(n Node) bool { return n.ID == string(a.self) }) {
		return fmt.Errorf("node %s is not in the plan: nothing was collected from it. Collect from all nodes that are left and make another plan", a.self)
	}
	phase, err := a.phase()
	if err != nil {
		return err
	}
	switch phase {
	case "":
		return nil
	case phaseBuild:
		if err := a.build(); err != nil {
			return err
		}
		if err := a.setPhase(phaseAside); err != nil {
			return err
		}
		fallthrough
	case phaseAside:
		if err := a.move(a.Dir, a.work+"/old"); err != nil {
			return err
		}
		if err := a.setPhase(phaseInstall); err != nil {
			return err
		}
		fallthrough
	case phaseInstall:
		if err := a.move(a.work+"/new", a.Dir); err != nil {
			return err
		}
		return a.end()
	}
	return fmt.Errorf("%s names the phase %q, which this version does not know", datadir.RecoveryFile, phase)
}

// phase is where to go on, empty if the plan is applied.
func (a *applier) phase() (string, error) {
	data, err := vfs.ReadFile(a.FS, a.Dir+"/"+datadir.RecoveryFile)
	switch {
	case vfs.IsNotExist(err):
		return a.begin()
	case err != nil:
		return "", err
	}
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return "", fmt.Errorf("read %s: %w", datadir.RecoveryFile, err)
	}
	if m.Plan != a.plan.ID {
		return "", fmt.Errorf("plan %s was begun here: apply it to its end first", m.Plan)
	}
	return m.Phase, nil
}

// begin makes sure that the directory is what the plan was made from (RC4).
func (a *applier) begin() (string, error) {
	cluster, err := pledge.ReadCluster(a.FS, a.Dir, a.self)
	if err != nil {
		return "", err
	}
	if cluster != nil && cluster.ID == a.plan.NewCluster {
		return "", nil
	}
	view, err := a.collect(a.self)
	if err != nil {
		return "", err
	}
	sum, err := view.digest()
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(a.plan.Nodes, func(n Node) bool { return n.ID == string(a.self) })
	if sum != a.plan.Nodes[at].View {
		return "", errors.New("the directory is not as it was collected: the node ran since. Stop all nodes, collect again and make another plan")
	}
	return phaseBuild, a.setPhase(phaseBuild)
}

func (a *applier) setPhase(phase string) error {
	data, err := json.Marshal(mark{Plan: a.plan.ID, Phase: phase})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(a.FS, a.Dir, datadir.RecoveryFile, append(data, '\n'))
}

// build makes the new files. When it returns they are durable, and nothing that was there is changed (RC2).
func (a *applier) build() (err error) {
	dir := a.work + "/new"
	if err := errors.Join(a.FS.RemoveAll(dir), a.FS.MkdirAll(dir+"/shards"), a.FS.MkdirAll(dir+"/meta")); err != nil {
		return err
	}
	old, err := a.storage(a.Dir + "/raft")
	if err != nil {
		return err
	}
	defer closing(old, &err)
	if err := a.buildGroups(old, dir); err != nil {
		return err
	}
	var state peerv1.MetaState
	if err := proto.Unmarshal(a.plan.State, &state); err != nil {
		return fmt.Errorf("read the map of the plan: %w", err)
	}
	// Nobody founded this cluster: no node may begin its map again.
	if err := pledge.WriteCluster(a.FS, dir, pledge.Cluster{ID: a.plan.NewCluster, Shards: int(state.ShardCount)}); err != nil {
		return err
	}
	if err := meta.WriteSeenMap(a.FS, dir, state.Map); err != nil {
		return err
	}
	for _, made := range []string{dir + "/shards", dir + "/meta", dir + "/raft", dir, a.work, a.Dir} {
		if err := a.FS.SyncDir(made); err != nil {
			return err
		}
	}
	return nil
}

// buildGroups makes the replicas of this node, and their terms.
func (a *applier) buildGroups(old raft.Storage, dir string) (err error) {
	storage, err := a.storage(dir + "/raft")
	if err != nil {
		return err
	}
	defer closing(storage, &err)
	for i := range a.plan.Groups {
		g := &a.plan.Groups[i]
		isMap := g.Group == uint64(raft.MetaGroup)
		if g.Node != string(a.self) || g.From == 0 && !isMap {
			continue
		}
		founded, err := raft.FoundStopped(storage, raft.GroupID(g.Group), g.Incarnation, g.position(), func() error {
			if isMap {
				return a.buildMap(dir, g)
			}
			return a.buildShard(old, dir, g)
		})
		if err != nil {
			return err
		}
		if !founded {
			return fmt.Errorf("%s has a log already", groupName(g.Group))
		}
	}
	return nil
}

func (a *applier) buildMap(dir string, g *Group) error {
	var state peerv1.MetaState
	if err := proto.Unmarshal(a.plan.State, &state); err != nil {
		return fmt.Errorf("read the map of the plan: %w", err)
	}
	at := dir + "/meta/" + strconv.FormatUint(g.Incarnation, 10)
	return errors.Join(meta.WriteState(a.FS, at, &state), a.FS.SyncDir(at))
}

// buildShard makes a replica of the old one: its state, all entries of its log, and a configuration with itself as the only member.
func (a *applier) buildShard(storage raft.Storage, dir string, g *Group) (err error) {
	old, err := shard.OpenStopped(a.shardOptions(a.shardDir(g.Group, g.From), g.Group, g.From))
	if err != nil {
		return err
	}
	defer closing(old, &err)
	at := dir + "/shards/" + shardName(g.Group, g.Incarnation)
	next, err := shard.OpenStopped(a.shardOptions(at, g.Group, g.Incarnation))
	if err != nil {
		return err
	}
	defer closing(next, &err)
	state := old.Durable()
	if state.Index > 0 {
		copied := dir + "/checkpoint"
		if _, err := old.Checkpoint(copied); err != nil {
			return err
		}
		if err := next.Install(copied); err != nil {
			return err
		}
	}
	r := Replica{Group: g.Group, Incarnation: g.From}
	err = walk(storage, &r, state, func(entries []raft.Entry) error {
		_, err := next.Apply(entries)
		return err
	})
	if err != nil {
		return err
	}
	position := g.position()
	last := raft.Entry{Index: position.Index, Term: position.Term, Configuration: &position.Configuration}
	if _, err := next.Apply([]raft.Entry{last}); err != nil {
		return err
	}
	if r.Last != g.Last || r.Term != g.LastTerm || uint64(next.Epoch()) != g.Epoch {
		return fmt.Errorf("shard %d ends at entry %d of term %d with epoch %d, the plan says %d, %d and %d",
			g.Group, r.Last, r.Term, next.Epoch(), g.Last, g.LastTerm, g.Epoch)
	}
	return next.Flush()
}

// move moves the parts of a data directory that are in from. Those that were moved before are not there any more.
func (a *applier) move(from, to string) error {
	if err := a.FS.MkdirAll(to); err != nil {
		return err
	}
	names, err := a.FS.List(from)
	if err != nil && !vfs.IsNotExist(err) {
		return err
	}
	for _, name := range names {
		if !slices.Contains(parts, name) {
			continue
		}
		if err := a.FS.Rename(from+"/"+name, to+"/"+name); err != nil {
			return err
		}
	}
	if err := a.FS.SyncDir(to); err != nil {
		return err
	}
	if len(names) == 0 {
		return nil
	}
	return a.FS.SyncDir(from)
}

// end lets nodes start again.
func (a *applier) end() error {
	if err := errors.Join(a.FS.RemoveAll(a.work+"/new"), a.FS.SyncDir(a.work), a.FS.SyncDir(a.Dir)); err != nil {
		return err
	}
	if err := a.FS.Remove(a.Dir + "/" + datadir.RecoveryFile); err != nil {
		return err
	}
	return a.FS.SyncDir(a.Dir)
}
