package master

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/raft"
)

// world is a cluster without processes: a real machine with the map, and groups that obey orders as Raft does. A
// master may die before or after any effect, and an order of a dead master may arrive late.
type world struct {
	t       *testing.T
	machine *meta.Machine
	clock   *clock.Manual

	mu      sync.Mutex
	index   uint64 // of the map's log
	groups  map[uint64]*group
	dead    map[api.NodeID]bool
	filled  map[api.NodeID]int64 // bytes on the disk of a node
	wiped   map[replicaKey]bool  // of which nothing is there, though the node lives
	looks   int                  // questions to leaders
	sizes   map[uint64]uint64    // of shards, in bytes
	counts  map[uint64]uint64    // of requests to shards; nil for builds that do not count
	zones   map[string]string    // of nodes that join
	effects int
	// die is asked at each effect.
	die    func(effect int) death
	fewest int // voters that a shard may have
	// reign counts masters; calls of earlier ones fail.
	reign int
	late  []func()
}

type death int

const (
	live death = iota
	dieBefore
	dieAfter
	dieLate // the effect comes, after the master is dead
)

type group struct {
	index   uint64
	leader  string
	members []*peerv1.GroupMember
	used    map[string]uint64    // the newest incarnation that was a member, by node
	applied map[uint64]*pb.Split // the splits of the group, by child
}

// newWorld is a cluster whose shards have three replicas, or as many as there are founders.
func newWorld(t *testing.T, shards int, nodes ...string) *world {
	t.Helper()
	machine, err := meta.OpenMachine(vfs.NewMem(), "meta")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, machine: machine, clock: clock.NewManual(time.Unix(1e9, 0)), groups: map[uint64]*group{}, dead: map[api.NodeID]bool{},
		filled: map[api.NodeID]int64{}, wiped: map[replicaKey]bool{},
		die: func(int) death { return live },
	}
	w.apply(&peerv1.MetaCommand{Version: 1, Op: &peerv1.MetaCommand_Init{Init: &peerv1.MetaInit{ClusterId: "C", FounderIds: nodes, ShardCount: uint32(shards)}}})
	w.join(nodes...)
	w.fewest = min(len(nodes), 2)
	var create peerv1.MetaCreateShards
	for i := range shards {
		var on []string
		for j := range min(len(nodes), 3) {
			on = append(on, nodes[(i+j)%min(len(nodes), 3)])
		}
		create.Shards = append(create.Shards, &peerv1.MetaNewShard{
			StartSlot: uint32(i * api.SlotCount / shards), EndSlot: uint32((i + 1) * api.SlotCount / shards), NodeIds: on,
		})
	}
	w.apply(&peerv1.MetaCommand{Version: 1, Op: &peerv1.MetaCommand_CreateShards{CreateShards: &create}})
	for _, s := range machine.Map().Shards {
		g := &group{index: 1, leader: s.Replicas[0].NodeId, used: map[string]uint64{}}
		for _, r := range s.Replicas {
			g.members = append(g.members, &peerv1.GroupMember{NodeId: r.NodeId, Incarnation: r.Incarnation, Voter: true, CaughtUp: true})
			g.used[r.NodeId] = r.Incarnation
		}
		w.groups[s.Id] = g
	}
	return w
}

func (w *world) join(nodes ...string) {
	for _, id := range nodes {
		w.apply(&peerv1.MetaCommand{Version: 1, Op: &peerv1.MetaCommand_RegisterNode{RegisterNode: &peerv1.MetaRegisterNode{
			ClusterId: "C", Node: &pb.Node{Id: id, Name: id, CommandVersion: 3},
		}}})
	}
}

func (w *world) setState(id string, state pb.NodeState) {
	w.apply(&peerv1.MetaCommand{Version: 2, Op: &peerv1.MetaCommand_SetNodeState{SetNodeState: &peerv1.MetaSetNodeState{NodeId: id, State: state}}})
}

// apply puts a command into the map's log.
func (w *world) apply(c *peerv1.MetaCommand) *peerv1.MetaResult {
	data, err := proto.Marshal(c)
	if err != nil {
		w.t.Fatal(err)
	}
	w.index++
	results, err := w.machine.Apply([]raft.Entry{{Index: api.Index(w.index), Term: 1, Data: data}})
	if err != nil {
		w.t.Fatal(err)
	}
	return results[0].(*peerv1.MetaResult)
}

// kill stops a node. Another voter leads what it led.
func (w *world) kill(id string) {
	w.dead[api.NodeID(id)] = true
	for _, g := range w.groups {
		g.elect()
		if w.dead[api.NodeID(g.leader)] {
			for _, m := range g.members {
				if m.Voter && !w.dead[api.NodeID(m.NodeId)] {
					g.leader = m.NodeId
				}
			}
		}
	}
}

// answers reports whether a member of a group takes part.
func (w *world) answers(id uint64, m *peerv1.GroupMember) bool {
	return !w.dead[api.NodeID(m.NodeId)] && !w.wiped[replicaKey{id, m.NodeId, m.Incarnation}]
}

func (g *group) elect() {
	if !slices.ContainsFunc(g.members, func(m *peerv1.GroupMember) bool { return m.NodeId == g.leader && m.Voter }) {
		g.leader = g.members[slices.IndexFunc(g.members, func(m *peerv1.GroupMember) bool { return m.Voter })].NodeId
	}
}

// master is one reign.
func (w *world) master() *Master {
	w.reign++
	face := &reign{world: w, number: w.reign}
	return New(Options{
		Self: "master", Map: face, Groups: &orders{face}, DeadAfter: time.Minute, Clock: w.clock,
		Alive: func(id api.NodeID) bool { return !w.dead[id] },
	})
}

// reign is what one master sees of the world.
type reign struct {
	*world
	number int
}

// effect does something in the world, unless the master has died, or dies at it.
func (r *reign) effect(do func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	gone := api.Errorf(api.CodeUnavailable, "the master is dead")
	if r.number != r.reign {
		return gone
	}
	r.effects++
	switch r.die(r.effects) {
	case dieBefore:
		r.reign++
		return gone
	case dieAfter:
		_ = do()
		r.reign++
		return gone
	case dieLate:
		r.late = append(r.late, func() { _ = do() })
		r.reign++
		return gone
	}
	return do()
}

// arrive lets the orders of dead masters come.
func (w *world) arrive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, do := range w.late {
		do()
	}
	w.late = nil
}

// Map implements Map.
func (r *reign) Map() *pb.ClusterMap { return r.machine.Map() }

// Leads implements Map.
func (r *reign) Leads() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.number == r.reign
}

// Change implements Map. A late command of a dead leader is lost: its term is over.
func (r *reign) Change(_ context.Context, c *peerv1.MetaCommand) (res *peerv1.MetaResult, err error) {
	err = r.effect(func() error {
		if r.number != r.reign {
			return nil
		}
		c.Version = 2
		if c.GetPrepareSplit() != nil || c.GetFinishSplit() != nil || c.GetReserveMapReplica() != nil {
			c.Version = 3
		}
		res = r.apply(c)
		return meta.Refusal(c, res)
	})
	return res, err
}

// Members implements Groups.
func (r *reign) Members(_ context.Context, s *pb.Shard) (*peerv1.GroupMembers, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	g := r.groups[s.Id]
	if g == nil {
		return nil, api.Errorf(api.CodeUnavailable, "no replica of shard %d is anywhere", s.Id)
	}
	out := &peerv1.GroupMembers{GroupId: s.Id, Index: g.index, LeaderId: g.leader, LastLogIndex: 100, DiskBytes: r.sizes[s.Id]}
	if count, counts := r.counts[s.Id]; counts {
		out.Requests = proto.Uint64(count)
	}
	for _, m := range g.members {
		c := proto.CloneOf(m)
		c.ContactMillis = 10
		if !r.answers(s.Id, m) {
			c.ContactMillis, c.CaughtUp = -1, false
		}
		out.Members = append(out.Members, c)
	}
	return out, nil
}

// Transfer implements Groups.
func (r *reign) Transfer(_ context.Context, s *pb.Shard, to api.NodeID) error {
	return r.effect(func() error {
		g := r.groups[s.Id]
		if !slices.ContainsFunc(g.members, func(m *peerv1.GroupMember) bool { return m.NodeId == string(to) && m.Voter && m.CaughtUp }) {
			return api.Errorf(api.CodeUnavailable, "%s cannot lead", to)
		}
		g.leader = string(to)
		return nil
	})
}

// Change of members, as Raft does it.
func (r *reign) change(c *peerv1.ChangeMembersRequest) error {
	g := r.groups[c.GroupId]
	at := slices.IndexFunc(g.members, func(m *peerv1.GroupMember) bool { return m.NodeId == c.NodeId && m.Incarnation == c.Incarnation })
	switch {
	case c.Change == peerv1.MemberChange_MEMBER_CHANGE_ADD_LEARNER && at >= 0,
		c.Change == peerv1.MemberChange_MEMBER_CHANGE_PROMOTE && at >= 0 && g.members[at].Voter,
		c.Change == peerv1.MemberChange_MEMBER_CHANGE_REMOVE && at < 0:
		return nil
	case c.PreviousIndex != g.index:
		return api.Errorf(api.CodeUnavailable, "other members")
	}
	switch c.Change {
	case peerv1.MemberChange_MEMBER_CHANGE_ADD_LEARNER:
		if slices.ContainsFunc(g.members, func(m *peerv1.GroupMember) bool { return m.NodeId == c.NodeId }) {
			return api.Errorf(api.CodeInvalid, "a replica is there")
		}
		if g.used[c.NodeId] >= c.Incarnation {
			r.t.Errorf("shard %d: node %s gets incarnation %d after %d", c.GroupId, c.NodeId, c.Incarnation, g.used[c.NodeId])
		}
		g.used[c.NodeId] = c.Incarnation
		g.members = append(g.members, &peerv1.GroupMember{NodeId: c.NodeId, Incarnation: c.Incarnation})
	case peerv1.MemberChange_MEMBER_CHANGE_PROMOTE:
		if at < 0 || !g.members[at].CaughtUp || !r.answers(c.GroupId, g.members[at]) {
			return api.Errorf(api.CodeUnavailable, "not caught up")
		}
		g.members[at].Voter = true
	case peerv1.MemberChange_MEMBER_CHANGE_REMOVE:
		if g.members[at].Voter && g.voters()-1 < int(c.KeepVoters) {
			return api.Errorf(api.CodeUnavailable, "too few voters")
		}
		if g.members[at].Voter && !r.majorityAnswers(c.GroupId, slices.Delete(slices.Clone(g.members), at, at+1)) {
			return api.Errorf(api.CodeUnavailable, "no majority of the rest answers")
		}
		if g.leader == c.NodeId {
			g.leader = ""
			rest := slices.Delete(slices.Clone(g.members), at, at+1)
			g.leader = rest[slices.IndexFunc(rest, func(m *peerv1.GroupMember) bool { return m.Voter && !r.dead[api.NodeID(m.NodeId)] })].NodeId
			return api.Errorf(api.CodeNotLeader, "it gave the leadership away")
		}
		g.members = slices.Delete(g.members, at, at+1)
	}
	g.index++
	if c.GroupId == uint64(raft.MetaGroup) {
		r.showHolders(g)
	}
	r.check(c.GroupId, g)
	return nil
}

// Change implements Groups.
func (r *orders) Change(_ context.Context, _ *pb.Shard, c *peerv1.ChangeMembersRequest) error {
	return r.effect(func() error { return r.change(c) })
}

// Room implements Groups.
func (r *orders) Room(_ context.Context, node api.NodeID) (free, total int64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead[node] {
		return 0, 0, api.Errorf(api.CodeUnavailable, "%s is dead", node)
	}
	return 100<<30 - r.filled[node], 100 << 30, nil
}

// orders is a reign as Groups.
type orders struct{ *reign }

func (g *group) voters() (n int) {
	for _, m := range g.members {
		if m.Voter {
			n++
		}
	}
	return n
}

// check fails if a group has lost its majority by a change: of those that vote, most live and hold everything.
func (w *world) check(id uint64, g *group) {
	healthy := 0
	for _, m := range g.members {
		if m.Voter && m.CaughtUp && w.answers(id, m) {
			healthy++
		}
	}
	if g.voters() < w.fewest || 2*healthy <= g.voters() {
		w.t.Errorf("shard %d has %d healthy voters of %d: %v", id, healthy, g.voters(), g.members)
	}
}

// settle runs rounds, with a new master after each death, until there is nothing to do.
func (w *world) settle(rng *rand.Rand) {
	w.t.Helper()
	m := w.master()
	quiet := 0
	for round := 0; quiet < 10; round++ {
		if round > 1000 {
			w.t.Fatalf("not settled after %d rounds: %s", round, w)
		}
		busy := m.round(context.Background())
		if !m.o.Map.Leads() { // it died
			m = w.master()
			busy = true
		}
		if rng.IntN(4) == 0 {
			w.arrive()
		}
		w.catchUp(rng)
		w.clock.Advance(10 * time.Second) // so that a silent node is dead before it is quiet
		if quiet++; busy || !w.still() {
			quiet = 0
		}
	}
}

// catchUp lets some learners get what they miss.
func (w *world) catchUp(rng *rand.Rand) {
	for id, g := range w.groups {
		for _, m := range g.members {
			if w.answers(id, m) && rng.IntN(3) == 0 {
				m.CaughtUp = true
			}
		}
	}
}

// still reports whether no change is under way and nothing is late.
func (w *world) still() bool {
	for _, s := range slices.Concat(w.machine.Map().Shards, mapGroup(w.machine.Map())) {
		for _, r := range s.Replicas {
			if r.Learner || r.Leaving {
				return false
			}
		}
		if s.Split != nil {
			return false
		}
	}
	return len(w.late) == 0
}

// String shows who is where.
func (w *world) String() string {
	out := ""
	for _, s := range w.machine.Map().Shards {
		out += fmt.Sprintf("shard %d leader %s\n map %v\n group %v\n", s.Id, w.groups[s.Id].leader, s.Replicas, w.groups[s.Id].members)
	}
	return out
}

type pbMember = peerv1.GroupMember

func pause(paused bool) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Version: 2, Op: &peerv1.MetaCommand_SetRebalance{SetRebalance: &peerv1.MetaSetRebalance{Paused: paused}}}
}

// majorityAnswers is what a leader looks at before it removes a voter.
func (w *world) majorityAnswers(id uint64, members []*peerv1.GroupMember) bool {
	voters, answer := 0, 0
	for _, m := range members {
		if m.Voter {
			voters++
			if w.answers(id, m) {
				answer++
			}
		}
	}
	return 2*answer > voters
}
