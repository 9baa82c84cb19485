package planner

import "github.com/lightning-db/lightning/api"

// Kind is what a step does.
type Kind int

const (
	// AddLearner makes a replica on Node, without a vote.
	AddLearner Kind = iota
	// Promote gives the learner on Node a vote.
	Promote
	// Remove takes the replica on Node, voter or learner, out of the shard.
	Remove
	// Lead makes Node the preferred leader and gives it the leadership.
	Lead
	// Forget takes Node, which holds nothing any more, out of the map for good.
	Forget
	// Split begins to split the shard: Slot is the first one of the new shard.
	Split
)

// String names the kind.
func (k Kind) String() string {
	return [...]string{"add learner", "promote", "remove", "lead", "forget", "split"}[k]
}

// Reason is why a step is taken, or what a shard waits for. It is a short name, fit for a label.
type Reason string

// The reasons.
const (
	Dead        Reason = "dead"          // a node, or what it held, is gone for longer than the limit, or lost
	Unfinished  Reason = "unfinished"    // a change that was begun goes on
	TooFew      Reason = "too_few"       // there are fewer replicas than wanted
	Surplus     Reason = "surplus"       // there are more than wanted
	Leaving     Reason = "decommission"  // the node is being decommissioned
	Drain       Reason = "drain"         // the node should lead nothing
	Zone        Reason = "zone"          // one zone holds too many replicas of the shard
	Count       Reason = "replica_count" // nodes hold uneven numbers of replicas
	Load        Reason = "replica_load"  // nodes carry uneven loads
	LeaderCount Reason = "leader_count"  // nodes lead uneven numbers of shards
	LeaderLoad  Reason = "leader_load"   // leaders carry uneven loads
	Cancelled   Reason = "cancelled"     // a replica that was being made cannot be finished there
	NoLeader    Reason = "no_leader"     // nobody is known to lead
	NoReport    Reason = "no_report"     // what the leader says is old, or a change is under way
	Executing   Reason = "executing"     // a step is being carried out
	NoQuorum    Reason = "no_quorum"     // too few voters are healthy to change anything safely
	NoPlace     Reason = "no_place"      // no node may take the replica
	CatchingUp  Reason = "catching_up"   // a new replica learns
	TooLarge    Reason = "too_large"     // the shard has more bytes than a shard should have
	NoRoom      Reason = "no_room"       // a node that holds the shard has no room for what follows a split
	TooBusy     Reason = "too_busy"      // the shard has more requests than a shard should have
	Limited     Reason = "limited"       // enough replicas are being made already
	NotYet      Reason = "not_yet"       // a node is down, but not for long enough
	OtherDomain Reason = "other_domain"  // replicas of another zone or node are replaced first
)

// Step is one change of one shard's members or leader, or of the list of nodes.
type Step struct {
	Kind  Kind
	Shard api.ShardID
	// Node joins, is promoted, is removed, shall lead or is forgotten.
	Node api.NodeID
	// Replaces is, of AddLearner, who leaves once Node votes; empty for an additional replica.
	Replaces api.NodeID
	// Slot is, of Split, the first slot of the new shard.
	Slot uint32
	Why  Reason
	// Text says it in a sentence.
	Text string
}

// Blocker is something that should be done and cannot be now.
type Blocker struct {
	Shard api.ShardID
	Node  api.NodeID
	Why   Reason
	Text  string
}

// Plan is what to do now. All steps may be carried out side by side; there is at most one for each
// shard. What follows from them is in the plan for the next view.
type Plan struct {
	Steps   []Step
	Blocked []Blocker
}

// Done reports that nothing is to be done and nothing is waited for.
func (p Plan) Done() bool { return len(p.Steps) == 0 && len(p.Blocked) == 0 }
