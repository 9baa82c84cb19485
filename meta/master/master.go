package master

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/meta/placement"
	"github.com/lightning-db/lightning/meta/planner"
)

// Map is this node's replica of the cluster map; *meta.Meta implements it.
type Map interface {
	// Map is the map as applied here, nil before there is one.
	Map() *pb.ClusterMap
	// Leads reports whether this replica leads and has applied what earlier leaders committed.
	Leads() bool
	// Change proposes a command and returns what it came to. A refusal is an error.
	Change(ctx context.Context, c *peerv1.MetaCommand) (*peerv1.MetaResult, error)
}

// Groups gives orders to the leaders of shards. A node that is asked and does not lead passes nothing on: the
// implementation finds the leader.
type Groups interface {
	// Members asks the leader who is a member.
	Members(ctx context.Context, s *pb.Shard) (*peerv1.GroupMembers, error)
	// Change has the leader change the members.
	Change(ctx context.Context, s *pb.Shard, c *peerv1.ChangeMembersRequest) error
	// Split has the leader split the shard as the map has noted it, and returns when it is applied.
	Split(ctx context.Context, s *pb.Shard) error
	// Transfer has the leader give the leadership to a node.
	Transfer(ctx context.Context, s *pb.Shard, to api.NodeID) error
	// Room asks a node how many bytes its disk can still take, and how many it has in all; both are 0 where that is unknown.
	Room(ctx context.Context, node api.NodeID) (free, total int64, err error)
}

// Options configures New. Map, Groups and Alive are required.
type Options struct {
	Self   api.NodeID
	Map    Map
	Groups Groups
	// Alive is what gossip believes of a node.
	Alive func(api.NodeID) bool
	// DeadAfter is how long a node must have been silent before its replicas are made elsewhere. Default: the
	// planner's.
	DeadAfter time.Duration
	// SplitBytes is the size beyond which a shard is split; 0 never splits one for its size.
	SplitBytes int64
	// SplitRequests is the same for requests per second.
	SplitRequests int64
	// Clock measures for how long a node is silent. Default: the machine's.
	Clock  clock.Clock
	Logger *slog.Logger // default: silence
}

func (o Options) withDefaults() Options {
	if o.Clock == nil {
		o.Clock = clock.Real{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

const (
	// roundPause separates two looks at the cluster. A look costs one small call for each shard.
	roundPause = time.Second
	// reportTimeout is how long the leader of a shard may take to report; without a report the shard is left alone.
	reportTimeout = 2 * time.Second
	// stepTimeout bounds one step: a commit on the map and one in the shard, with an election between them.
	stepTimeout = 10 * time.Second
	// maxCalls bounds the calls under way, for shards that may all be on the same nodes.
	maxCalls = 16
)

// Master keeps the cluster as it should be while this node leads the meta group. Safe for concurrent use.
type Master struct {
	// Set by New, never written again.
	o Options

	// Owned by the goroutine that runs rounds.
	silent  map[api.NodeID]time.Time // since when each node is silent, for this master
	unheard map[replicaKey]time.Time // since when each voter has not answered a leader, for this master
	resting map[api.NodeID]time.Time // until when nodes get nothing new on which a replica did not learn
	halves  map[uint64]time.Time     // until when the shards of a split are not split again for their size
	loads   map[uint64]*load         // by shard
	looked  look                     // at the cluster, the last time

	// mu is a leaf.
	mu struct {
		sync.Mutex
		seen    *observation // nil while this node is not the master
		plan    planner.Plan
		since   map[api.ShardID]progress // shards with changes under way
		refused map[api.ShardID]string   // why the last step of a shard was refused
	}
}

// New makes a master, which does nothing until Run.
func New(o Options) *Master {
	return &Master{
		o: o.withDefaults(), silent: make(map[api.NodeID]time.Time),
		unheard: make(map[replicaKey]time.Time), resting: make(map[api.NodeID]time.Time), halves: make(map[uint64]time.Time),
		loads: make(map[uint64]*load),
	}
}

// Run looks at the cluster and moves it until ctx ends, whenever this node is the master.
func (m *Master) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if m.due() {
			m.round(ctx)
		}
		pause := time.NewTimer(roundPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
		}
	}
}

// round takes at most one step for each shard. It reports whether it did anything.
func (m *Master) round(ctx context.Context) bool {
	current := m.o.Map.Map()
	if !m.o.Map.Leads() || len(current.GetShards()) == 0 {
		m.forget()
		return false
	}
	seen := m.observe(ctx, current)
	finish := seen.unfinished()
	m.giveUp(seen)
	m.letHalvesRest(seen)
	m.measure(seen)
	plan, moves := seen.withoutHolders(planner.Make(m.view(seen, finish))), m.planMap(seen)
	all := together(plan, moves)
	m.remember(seen, all)
	m.lookedAt(seen, len(finish)+len(all.Steps)+len(all.Blocked) > 0)
	var steps errgroup.Group
	steps.SetLimit(maxCalls)
	for _, f := range finish {
		steps.Go(func() error { m.carryOut(ctx, api.ShardID(f.shard.Id), f.what, f.text, f.do(m)); return nil })
	}
	for _, s := range plan.Steps {
		of := s.Shard
		if s.Kind == planner.Forget {
			of = ofNoShard
		}
		if !finish.on(of) {
			steps.Go(func() error { m.carryOut(ctx, of, s.Kind.String(), s.Text, m.step(seen, s)); return nil })
		}
	}
	_ = steps.Wait() // the steps log how they ended; the next round sees what they came to
	m.moveMap(ctx, seen, moves)
	return len(finish)+len(plan.Steps)+len(moves.Steps) > 0
}

// forget ends a reign: what was seen may be wrong by the next one.
func (m *Master) forget() {
	clear(m.silent)
	clear(m.unheard)
	clear(m.resting)
	clear(m.halves)
	clear(m.loads)
	m.looked = look{}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.seen, m.mu.plan, m.mu.since, m.mu.refused = nil, planner.Plan{}, nil, nil
}

// ofNoShard stands for the shard of a step that changes the list of nodes. 0 is the group of the map.
const ofNoShard = ^api.ShardID(0)

// carryOut takes a step of a shard, of the map's group, or of ofNoShard.
func (m *Master) carryOut(ctx context.Context, shard api.ShardID, what, text string, do func(context.Context) error) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err := do(ctx)
	m.noteRefusal(shard, what, err)
	switch {
	case err == nil:
		m.o.Logger.Info("master: step done", "step", what, "text", text)
	case api.CodeOf(err) == api.CodeUnavailable || api.CodeOf(err) == api.CodeNotLeader || ctx.Err() != nil:
		m.o.Logger.Debug("master: step not done yet", "step", what, "text", text, "error", err)
	default:
		m.o.Logger.Warn("master: step not done", "step", what, "text", text, "error", err)
	}
}

// observation is the cluster at one look. Immutable.
type observation struct {
	current *pb.ClusterMap
	reports map[uint64]*peerv1.GroupMembers // by shard; shards whose leader did not report are missing
	down    map[string]time.Duration        // by node, of those that are silent
	full    map[string]bool                 // by node, of those that get nothing new: without room, or resting
	room    map[string]int64                // by node, the bytes that its disk can take, where that is known

	// Of those that do not answer although their nodes live, for how long; and of those that learn nothing, that they are stuck.
	unheard map[replicaKey]time.Duration
	stuck   map[replicaKey]bool
	halves  map[uint64]bool // shards that were split lately

	// By shard: requests per second of those of which they are known, and those whose leader is new.
	requests  map[uint64]int64
	ledLately map[uint64]bool
}

// replicaKey names a replica of a shard.
type replicaKey struct {
	shard       uint64
	node        string
	incarnation uint64
}

func keyOf(s *pb.Shard, r *pb.Replica) replicaKey {
	return replicaKey{shard: s.Id, node: r.NodeId, incarnation: r.Incarnation}
}

// observe asks every leader.
func (m *Master) observe(ctx context.Context, current *pb.ClusterMap) *observation {
	seen := &observation{
		current: current, reports: make(map[uint64]*peerv1.GroupMembers), down: make(map[string]time.Duration),
		full: make(map[string]bool), room: make(map[string]int64), unheard: make(map[replicaKey]time.Duration), stuck: make(map[replicaKey]bool),
		halves: make(map[uint64]bool), requests: make(map[uint64]int64), ledLately: make(map[uint64]bool),
	}
	var mu sync.Mutex
	var calls errgroup.Group
	calls.SetLimit(maxCalls)
	for _, s := range seen.groups() {
		calls.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, reportTimeout)
			defer cancel()
			r, err := m.o.Groups.Members(ctx, s)
			if err != nil {
				m.o.Logger.Debug("master: no report", "shard", s.Id, "error", err)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			seen.reports[s.Id] = r
			return nil
		})
	}
	m.askRoom(ctx, seen, &mu, &calls)
	_ = calls.Wait() // no call returns an error
	m.listen(seen)
	m.listenToReplicas(seen)
	return seen
}

// heardWithin is how fresh an answer to a leader must be to prove that a node lives.
const heardWithin = 5 * time.Second

// listen judges which nodes are silent: for gossip and for every leader that sends them entries. One of them
// alone is not enough, for gossip may be cut where Raft is not.
func (m *Master) listen(seen *observation) {
	heard := make(map[string]bool)
	for _, r := range seen.reports {
		heard[r.GetLeaderId()] = true
		for _, member := range r.GetMembers() {
			if c := member.GetContactMillis(); c >= 0 && c < heardWithin.Milliseconds() {
				heard[member.GetNodeId()] = true
			}
		}
	}
	now := m.o.Clock.Now()
	known := make(map[api.NodeID]bool)
	for _, n := range seen.current.Nodes {
		id := api.NodeID(n.Id)
		known[id] = true
		since, wasSilent := m.silent[id]
		switch {
		case id == m.o.Self || heard[n.Id] || m.o.Alive(id):
			delete(m.silent, id)
		case !wasSilent:
			m.silent[id] = now
			seen.down[n.Id] = time.Millisecond // silent, and that is all that is known
		default:
			seen.down[n.Id] = max(now.Sub(since), time.Millisecond)
		}
	}
	for id := range m.silent {
		if !known[id] {
			delete(m.silent, id)
		}
	}
}

// view is what the planner gets to see.
func (m *Master) view(seen *observation, busy unfinished) planner.View {
	v := planner.View{
		Cluster: seen.current.ClusterId, Replication: placement.DefaultReplication, Paused: seen.current.RebalancePaused,
		SplitBytes: m.o.SplitBytes, SplitRequests: m.o.SplitRequests, Limits: planner.Limits{DeadAfter: m.o.DeadAfter},
	}
	for _, n := range seen.current.Nodes {
		v.Nodes = append(v.Nodes, planner.Node{
			ID: api.NodeID(n.Id), Zone: n.Zone, Weight: int(n.Weight), Duty: dutyOf(n.State), Down: seen.down[n.Id], Full: seen.full[n.Id],
			Room: seen.room[n.Id],
		})
	}
	for _, s := range seen.current.Shards {
		v.Shards = append(v.Shards, seen.shard(s, busy.on(api.ShardID(s.Id))))
	}
	return v
}

func dutyOf(s pb.NodeState) planner.Duty {
	switch s {
	case pb.NodeState_NODE_STATE_DRAINING:
		return planner.Draining
	case pb.NodeState_NODE_STATE_DECOMMISSIONING:
		return planner.Decommissioning
	case pb.NodeState_NODE_STATE_LOST:
		return planner.Lost
	}
	return planner.Serving
}

// silentAfter is how long a replica may not answer its leader before it is told.
const silentAfter = 10 * time.Second

// shard joins what the map says with what the leader says.
func (seen *observation) shard(s *pb.Shard, busy bool) planner.Shard {
	r := seen.reports[s.Id]
	out := planner.Shard{
		ID: api.ShardID(s.Id), Leader: api.NodeID(r.GetLeaderId()), Preferred: api.NodeID(s.PreferredLeader),
		Reported: r != nil && !r.GetChanging(), Busy: busy, Bytes: int64(r.GetDiskBytes()),
		Start: s.StartSlot, End: s.EndSlot, Splitting: s.Split != nil, Halved: seen.halves[s.Id],
		Requests: -1, LedLately: seen.ledLately[s.Id],
	}
	if requests, known := seen.requests[s.Id]; known {
		out.Requests = requests
	}
	for _, replica := range s.Replicas {
		member := memberOf(r, replica)
		voter := !replica.Learner
		if r != nil {
			voter = member.GetVoter()
		}
		out.Replicas = append(out.Replicas, planner.Replica{
			Node: api.NodeID(replica.NodeId), Voter: voter, CaughtUp: member.GetCaughtUp(), Replaces: api.NodeID(replica.Replaces),
			MissingEntries: member.GetMissingEntries(), MissingBytes: member.GetMissingBytes(),
			Silent: r != nil && !answers(member), Down: seen.unheard[keyOf(s, replica)], Stuck: seen.stuck[keyOf(s, replica)],
		})
	}
	return out
}

// memberOf is a replica as its leader sees it, nil if it is no member.
func memberOf(r *peerv1.GroupMembers, replica *pb.Replica) *peerv1.GroupMember {
	for _, member := range r.GetMembers() {
		if member.NodeId == replica.NodeId && member.Incarnation == replica.Incarnation {
			return member
		}
	}
	return nil
}
