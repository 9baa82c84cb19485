package recovery

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/datadir"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/shard"
)

// Site is a data directory whose node is stopped.
type Site struct {
	FS  vfs.FS
	Dir string
	// Storage opens the logs in a directory. Nil: as a node does.
	Storage func(dir string) (raft.Storage, error)
}

func (s Site) storage(dir string) (raft.Storage, error) {
	if s.Storage != nil {
		return s.Storage(dir)
	}
	return raft.NewNodeStorage(raft.NodeStorageOptions{Dir: dir, FS: s.FS, Entropy: entropy.System()})
}

// ErrUnfinished is the error of Collect for a directory that Apply was changing when it was cut short.
var ErrUnfinished = errors.New("a recovery was cut short here: run recover apply again with the plan that it was begun with")

// Collect reads what a directory holds. Like a start of the node it may tidy up files, and changes nothing of what they say.
func Collect(s Site) (*View, error) {
	id, lock, err := datadir.OpenStopped(s.FS, s.Dir)
	if err != nil {
		return nil, fmt.Errorf("collect from %s: %w", s.Dir, err)
	}
	v, err := s.collect(id)
	if err = errors.Join(err, lock.Close()); err != nil {
		return nil, fmt.Errorf("collect from %s: %w", s.Dir, err)
	}
	return v, nil
}

func (s Site) collect(id api.NodeID) (*View, error) {
	if there, err := exists(s.FS, s.Dir+"/"+datadir.RecoveryFile); there || err != nil {
		return nil, errors.Join(ErrUnfinished, err)
	}
	cluster, err := pledge.ReadCluster(s.FS, s.Dir, id)
	if err != nil {
		return nil, err
	}
	if cluster == nil {
		return nil, errors.New("the node belongs to no cluster yet")
	}
	v := &View{Format: viewFormat, Node: string(id), Cluster: cluster.ID}
	if seen := meta.SeenMap(s.FS, s.Dir); seen != nil {
		if v.SeenMap, err = (proto.MarshalOptions{Deterministic: true}).Marshal(seen); err != nil {
			return nil, err
		}
	}
	storage, err := s.storage(s.Dir + "/raft")
	if err != nil {
		return nil, err
	}
	v.Replicas, err = s.replicas(storage)
	return v, errors.Join(err, storage.Close())
}

// replicas looks at all replicas that are on the disk and were not discarded.
func (s Site) replicas(storage raft.Storage) ([]Replica, error) {
	shards, err := s.names("shards", parseShard)
	if err != nil {
		return nil, err
	}
	maps, err := s.names("meta", parseMap)
	if err != nil {
		return nil, err
	}
	var all []Replica
	for _, r := range append(maps, shards...) {
		dropped, err := storage.Dropped(raft.GroupID(r.Group), r.Incarnation)
		if err != nil {
			return nil, err
		}
		if dropped {
			continue
		}
		if r.Group == uint64(raft.MetaGroup) {
			err = s.lookAtMap(storage, &r)
		} else {
			err = s.lookAtShard(storage, &r)
		}
		if err != nil { // this replica's, or the disk's: then the others fail as well
			r = Replica{Group: r.Group, Incarnation: r.Incarnation, Trouble: err.Error()}
		}
		all = append(all, r)
	}
	return all, nil
}

// names are the replicas whose directories are in dir, sorted.
func (s Site) names(dir string, parse func(string) (Replica, bool)) ([]Replica, error) {
	names, err := s.FS.List(s.Dir + "/" + dir)
	if vfs.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var found []Replica
	for _, name := range names {
		if r, ok := parse(name); ok {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b Replica) int {
		return compare(a.Group, b.Group, a.Incarnation, b.Incarnation)
	})
	return found, nil
}

func parseMap(name string) (Replica, bool) {
	incarnation, err := strconv.ParseUint(name, 10, 64)
	return Replica{Group: uint64(raft.MetaGroup), Incarnation: incarnation}, err == nil
}

func parseShard(name string) (Replica, bool) {
	id, incarnation, _ := strings.Cut(name, "-")
	g, err := strconv.ParseUint(id, 10, 64)
	i, err2 := strconv.ParseUint(incarnation, 10, 64)
	r := Replica{Group: g, Incarnation: i}
	return r, err == nil && err2 == nil && shardName(g, i) == name
}

func shardName(group, incarnation uint64) string { return fmt.Sprintf("%d-%d", group, incarnation) }

// walk opens the log of a replica, notes where it ends, and hands out the entries that the state does not hold.
func walk(storage raft.Storage, r *Replica, state raft.State, use func([]raft.Entry) error) (err error) {
	log, err := raft.OpenStopped(storage, raft.GroupID(r.Group), r.Incarnation, state)
	if err != nil {
		return err
	}
	defer closing(log, &err)
	r.Last, r.Term, r.CurrentTerm = uint64(log.Last), uint64(log.LastTerm), uint64(log.CurrentTerm)
	r.Members = membersOf(state.Configuration)
	return log.Entries(func(entries []raft.Entry) error {
		for _, e := range entries {
			if e.Configuration != nil {
				r.Members = membersOf(*e.Configuration)
			}
		}
		return use(entries)
	})
}

func closing(c io.Closer, err *error) { *err = errors.Join(*err, c.Close()) }

func (s Site) lookAtMap(storage raft.Storage, r *Replica) error {
	m, err := meta.OpenMachine(s.FS, s.mapDir(r.Incarnation))
	if err != nil {
		return err
	}
	err = walk(storage, r, m.Durable(), func(entries []raft.Entry) error {
		_, err := m.Apply(entries) // in memory
		return err
	})
	if err == nil {
		r.State, err = proto.MarshalOptions{Deterministic: true}.Marshal(m.State())
	}
	return err
}

func (s Site) lookAtShard(storage raft.Storage, r *Replica) (err error) {
	m, err := shard.OpenStopped(s.shardOptions(s.shardDir(r.Group, r.Incarnation), r.Group, r.Incarnation))
	if err != nil {
		return err
	}
	defer closing(m, &err)
	r.Epoch = uint64(m.Epoch())
	return walk(storage, r, m.Durable(), func(entries []raft.Entry) error {
		for _, e := range entries {
			epoch, children, err := shard.EpochAfter(e, api.Epoch(r.Epoch))
			if err != nil {
				return fmt.Errorf("entry %d: %w", e.Index, err)
			}
			r.Epoch = uint64(epoch)
			for _, child := range children {
				r.Children = append(r.Children, uint64(child))
			}
		}
		return nil
	})
}

func (s Site) shardOptions(dir string, group, incarnation uint64) shard.Options {
	return shard.Options{ID: api.ShardID(group), Incarnation: incarnation, Dir: dir, FS: s.FS}
}

func (s Site) shardDir(group, incarnation uint64) string {
	return s.Dir + "/shards/" + shardName(group, incarnation)
}

func (s Site) mapDir(incarnation uint64) string {
	return s.Dir + "/meta/" + strconv.FormatUint(incarnation, 10)
}

func exists(fsys vfs.FS, name string) (bool, error) {
	f, err := fsys.Open(name)
	if vfs.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// compare compares pairs, the first one that differs.
func compare(pairs ...uint64) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		switch {
		case pairs[i] < pairs[i+1]:
			return -1
		case pairs[i] > pairs[i+1]:
			return 1
		}
	}
	return 0
}
