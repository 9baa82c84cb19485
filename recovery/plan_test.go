package recovery

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

// script is a cluster of the nodes a to e, of which views are left. Shard 1 is on a, b, c and shard 2 on c, d, e.
type script struct {
	t     *testing.T
	state *peerv1.MetaState
	views map[string]*View
}

func replicasOn(incarnation uint64, nodes ...string) (all []*pb.Replica) {
	for _, n := range nodes {
		all = append(all, &pb.Replica{NodeId: n, Incarnation: incarnation})
	}
	return all
}

func newScript(t *testing.T) *script {
	m := &pb.ClusterMap{ClusterId: "x", Revision: 70}
	for i, id := range []string{"a", "b", "c", "d", "e"} {
		m.Nodes = append(m.Nodes, &pb.Node{Id: id, Name: "node-" + id, Ordinal: uint32(i + 1)})
	}
	m.Shards = []*pb.Shard{
		{Id: 1, StartSlot: 0, EndSlot: 8000, Epoch: 1, LastIncarnation: 4, Replicas: replicasOn(1, "a", "b", "c"), Founders: replicasOn(1, "a", "b", "c"), PreferredLeader: "c"},
		{Id: 2, StartSlot: 8000, EndSlot: 16384, Epoch: 1, LastIncarnation: 1, Replicas: replicasOn(1, "c", "d", "e"), Founders: replicasOn(1, "c", "d", "e"), PreferredLeader: "d"},
	}
	m.MetaReplicas = replicasOn(1, "a", "b", "c")
	s := &script{t: t, views: map[string]*View{}}
	s.state = &peerv1.MetaState{Index: 9, Term: 2, Map: m, FounderIds: []string{"a", "b", "c", "d", "e"}, ShardCount: 2, LastOrdinal: 5, LastShardId: 2, LastMapIncarnation: 1}
	return s
}

func (s *script) members(nodes ...string) (all []Member) {
	for _, n := range nodes {
		all = append(all, Member{Node: n, Incarnation: 1, Voter: true})
	}
	return all
}

func (s *script) marshal(m proto.Message) []byte {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		s.t.Fatal(err)
	}
	return data
}

// add puts a replica on a node.
func (s *script) add(node string, r Replica) {
	v := s.views[node]
	if v == nil {
		v = &View{Format: viewFormat, Node: node, Cluster: "x", SeenMap: s.marshal(s.state.Map)}
		s.views[node] = v
	}
	r.Incarnation, r.CurrentTerm = 1, r.Term+1
	switch r.Group {
	case 0:
		r.State, r.Members = s.marshal(s.state), s.members("a", "b", "c")
	case 1:
		r.Members = s.members("a", "b", "c")
	case 2:
		r.Members = s.members("c", "d", "e")
	}
	if r.Group > 0 && r.Epoch == 0 {
		r.Epoch = 1
	}
	v.Replicas = append(v.Replicas, r)
}

func (s *script) make(o Options) (*Plan, error) {
	var views []*View
	for _, v := range s.views {
		views = append(views, v)
	}
	return Make(views, o)
}

func (s *script) mustMake(o Options) (*Plan, *peerv1.MetaState) {
	s.t.Helper()
	p, err := s.make(o)
	if err != nil {
		s.t.Fatal(err)
	}
	var state peerv1.MetaState
	if err := proto.Unmarshal(p.State, &state); err != nil {
		s.t.Fatal(err)
	}
	return p, &state
}

func (p *Plan) group(id uint64) *Group {
	return &p.Groups[slices.IndexFunc(p.Groups, func(g Group) bool { return g.Group == id })]
}

// TestTheReplicaWithTheMostOfTheLogIsChosen (RC1): the highest last term wins, then the index; of equal ones that on the node with less.
// What is lost is named, and the new map has one replica of each shard.
func TestTheReplicaWithTheMostOfTheLogIsChosen(t *testing.T) {
	s := newScript(t)
	s.add("b", Replica{Group: 0, Last: 9, Term: 2})
	s.add("c", Replica{Group: 0, Last: 9, Term: 2})
	s.add("b", Replica{Group: 1, Last: 90, Term: 2})
	s.add("c", Replica{Group: 1, Last: 50, Term: 3})
	s.add("c", Replica{Group: 2, Last: 7, Term: 3})
	p, state := s.mustMake(Options{})
	want := `plan ` + p.ID + `: cluster x goes on as ` + p.NewCluster + `
node node-b (b) stays
node node-c (c) stays
node node-a (a) is lost: it never comes back, under this id, to this cluster
node node-d (d) is lost: it never comes back, under this id, to this cluster
node node-e (e) is lost: it never comes back, under this id, to this cluster
the cluster map: 2 of 3 voters left, a majority; it goes on from node node-b at entry 9 of term 2; nothing is lost
shard 1: 2 of 3 voters left, a majority; it goes on from node node-c at entry 50 of term 3; nothing is lost
shard 2: 1 of 3 voters left, no majority; it goes on from node node-c at entry 7 of term 3; writes after that which the lost nodes acknowledged are LOST
LOSS: what is named above is lost for good once the plan is applied
`
	if got := p.Text(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.HasPrefix(p.NewCluster, "x+1.") || state.Map.ClusterId != p.NewCluster || state.Map.Revision != 70+skip {
		t.Errorf("cluster %s at revision %d", state.Map.ClusterId, state.Map.Revision)
	}
	if g := p.group(1); g.Incarnation != 4+skip || g.Term != 5 || g.From != 1 {
		t.Errorf("%+v", g) // RC5
	}
	one := state.Map.Shards[0]
	if len(one.Replicas) != 1 || one.Replicas[0].NodeId != "c" || one.Replicas[0].Incarnation != 4+skip || len(one.Founders) != 0 || one.LastIncarnation != 4+skip {
		t.Errorf("shard 1 is %v", one)
	}
	if len(state.Map.Nodes) != 2 || !slices.Equal(state.Map.RemovedNodeIds, []string{"a", "d", "e"}) || len(state.FounderIds) != 0 || state.LastShardId != 2+skip {
		t.Errorf("the map is %v", state)
	}
	if state.Index != 10 || state.Term != p.group(0).Term || len(state.Map.MetaReplicas) != 1 || state.Map.MetaReplicas[0].Incarnation != 1+skip {
		t.Errorf("the map is at %d of term %d, on %v", state.Index, state.Term, state.Map.MetaReplicas)
	}
}

func TestAReplicaInTroubleIsNotChosen(t *testing.T) {
	s := newScript(t)
	for _, node := range []string{"a", "b", "c"} {
		s.add(node, Replica{Group: 0, Last: 9, Term: 2})
	}
	s.add("a", Replica{Group: 1, Last: 90, Term: 3, Trouble: "it is fenced"})
	s.add("b", Replica{Group: 1, Last: 80, Term: 3})
	s.add("c", Replica{Group: 1})
	s.add("c", Replica{Group: 2, Last: 3, Term: 1})
	p, _ := s.mustMake(Options{})
	if g := p.group(1); g.Node != "b" || g.Left != 1 || g.Lossless() || len(g.Notes) != 1 || !strings.Contains(p.Text(), "it is fenced") {
		t.Errorf("%+v", g)
	}
}

func TestAShardOfWhichNothingIsLeftIsGivenUpOnlyByName(t *testing.T) {
	s := newScript(t)
	s.add("a", Replica{Group: 0, Last: 9, Term: 2})
	s.add("a", Replica{Group: 1, Last: 5, Term: 2})
	s.add("b", Replica{Group: 1, Last: 5, Term: 2})
	var lost *LostShardsError
	if _, err := s.make(Options{}); !errors.As(err, &lost) || !slices.Equal(lost.Shards, []uint64{2}) {
		t.Fatalf("got %v", err)
	}
	if _, err := s.make(Options{AcceptEmpty: []uint64{1, 2}}); err == nil {
		t.Error("a shard of which something is left may begin empty")
	}
	p, state := s.mustMake(Options{AcceptEmpty: []uint64{2}})
	two := state.Map.Shards[1]
	if p.group(2).From != 0 || len(two.Founders) != 1 || two.Founders[0].NodeId != two.Replicas[0].NodeId || !strings.Contains(p.Text(), "shard 2: 0 of 3 voters left, it begins EMPTY") {
		t.Errorf("%v\n%s", two, p.Text())
	}
}

// TestASplitIsFinishedIfTheShardHasIt: the child goes on as well; one that the shard has not begun goes on with its only replica.
func TestASplitIsFinishedIfTheShardHasIt(t *testing.T) {
	for _, epoch := range []uint64{1, 2, 3} {
		s := newScript(t)
		s.state.Map.Shards[0].Split = &pb.Split{ChildId: 3, AtSlot: 4000, Epoch: 1, ChildEpoch: 2, Replicas: replicasOn(1, "a", "b", "c")}
		s.state.LastShardId = 3
		s.add("c", Replica{Group: 0, Last: 9, Term: 2})
		s.add("c", Replica{Group: 1, Last: 5, Term: 2, Epoch: epoch})
		s.add("c", Replica{Group: 2, Last: 5, Term: 2})
		switch epoch {
		case 1:
			_, state := s.mustMake(Options{})
			if split := state.Map.Shards[0].Split; len(state.Map.Shards) != 2 || len(split.Replicas) != 1 || split.Replicas[0].Incarnation != 4+skip {
				t.Errorf("not begun: %v", state.Map.Shards)
			}
		case 2:
			var lost *LostShardsError
			if _, err := s.make(Options{}); !errors.As(err, &lost) || !slices.Equal(lost.Shards, []uint64{3}) {
				t.Errorf("a child that is not there: %v", err)
			}
			s.views["c"].Replicas[1].Children = []uint64{3}
			if _, err := s.make(Options{}); err == nil || !strings.Contains(err.Error(), "was being split") {
				t.Errorf("a child that was not made: %v", err)
			}
			s.add("c", Replica{Group: 3, Last: 5, Term: 2, Epoch: 2})
			s.views["c"].Replicas[3].Members = s.members("a", "b", "c")
			p, state := s.mustMake(Options{})
			if shards := state.Map.Shards; len(shards) != 3 || shards[0].EndSlot != 4000 || shards[0].Epoch != 2 || shards[1].Id != 3 || len(shards[1].Replicas) != 1 || p.group(3).From != 1 {
				t.Errorf("done: %v", shards)
			}
		default:
			if _, err := s.make(Options{}); err == nil || !strings.Contains(err.Error(), "before and after a split") {
				t.Errorf("a shard that is ahead of the map: %v", err)
			}
		}
	}
}

// TestTheMapGoesOnAsItWasSeen if no replica of it is left.
func TestTheMapGoesOnAsItWasSeen(t *testing.T) {
	s := newScript(t)
	s.add("d", Replica{Group: 2, Last: 5, Term: 2})
	s.add("c", Replica{Group: 1, Last: 5, Term: 2})
	newer := proto.CloneOf(s.state.Map)
	newer.Revision = 75
	s.views["d"].SeenMap = s.marshal(newer)
	p, state := s.mustMake(Options{})
	if g := p.group(0); g.Node != "d" || g.From != 0 || g.Lossless() || state.Map.Revision != 75+skip || state.LastShardId != 2+skip || !strings.Contains(p.Text(), "saw it last, at revision 75") {
		t.Errorf("%+v\n%s", g, p.Text())
	}
	for _, v := range s.views {
		v.SeenMap = nil
	}
	if _, err := s.make(Options{}); err == nil || !strings.Contains(err.Error(), "nothing is left of the cluster map") {
		t.Errorf("without any map: %v", err)
	}
}

func TestWhatDoesNotFitTogetherIsRefused(t *testing.T) {
	s := newScript(t)
	s.add("c", Replica{Group: 0, Last: 9, Term: 2})
	s.add("c", Replica{Group: 1, Last: 9, Term: 2})
	s.add("c", Replica{Group: 2, Last: 9, Term: 2})
	c := s.views["c"]
	other := *c
	other.Node, other.Cluster = "d", "y"
	for _, views := range [][]*View{nil, {c, c}, {c, &other}} {
		if _, err := Make(views, Options{}); err == nil {
			t.Errorf("a plan of %d views", len(views))
		}
	}
	p, _ := s.mustMake(Options{})
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParsePlan(data); err != nil || again.ID != p.ID {
		t.Errorf("a plan is not read: %v", err)
	}
	if _, err := ParsePlan([]byte(strings.Replace(string(data), `"last":9`, `"last":8`, 1))); err == nil {
		t.Error("a plan that was changed is read")
	}
	view, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseView(view); err != nil || len(again.Replicas) != 3 {
		t.Errorf("a view is not read: %v", err)
	}
}
