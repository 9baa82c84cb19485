package router

import (
	"sync"
	"sync/atomic"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

// Router is the newest table that was seen and a cache of leaders. Safe for concurrent use.
type Router struct {
	table atomic.Pointer[Table]

	// update serialises Update, so that its check and its store are one step (T2).
	update sync.Mutex

	// leaders is a leaf: nothing is locked and no I/O is done while it is held. It holds only
	// shards of the table, so it is bounded by the map.
	leaders struct {
		sync.Mutex
		byShard map[api.ShardID]api.NodeID
	}
}

// New makes a router that knows nothing.
func New() *Router {
	r := &Router{}
	r.leaders.byShard = make(map[api.ShardID]api.NodeID)
	return r
}

// Update takes a map if it is newer than the one in use, and reports whether it did. A map that
// does not validate is refused with the reason and the old one stays.
func (r *Router) Update(m *pb.ClusterMap) (bool, error) {
	r.update.Lock()
	defer r.update.Unlock()
	old := r.table.Load()
	if old != nil && m.GetRevision() <= old.Revision() {
		return false, nil
	}
	t, err := NewTable(m)
	if err != nil {
		return false, err
	}
	r.table.Store(t)
	r.forgetForeign(t)
	return true, nil
}

// forgetForeign drops cached leaders of shards that are gone and leaders that left their shard.
func (r *Router) forgetForeign(t *Table) {
	r.leaders.Lock()
	defer r.leaders.Unlock()
	for id, leader := range r.leaders.byShard {
		if s, ok := t.Shard(id); !ok || !s.hasReplicaOn(leader) {
			delete(r.leaders.byShard, id)
		}
	}
}

func (s Shard) hasReplicaOn(node api.NodeID) bool {
	for _, r := range s.Replicas {
		if r.Node == node {
			return true
		}
	}
	return false
}

// Table is the newest table, nil before the first Update.
func (r *Router) Table() *Table { return r.table.Load() }

// Leader is who was last said to lead a shard: a hint, not truth.
func (r *Router) Leader(shard api.ShardID) (api.NodeID, bool) {
	r.leaders.Lock()
	defer r.leaders.Unlock()
	n, ok := r.leaders.byShard[shard]
	return n, ok
}

// SetLeader remembers a hint. A node that holds no replica of the shard is ignored, and so is
// an empty one: it would not be a better first try than any replica.
func (r *Router) SetLeader(shard api.ShardID, leader api.NodeID) {
	r.leaders.Lock()
	defer r.leaders.Unlock()
	t := r.table.Load() // under the lock: a newer table forgets what it does not have after it is stored
	if t == nil {
		return
	}
	if s, ok := t.Shard(shard); ok && s.hasReplicaOn(leader) {
		r.leaders.byShard[shard] = leader
	}
}

// ForgetLeader drops the hint after it proved wrong.
func (r *Router) ForgetLeader(shard api.ShardID) {
	r.leaders.Lock()
	defer r.leaders.Unlock()
	delete(r.leaders.byShard, shard)
}
