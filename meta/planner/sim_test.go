package planner

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/meta/placement"
)

// simulation carries plans out, badly: nodes die and come back, steps fail or are never tried,
// reports are missing, masters forget how long nodes are down.
type simulation struct {
	t    testing.TB
	rng  *rand.Rand
	view View
	calm bool // nothing fails any more
	// learned is how long each learner has been at it.
	learned map[string]int
	steps   int
	named   int                    // nodes so far, so that no name comes twice
	splits  map[api.ShardID]uint32 // where a shard is being split
	halves  map[api.ShardID]int    // for how many rounds a shard has been half of another
}

func nodeID(i int) api.NodeID { return api.NodeID(fmt.Sprintf("node-%02d", i)) }

func newSimulation(t testing.TB, rng *rand.Rand, nodes, zones, shards, replication int) *simulation {
	s := &simulation{t: t, rng: rng, learned: map[string]int{}, splits: map[api.ShardID]uint32{}, halves: map[api.ShardID]int{}}
	s.view = View{Cluster: "cluster", Replication: replication}
	for i := range nodes {
		s.addNode(i, zones)
	}
	s.found(shards)
	return s
}

func (s *simulation) addNode(i, zones int) {
	s.named = i + 1
	n := Node{ID: nodeID(i)}
	if zones > 0 {
		n.Zone = string(rune('a' + i%zones))
	}
	s.view.Nodes = append(s.view.Nodes, n)
}

func (s *simulation) found(shards int) {
	var places []placement.Node
	for _, n := range s.view.Nodes {
		places = append(places, placement.Node{ID: n.ID, Zone: n.Zone, Weight: n.Weight})
	}
	for i, placed := range placement.Shards(s.view.Cluster, s.view.Replication, places, shards) {
		shard := Shard{ID: api.ShardID(i + 1), Leader: placed.Replicas[0], Preferred: placed.Replicas[0], Reported: true}
		for _, id := range placed.Replicas {
			shard.Replicas = append(shard.Replicas, Replica{Node: id, Voter: true, CaughtUp: true})
		}
		s.view.Shards = append(s.view.Shards, shard)
	}
}

func (s *simulation) node(id api.NodeID) *Node {
	at := slices.IndexFunc(s.view.Nodes, func(n Node) bool { return n.ID == id })
	if at < 0 {
		return nil
	}
	return &s.view.Nodes[at]
}

func (s *simulation) alive(id api.NodeID) bool { n := s.node(id); return n != nil && n.Down == 0 }

func (s *simulation) healthy(shard Shard) int {
	count := 0
	for _, r := range shard.Replicas {
		if r.Voter && s.answers(r) {
			count++
		}
	}
	return count
}

func (s *simulation) answers(r Replica) bool { return s.alive(r.Node) && r.Down == 0 }

// answersOn reports whether a node has a replica of a shard that takes part.
func (s *simulation) answersOn(shard Shard, id api.NodeID) bool {
	return slices.ContainsFunc(shard.Replicas, func(r Replica) bool { return r.Node == id && s.answers(r) })
}

// round lets time pass, plans, checks the plan and carries it out.
func (s *simulation) round() Plan {
	s.pass()
	plan := Make(s.seen())
	s.checkPlan(plan)
	for _, step := range plan.Steps {
		if s.calm || s.rng.IntN(5) > 0 {
			s.carryOut(step)
		}
	}
	return plan
}

// seen is the view of the master: what it does not know it leaves out.
func (s *simulation) seen() View {
	v := s.view
	v.Shards = slices.Clone(v.Shards)
	for i := range v.Shards {
		if !s.calm && s.rng.IntN(10) == 0 {
			v.Shards[i].Reported = false
		}
	}
	return v
}

// pass is half a minute: leaders are elected, learners learn, nodes stay dead.
func (s *simulation) pass() {
	s.passSplits()
	for i := range s.view.Nodes {
		if n := &s.view.Nodes[i]; n.Down > 0 {
			n.Down += 30 * time.Second
		}
	}
	for i := range s.view.Shards {
		shard := &s.view.Shards[i]
		if s.answersOn(*shard, shard.Preferred) && s.votes(*shard, shard.Preferred) {
			shard.Leader = shard.Preferred
		}
		if !s.answersOn(*shard, shard.Leader) || !s.votes(*shard, shard.Leader) {
			shard.Leader = s.elect(*shard)
		}
		if s.healthy(*shard) < quorum(voters(*shard)) {
			shard.Leader = ""
		}
		shard.Reported = shard.Leader != ""
		shard.Replicas = slices.Clone(shard.Replicas)
		for r := range shard.Replicas {
			if l := &shard.Replicas[r]; l.Down > 0 {
				l.Down += 30 * time.Second
			} else if !l.CaughtUp && s.alive(l.Node) && shard.Leader != "" {
				key := fmt.Sprint(shard.ID, l.Node)
				s.learned[key]++
				l.CaughtUp = s.calm || s.learned[key] > 2 || s.rng.IntN(2) == 0
			}
		}
	}
}

func (s *simulation) votes(shard Shard, id api.NodeID) bool {
	return slices.ContainsFunc(shard.Replicas, func(r Replica) bool { return r.Voter && r.Node == id })
}

func (s *simulation) elect(shard Shard) api.NodeID {
	for _, r := range shard.Replicas {
		if r.Voter && s.answers(r) && r.CaughtUp {
			return r.Node
		}
	}
	return ""
}

// checkPlan is PN1, PN2 and PN5 on a plan.
func (s *simulation) checkPlan(plan Plan) {
	s.t.Helper()
	touched := map[api.ShardID]bool{}
	making := map[api.NodeID]int{}
	for _, shard := range s.view.Shards {
		for _, r := range shard.Replicas {
			if !r.Voter && !r.CaughtUp {
				making[r.Node]++
			}
		}
	}
	for _, step := range plan.Steps {
		if step.Kind == Forget {
			continue
		}
		if touched[step.Shard] {
			s.t.Fatalf("two steps for shard %d (PN1): %+v", step.Shard, plan.Steps)
		}
		touched[step.Shard] = true
		if step.Why == "" || step.Text == "" {
			s.t.Fatalf("a step without a reason: %+v", step)
		}
		shard := s.view.Shards[step.Shard-1]
		s.checkSplit(step, shard)
		switch {
		case step.Kind == AddLearner:
			if making[step.Node]++; making[step.Node] > 2 {
				s.t.Fatalf("%s gets %d replicas at once (PN5)", step.Node, making[step.Node])
			}
			if slices.ContainsFunc(shard.Replicas, func(r Replica) bool { return !r.Voter || r.Node == step.Node }) {
				s.t.Fatalf("a change begins before another ends (PN4): %+v in %+v", step, shard)
			}
		case step.Kind == Remove && s.votes(shard, step.Node):
			s.checkRemoval(step, shard)
		}
	}
}

func (s *simulation) checkRemoval(step Step, shard Shard) {
	s.t.Helper()
	rest, healthy := voters(shard)-1, s.healthy(shard)
	if s.answersOn(shard, step.Node) {
		healthy--
	}
	if rest < quorum(s.view.Replication) || healthy < quorum(rest) {
		s.t.Fatalf("a removal leaves %d healthy of %d voters (PN2): %+v of %+v", healthy, rest, step, shard)
	}
	if step.Node == shard.Leader {
		s.t.Fatalf("the leader is removed: %+v of %+v", step, shard)
	}
}

func (s *simulation) carryOut(step Step) {
	s.steps++
	if step.Kind == Forget {
		s.view.Nodes = slices.DeleteFunc(slices.Clone(s.view.Nodes), func(n Node) bool { return n.ID == step.Node })
		return
	}
	shard := &s.view.Shards[step.Shard-1]
	if shard.Leader == "" {
		return
	}
	shard.Replicas = slices.Clone(shard.Replicas)
	at := slices.IndexFunc(shard.Replicas, func(r Replica) bool { return r.Node == step.Node })
	switch step.Kind {
	case AddLearner:
		shard.Replicas = append(shard.Replicas, Replica{Node: step.Node, Replaces: step.Replaces})
		delete(s.learned, fmt.Sprint(shard.ID, step.Node))
	case Promote:
		shard.Replicas[at].Voter = true
	case Remove:
		shard.Replicas = slices.Delete(shard.Replicas, at, at+1)
		for i := range shard.Replicas {
			if shard.Replicas[i].Replaces == step.Node {
				shard.Replicas[i].Replaces = ""
			}
		}
	case Lead:
		shard.Preferred, shard.Leader = step.Node, step.Node
	case Split:
		shard.Splitting, s.splits[shard.ID] = true, step.Slot
	}
}

// settle runs without failures until nothing is planned; it fails if that takes too long (PN6).
func (s *simulation) settle() {
	s.t.Helper()
	s.calm = true
	limit := 20 + 12*len(s.view.Shards)*s.view.Replication
	for range limit {
		if plan := s.round(); len(plan.Steps) == 0 && s.quiet() {
			return
		}
	}
	last := Make(s.view)
	s.t.Fatalf("no end after %d rounds (PN6): %+v", limit, last)
}

func (s *simulation) quiet() bool {
	for _, shard := range s.view.Shards {
		for _, r := range shard.Replicas {
			if !r.Voter || r.Down > 0 && r.Down < 10*time.Minute {
				return false
			}
		}
	}
	for _, n := range s.view.Nodes {
		if n.Down > 0 && n.Down < 10*time.Minute {
			return false
		}
	}
	return true
}

// checkEven is PN6 on a cluster that has settled with every node alive.
func (s *simulation) checkEven() {
	s.t.Helper()
	status := Report(s.view)
	for what, stands := range map[string][]placement.Stand{"holds": status.Replicas, "leads": status.Leaders} {
		for _, n := range stands {
			if n.Replicas < n.Least || n.Replicas > n.Most {
				s.t.Fatalf("%s %s %d, expected %d to %d (PN6)\n%s\n%+v\n%+v", n.Node, what, n.Replicas, n.Least, n.Most, draw(s.view), Make(s.view), s.view.Shards)
			}
		}
	}
	if len(status.UnderReplicated)+len(status.Changing)+len(status.DeadUnreplaced) > 0 {
		s.t.Fatalf("not settled: %+v\n%+v\n%+v\n%s", status, Make(s.view), s.view.Shards, draw(s.view))
	}
}

// trouble does one thing to the cluster.
func (s *simulation) trouble(zones int) {
	n := &s.view.Nodes[s.rng.IntN(len(s.view.Nodes))]
	down := 0
	for _, other := range s.view.Nodes {
		if other.Down > 0 {
			down++
		}
	}
	switch s.rng.IntN(9) {
	case 8: // what a node holds of a shard is gone, and the node lives
		shard := &s.view.Shards[s.rng.IntN(len(s.view.Shards))]
		at := s.rng.IntN(len(shard.Replicas))
		if down == 0 && len(shard.Replicas) >= 3 && s.healthy(*shard) == len(shard.Replicas) {
			shard.Replicas = slices.Clone(shard.Replicas)
			shard.Replicas[at].Down, shard.Replicas[at].CaughtUp, shard.Replicas[at].Silent = 1, false, true
		}
	case 0:
		if down < 2 {
			n.Down = 1
		}
	case 1, 2:
		n.Down = 0
	case 3:
		n.Duty = []Duty{Serving, Draining, Serving}[s.rng.IntN(3)]
	case 4:
		if len(s.view.Nodes) < 12 {
			s.addNode(s.named, zones)
		}
	case 5:
		if len(s.view.Nodes) > s.view.Replication+1 && down == 0 {
			n.Duty = Decommissioning
		}
	case 6: // a new master
		for i := range s.view.Nodes {
			s.view.Nodes[i].Down = min(s.view.Nodes[i].Down, 1)
		}
	case 7:
		n.Full = !n.Full
	}
}

// runs is how many lives are tried; a life takes a millisecond.
const runs = 1000

// TestClustersSettleWhateverHappens runs whole lives of clusters.
func TestClustersSettleWhateverHappens(t *testing.T) {
	seed := testkit.Seed(t)
	for i := range runs {
		t.Run(fmt.Sprint(i), func(t *testing.T) { life(t, testkit.NewRand(seed+int64(i))) })
		if t.Failed() {
			return
		}
	}
}

// staying counts the nodes that are not to leave.
func (s *simulation) staying() (n int) {
	for _, node := range s.view.Nodes {
		if node.Duty != Decommissioning {
			n++
		}
	}
	return n
}

func life(t *testing.T, rng *rand.Rand) {
	zones := []int{0, 0, 2, 3, 5}[rng.IntN(5)]
	s := newSimulation(t, rng, 3+rng.IntN(7), zones, 1+rng.IntN(16), []int{1, 3, 3, 5}[rng.IntN(4)])
	for range 25 {
		if rng.IntN(3) == 0 {
			s.trouble(zones)
		}
		s.round()
	}
	for i := range s.view.Nodes {
		n := &s.view.Nodes[i]
		n.Down, n.Full = 0, false
		if n.Duty == Draining || n.Duty == Decommissioning && rng.IntN(2) == 0 {
			n.Duty = Serving
		}
	}
	for len(s.view.Nodes) < 2*s.view.Replication || s.staying() <= s.view.Replication { // room for those whose node is to leave
		s.addNode(s.named, zones)
	}
	s.settle()
	s.checkEven()
}
