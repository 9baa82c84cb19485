package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/raft"
)

// Removing replicas that the map does not give to this node any more.
//
// The map says so after the leader has committed a membership without the replica. The node does not rely on that: it
// asks the leader, and as long as that does not confirm it, the replica stays, and one that is open goes on (N5). Then:
//
//  1. The replica is closed.
//  2. Its log, its term and its votes are forgotten, durably. From here on there is no way back: this incarnation is
//     never opened again.
//  3. Its directory gets another name, and goes.
//
// A crash in between leaves a directory whose log was forgotten, or one with the other name: the next call of follow
// goes on without asking.

// removedSuffix ends the name of a directory that is being deleted.
const removedSuffix = ".removed"

const (
	// askLimit bounds one question, since who is asked first may be cut off while another node leads.
	askLimit = time.Second
	// confirmLimit bounds the questions to leaders about one replica, and confirmAllLimit those of one call of follow, which
	// keeps the next map waiting. What is left is asked by the next call.
	confirmLimit    = 3 * time.Second
	confirmAllLimit = 5 * time.Second
	// pendingPause is between two tries at what is pending.
	pendingPause = 2 * time.Second
)

// membersOf asks a node for the members of a group that it leads.
type membersOf func(ctx context.Context, node api.NodeID, group raft.GroupID) (*peerv1.GroupMembers, error)

// replicaKey names a replica of this node.
type replicaKey struct {
	shard       api.ShardID
	incarnation uint64
}

// String is the name of its directory.
func (k replicaKey) String() string {
	return strconv.FormatUint(uint64(k.shard), 10) + "-" + strconv.FormatUint(k.incarnation, 10)
}

func parseReplicaKey(name string) (k replicaKey, ok bool) {
	id, incarnation, found := strings.Cut(name, "-")
	n, err := strconv.ParseUint(id, 10, 64)
	i, err2 := strconv.ParseUint(incarnation, 10, 64)
	k = replicaKey{api.ShardID(n), i}
	return k, found && err == nil && err2 == nil && k.String() == name
}

// inventory are the replicas that are on the disk, after what is left of removed ones has been deleted.
func (r *replicas) inventory() (map[replicaKey]bool, error) {
	if err := r.fs.MkdirAll(r.dir); err != nil {
		return nil, fmt.Errorf("make the directory of the shards: %w", err)
	}
	names, err := r.fs.List(r.dir)
	if err != nil {
		return nil, fmt.Errorf("list the replicas on the disk: %w", err)
	}
	here := make(map[replicaKey]bool)
	for _, name := range names {
		if strings.HasSuffix(name, removedSuffix) {
			if err := r.fs.RemoveAll(r.dir + "/" + name); err != nil {
				return nil, fmt.Errorf("delete a replica that was removed: %w", err)
			}
			continue
		}
		if k, ok := parseReplicaKey(name); ok {
			here[k] = true
		}
	}
	return here, nil
}

// superfluous are the replicas that are here and that the map does not give to this node. One of a shard that the map does
// not know is not: shards do not go, so this map is older than the split that the replica comes from.
func superfluous(here map[replicaKey]bool, m *pb.ClusterMap, self api.NodeID) []replicaKey {
	mine, known := make(map[replicaKey]bool), make(map[api.ShardID]bool)
	for _, s := range meta.ShardsOf(m) {
		known[api.ShardID(s.Id)] = true
		if replica := replicaOf(s, self); replica != nil {
			mine[replicaKey{api.ShardID(s.Id), replica.Incarnation}] = true
		}
	}
	var gone []replicaKey
	for k := range here {
		if !mine[k] && known[k.shard] {
			gone = append(gone, k)
		}
	}
	return gone
}

// othersHere reports whether another incarnation of a replica is on the disk. It has to go first: a node has one
// replica of a shard at most.
func othersHere(here map[replicaKey]bool, key replicaKey) bool {
	for k := range here {
		if k.shard == key.shard && k != key {
			return true
		}
	}
	return false
}

// removeAll removes what it can of some replicas.
func (r *replicas) removeAll(ctx context.Context, m *pb.ClusterMap, gone []replicaKey) (pending bool, err error) {
	var group errgroup.Group
	group.SetLimit(maxConcurrentOpens)
	var left atomic.Bool
	asking, cancel := context.WithTimeout(ctx, cmp.Or(r.confirmWithin, confirmAllLimit))
	defer cancel()
	for _, k := range gone {
		group.Go(func() error {
			done, err := r.remove(asking, m, k)
			if !done {
				left.Store(true)
			}
			return err
		})
	}
	err = group.Wait()
	return left.Load(), err
}

// remove removes one replica, if its leader confirms that it is no member.
func (r *replicas) remove(ctx context.Context, m *pb.ClusterMap, k replicaKey) (done bool, err error) {
	if !r.claim(k.shard) {
		return false, nil // it is being rebuilt
	}
	defer r.unclaim(k.shard)
	discarded, err := r.host.Discarded(raft.GroupID(k.shard), k.incarnation)
	if err != nil {
		return false, err
	}
	if !discarded {
		if err := r.confirmRemoved(ctx, m, k); err != nil {
			r.noteTrouble(k, unconfirmed+err.Error())
			return false, nil
		}
		if err := r.closeReplica(k); err != nil {
			r.logger.Warn("closing a replica that was removed", "shard", uint64(k.shard), "error", err)
		}
		if err := r.host.Discard(raft.GroupID(k.shard), k.incarnation); err != nil {
			return false, err
		}
	}
	return true, r.deleteReplica(k)
}

// deleteReplica deletes the directory of a replica whose log was forgotten.
func (r *replicas) deleteReplica(k replicaKey) error {
	dir := r.dir + "/" + k.String()
	if err := errors.Join(r.fs.Rename(dir, dir+removedSuffix), r.fs.SyncDir(r.dir)); err != nil {
		return fmt.Errorf("delete the replica %s: %w", k, err)
	}
	if err := errors.Join(r.fs.RemoveAll(dir+removedSuffix), r.fs.SyncDir(r.dir)); err != nil {
		return fmt.Errorf("delete the replica %s: %w", k, err)
	}
	r.mu.Lock()
	delete(r.mu.troubled, k)
	r.mu.Unlock()
	r.logger.Info("replica removed", "shard", uint64(k.shard), "incarnation", k.incarnation)
	return nil
}

// closeReplica closes a replica if it is open, and takes it from who would rebuild it.
func (r *replicas) closeReplica(k replicaKey) error {
	r.mu.Lock()
	s := r.mu.open[k.shard]
	if s != nil && s.Options().Incarnation == k.incarnation {
		delete(r.mu.open, k.shard)
	} else {
		s = nil
	}
	if f := r.mu.fenced[k.shard]; f != nil && f.options.Incarnation == k.incarnation {
		delete(r.mu.fenced, k.shard)
	}
	r.mu.Unlock()
	if s == nil {
		return nil
	}
	return s.Close()
}

// unconfirmed begins the trouble of a replica that waits for its leader's word.
const unconfirmed = "the map does not list it any more; it is deleted when the leader confirms that: "

var errStillMember = errors.New("it is still a member of its group")

// confirmRemoved asks the leader of a shard whether a replica of this node is no member. Any node that the map gives a
// replica may lead; the others say that they do not.
func (r *replicas) confirmRemoved(ctx context.Context, m *pb.ClusterMap, k replicaKey) error {
	if seededbug.Enabled(seededbug.NodeDeleteUnconfirmed) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, confirmLimit)
	defer cancel()
	var problems []error
	for _, node := range r.nodesWith(m, k.shard) {
		if ctx.Err() != nil {
			problems = append(problems, fmt.Errorf("not asked yet: %w", ctx.Err()))
			break
		}
		asking, done := context.WithTimeout(ctx, askLimit)
		members, err := r.members(asking, node, raft.GroupID(k.shard))
		done()
		if err != nil {
			problems = append(problems, fmt.Errorf("node %s: %w", node, err))
			continue
		}
		for _, member := range members.GetMembers() {
			if member.NodeId == string(r.self) && member.Incarnation == k.incarnation {
				return errStillMember
			}
		}
		if members.GetIndex() == 0 || len(members.GetMembers()) == 0 {
			return fmt.Errorf("node %s leads shard %d and knows no members of it", node, k.shard)
		}
		return nil
	}
	return fmt.Errorf("no node that leads shard %d has answered: %w", k.shard, errors.Join(problems...))
}

// nodesWith are the nodes that a map gives a replica of a shard, or of the map itself, and this one, last.
func (r *replicas) nodesWith(m *pb.ClusterMap, id api.ShardID) []api.NodeID {
	var nodes []api.NodeID
	holders := &pb.Shard{Id: uint64(raft.MetaGroup), Replicas: m.GetMetaReplicas()}
	for _, s := range append(meta.ShardsOf(m), holders) {
		if s.Id != uint64(id) {
			continue
		}
		for _, replica := range s.Replicas {
			if replica.NodeId != string(r.self) {
				nodes = append(nodes, api.NodeID(replica.NodeId))
			}
		}
	}
	return append(nodes, r.self)
}

// claim keeps others from rebuilding or removing the replica of a shard.
func (r *replicas) claim(id api.ShardID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.busy[id] {
		return false
	}
	if r.mu.busy == nil {
		r.mu.busy = make(map[api.ShardID]bool)
	}
	r.mu.busy[id] = true
	return true
}

func (r *replicas) unclaim(id api.ShardID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.mu.busy, id)
}

func (r *replicas) noteTrouble(k replicaKey, trouble string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.troubled == nil {
		r.mu.troubled = make(map[replicaKey]string)
	}
	r.mu.troubled[k] = trouble
}

// forgetLost forgets the troubles of replicas that are not on the disk and that the map does not give to this node any more.
func (r *replicas) forgetLost(here map[replicaKey]bool, m *pb.ClusterMap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	troubled := make(map[replicaKey]bool, len(r.mu.troubled))
	for k := range r.mu.troubled {
		troubled[k] = true
	}
	for _, k := range superfluous(troubled, m, r.self) {
		if !here[k] {
			delete(r.mu.troubled, k)
		}
	}
}

// forgetTroublesOfMap forgets the troubles of replicas of the map, but for those that are here and not wanted, and for one that is
// wanted and not here.
func (r *replicas) forgetTroublesOfMap(here []uint64, wanted uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.mu.troubled {
		if raft.GroupID(k.shard) == raft.MetaGroup && slices.Contains(here, k.incarnation) == (k.incarnation == wanted) {
			delete(r.mu.troubled, k)
		}
	}
}

// noteLost says that a replica that was here before is not on the disk any more.
func (r *replicas) noteLost(k replicaKey) {
	r.mu.RLock()
	_, known := r.mu.troubled[k]
	r.mu.RUnlock()
	if !known {
		r.logger.Error("a replica that was on this disk before is not there any more; it has to be replaced", "shard", uint64(k.shard), "incarnation", k.incarnation)
	}
	r.noteTrouble(k, "it was on this disk before, and nothing of it is there: replace it by a new one")
}
