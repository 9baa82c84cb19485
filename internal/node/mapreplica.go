package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
)

// The replica of the cluster map on this node.
//
// A founder opens the one that the cluster began with. After that the map says who has one, and it moves like the
// replicas of shards: a node that the map names opens it, empty, and one that the map does not name any more asks the leader
// of the group before it closes and deletes it (N5). At a start the disk is what counts, not the map that was seen last:
// if all nodes start at once there is nobody to ask, and what is on the disks has to find its majority.
//
// Its directory is meta/<incarnation>. The mark that its log was forgotten comes first when it is deleted, so that a directory
// with that mark is rubbish, whatever the map says.

// mapReplica is what this node has of the map. Its methods are called by one goroutine.
type mapReplica struct {
	cluster pledge.Cluster

	// Nil and 0 while none is open.
	open        *meta.Meta
	incarnation uint64
	stopMaster  context.CancelFunc
	masters     sync.WaitGroup
}

func (n *node) mapDir(incarnation uint64) string {
	return n.config.DataDir + "/meta/" + strconv.FormatUint(incarnation, 10)
}

// mapReplicasHere are the incarnations on the disk, after what is left of discarded ones was deleted.
func (n *node) mapReplicasHere() ([]uint64, error) {
	dir := n.config.DataDir + "/meta"
	if err := n.fs.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make the directory of the cluster map: %w", err)
	}
	names, err := n.fs.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list the replicas of the cluster map: %w", err)
	}
	var here []uint64
	for _, name := range names {
		incarnation, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			continue
		}
		discarded, err := n.host.Discarded(raft.MetaGroup, incarnation)
		if err != nil {
			return nil, err
		}
		if !discarded {
			here = append(here, incarnation)
			continue
		}
		if err := errors.Join(n.fs.RemoveAll(n.mapDir(incarnation)), n.fs.SyncDir(dir)); err != nil {
			return nil, fmt.Errorf("delete a replica of the cluster map that was removed: %w", err)
		}
	}
	slices.Sort(here)
	return here, nil
}

// openMeta opens the meta replica that is on the disk, or that the cluster was founded with, and begins to follow the map.
func (n *node) openMeta(ctx context.Context, cluster pledge.Cluster) error {
	n.mapReplica.cluster = cluster
	here, err := n.mapReplicasHere()
	if err != nil {
		return &DataDirError{n.config.DataDir, err}
	}
	incarnation := uint64(0)
	if len(here) > 0 {
		incarnation = here[len(here)-1]
	} else if meta.HasReplica(cluster, n.id) {
		discarded, err := n.host.Discarded(raft.MetaGroup, meta.FoundersIncarnation)
		if err != nil {
			return &DataDirError{n.config.DataDir, err}
		}
		if !discarded {
			incarnation = meta.FoundersIncarnation
		}
	}
	if incarnation > 0 {
		if err := n.openMapReplica(ctx, incarnation); err != nil {
			return err
		}
	}
	n.follower.Start(cluster, n.mapReplica.open)
	return nil
}

// openMapReplica opens the replica and lets the master run on it until ctx ends.
func (n *node) openMapReplica(ctx context.Context, incarnation uint64) error {
	r := &n.mapReplica
	local, err := meta.Open(n.host, meta.Options{
		Dir: n.mapDir(incarnation), FS: n.fs, Self: n.id, Cluster: r.cluster, Incarnation: incarnation, Logger: n.logger.With("group", "meta"),
	})
	if err != nil {
		return &DataDirError{n.config.DataDir, fmt.Errorf("open the meta replica: %w", err)}
	}
	r.open, r.incarnation = local, incarnation
	n.logger.Info("replica of the cluster map open", "incarnation", incarnation)
	m := n.newMaster(local)
	n.mastery.master.Store(m)
	ctx, r.stopMaster = context.WithCancel(ctx)
	r.masters.Go(func() { m.Run(ctx) })
	return nil
}

// closeMapReplica closes the replica, if one is open.
func (n *node) closeMapReplica() error {
	r := &n.mapReplica
	if r.open == nil {
		return nil
	}
	r.stopMaster()
	r.masters.Wait()
	n.mastery.master.Store(nil)
	n.follower.Detach()
	local := r.open
	r.open, r.incarnation = nil, 0
	return local.Close()
}

// followMapReplica makes the replica of the map on this node the one that m gives to it. It reports whether something
// has to be tried again.
func (n *node) followMapReplica(ctx context.Context, m *pb.ClusterMap) (pending bool, err error) {
	here, err := n.mapReplicasHere()
	if err != nil {
		return true, err
	}
	mine := meta.MapReplica(m, string(n.id))
	defer func() { n.replicas.forgetTroublesOfMap(here, mine.GetIncarnation()) }()
	for _, incarnation := range here {
		if incarnation == mine.GetIncarnation() {
			continue
		}
		gone, err := n.removeMapReplica(ctx, m, incarnation)
		if err != nil {
			return true, err
		}
		pending = pending || !gone
	}
	if here, err = n.mapReplicasHere(); err != nil {
		return true, err
	}
	if pending || mine == nil || n.mapReplica.open != nil || ctx.Err() != nil {
		return pending, nil
	}
	key := replicaKey{api.ShardID(raft.MetaGroup), mine.Incarnation}
	discarded, err := n.host.Discarded(raft.MetaGroup, mine.Incarnation)
	if err != nil {
		return true, err
	}
	switch {
	case discarded: // the map is old
		return false, nil
	case !mine.Learner && !slices.Contains(here, mine.Incarnation): // it has forgotten its votes (N6)
		n.replicas.noteLost(key)
		return false, nil
	}
	if err := n.openMapReplica(ctx, mine.Incarnation); err != nil {
		return true, err
	}
	n.follower.Attach(n.mapReplica.open)
	return false, nil
}

// removeMapReplica deletes a replica, if the leader confirms that it is no member.
func (n *node) removeMapReplica(ctx context.Context, m *pb.ClusterMap, incarnation uint64) (done bool, err error) {
	key := replicaKey{api.ShardID(raft.MetaGroup), incarnation}
	if err := n.replicas.confirmRemoved(ctx, m, key); err != nil {
		n.replicas.noteTrouble(key, unconfirmed+err.Error())
		return false, nil
	}
	if n.mapReplica.incarnation == incarnation {
		if err := n.closeMapReplica(); err != nil {
			n.logger.Warn("closing a replica of the cluster map that was removed", "error", err)
		}
	}
	if err := n.host.Discard(raft.MetaGroup, incarnation); err != nil {
		return false, err
	}
	n.logger.Info("replica of the cluster map removed", "incarnation", incarnation)
	return true, nil
}
