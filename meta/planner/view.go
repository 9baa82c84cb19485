package planner

import (
	"time"

	"github.com/lightning-db/lightning/api"
)

// View is the cluster as the master sees it. Make does not change it.
type View struct {
	// Cluster salts the scores of placement.
	Cluster string
	// Replication is how many voters a shard should have: 1, 3 or 5.
	Replication int
	// Paused: nothing is moved for balance; repair, drain and decommission go on.
	Paused bool
	// SplitBytes is the size beyond which a shard is split in two, one at a time; 0 splits none.
	SplitBytes int64
	// SplitRequests is the same for requests per second.
	SplitRequests int64
	Limits        Limits
	Nodes         []Node
	Shards        []Shard
}

// Limits bound what is under way at once. Zero fields have defaults.
type Limits struct {
	// DeadAfter is how long a node is down before its replicas are made elsewhere; default 5 minutes,
	// longer than a restart takes.
	DeadAfter time.Duration
	// LearnerPatience is how long the node of a replica that is being made may be down before another
	// one is tried; default 1 minute.
	LearnerPatience time.Duration
	// SnapshotsPerNode is how many replicas are being made at once from or on one node; default 2.
	SnapshotsPerNode int
	// Snapshots is the same for the cluster; default 8.
	Snapshots int
	// Transfers is how many leaderships are given away by one plan, at most one by each node; default 8.
	Transfers int
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, to int) {
		if *v <= 0 {
			*v = to
		}
	}
	if l.DeadAfter <= 0 {
		l.DeadAfter = 5 * time.Minute
	}
	if l.LearnerPatience <= 0 {
		l.LearnerPatience = time.Minute
	}
	set(&l.SnapshotsPerNode, 2)
	set(&l.Snapshots, 8)
	set(&l.Transfers, 8)
	return l
}

// Duty is what a node is there for.
type Duty int

const (
	// Serving: it holds replicas and leads.
	Serving Duty = iota
	// Draining: it leads nothing and gets nothing new; its replicas stay.
	Draining
	// Decommissioning: its replicas go elsewhere, and then the node leaves the map.
	Decommissioning
	// Lost: it never comes back; its replicas are made elsewhere at once.
	Lost
)

// String names the duty.
func (d Duty) String() string {
	return [...]string{"serving", "draining", "decommissioning", "lost"}[d]
}

// Node is a member of the cluster.
type Node struct {
	ID   api.NodeID
	Zone string
	// Weight is in proportion to the replicas it should hold; 0 means 100, which is normal.
	Weight int
	Duty   Duty
	// Down is for how long it has not been heard of, 0 when it is alive. A new master begins at 0.
	Down time.Duration
	// Full: its disk takes no writes, so it gets nothing new.
	Full bool
	// Room is how many bytes its disk can take before it is full; 0 when unknown.
	Room int64
}

// Shard is a group of replicas.
type Shard struct {
	ID       api.ShardID
	Replicas []Replica
	// Leader leads, empty when unknown. Preferred is who should, empty when nobody in particular.
	Leader, Preferred api.NodeID
	// Reported: what the leader says is fresh, the configuration is committed, no change is under way.
	Reported bool
	// Busy: a step of it is being carried out.
	Busy bool
	// Start and End are its slots, End exclusive.
	Start, End uint32
	// Splitting: a split of it is noted and not done. Halved: it came out of one lately, so that its bytes are not
	// what they will be.
	Splitting, Halved bool
	// Bytes is the size of the leader's tables. Requests, per second, is an average over minutes, and negative when unknown:
	// then the shard counts as an average one, and is not split for it.
	Bytes, Requests int64
	// LedLately: its leader changed, or the master began to watch, so lately that it is not changed again for load.
	LedLately bool
}

// Replica is a member of a shard.
type Replica struct {
	Node api.NodeID
	// Voter is false while it learns.
	Voter bool
	// CaughtUp: it has nearly all that the leader has.
	CaughtUp bool
	// MissingEntries and MissingBytes are what it lacks of the leader's log, as far as that is known. They are told.
	MissingEntries, MissingBytes uint64
	// Silent: it has not answered its leader for long, whether or not its node lives. It is told.
	Silent bool
	// Down is for how long it has not answered any leader although its node lives: what the node held is gone, or does not
	// open. Beyond Limits.DeadAfter it is replaced. 0 for one that answers; a new master begins at 0.
	Down time.Duration
	// Stuck: it learns, and has made no progress for so long that it is given up.
	Stuck bool
	// Replaces is whose place it takes, empty when nobody's.
	Replaces api.NodeID
}
