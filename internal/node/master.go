package node

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/membership"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/master"
	"github.com/lightning-db/lightning/raft"
)

// mastery is this node's part in keeping the cluster as it should be.
type mastery struct {
	// master is set while a replica of the cluster map is open here, else nil.
	master atomic.Pointer[master.Master]
}

// newMaster makes the master of a node that holds a replica of the map.
func (n *node) newMaster(local *meta.Meta) *master.Master {
	return master.New(master.Options{
		Self:       n.id,
		Map:        local,
		Groups:     &master.Remote{Peers: n.pool, Leader: n.leaderOf},
		Alive:      func(id api.NodeID) bool { return n.members.Member(id).Liveness == membership.Alive },
		DeadAfter:  n.config.ReplaceDeadAfter,
		SplitBytes: int64(n.config.SplitBytes), SplitRequests: n.config.SplitRequests,
		Clock:  n.clock,
		Logger: n.logger,
	})
}

// leaderOf is who leads a group as this node believes, empty when unknown. Only the master asks, and that is who leads the
// group of the map: nodes that do not answer are not asked first.
func (n *node) leaderOf(id api.ShardID) api.NodeID {
	if raft.GroupID(id) == raft.MetaGroup {
		return n.id
	}
	for _, l := range n.server.Leaders() {
		if l.ShardId == uint64(id) {
			return api.NodeID(l.NodeId)
		}
	}
	return ""
}

// adminService serves orders of operators.
func (n *node) adminService() *master.Service {
	return master.NewService(master.ServiceOptions{
		Self: n.id, Peers: n.pool, Local: n.mastery.master.Load, Leader: n.follower.Master,
	})
}

// masterCollector turns the master's figures into metrics. Only the master has any.
type masterCollector struct{ mastery *mastery }

var (
	underReplicatedDesc = prometheus.NewDesc("lightning_cluster_shards_under_replicated", "Shards with fewer healthy voters than wanted. Only the master says it.", nil, nil)
	movesStuckDesc      = prometheus.NewDesc("lightning_cluster_moves_stuck", "Shards whose change of members has made no progress for ten minutes. Only the master says it.", nil, nil)
	deadUnreplacedDesc  = prometheus.NewDesc("lightning_cluster_dead_nodes_unreplaced", "Nodes that are dead beyond the limit and still hold replicas. Only the master says it.", nil, nil)
	leaderImbalanceDesc = prometheus.NewDesc("lightning_cluster_leader_imbalance_ratio", "The most shards that a node leads, by its share; 1 is even. Only the master says it.", nil, nil)
)

// Describe implements prometheus.Collector.
func (masterCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- underReplicatedDesc
	ch <- movesStuckDesc
	ch <- deadUnreplacedDesc
	ch <- leaderImbalanceDesc
}

// Collect implements prometheus.Collector.
func (c masterCollector) Collect(ch chan<- prometheus.Metric) {
	m := c.mastery.master.Load()
	if m == nil {
		return
	}
	g, ok := m.Gauges()
	if !ok {
		return
	}
	ch <- prometheus.MustNewConstMetric(underReplicatedDesc, prometheus.GaugeValue, float64(g.UnderReplicated))
	ch <- prometheus.MustNewConstMetric(movesStuckDesc, prometheus.GaugeValue, float64(g.Stuck))
	ch <- prometheus.MustNewConstMetric(deadUnreplacedDesc, prometheus.GaugeValue, float64(g.DeadUnreplaced))
	ch <- prometheus.MustNewConstMetric(leaderImbalanceDesc, prometheus.GaugeValue, g.LeaderImbalance)
}

// duties say whether this node is to lead nothing: because the map says so, or because it stops. Safe for concurrent use.
type duties struct {
	// lead is told that the node leads nothing, or that it may; set once. It is quick.
	lead func(nothing bool)

	// mu is held while lead is told, so that what was decided last is told last.
	mu struct {
		sync.Mutex
		drained, leaving bool
	}
}

// setDrained notes what the map says.
func (d *duties) setDrained(drained bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.drained = drained
	d.lead(d.mu.drained || d.mu.leaving)
}

// leave notes that the node stops. There is no way back.
func (d *duties) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.leaving = true
	d.lead(true)
}
