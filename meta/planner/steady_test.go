package planner

import (
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
)

// TestADrainNamesOneSuccessor while the leadership does not go there: each other name is another map for every node.
func TestADrainNamesOneSuccessor(t *testing.T) {
	v := View{Replication: 3, Nodes: []Node{{ID: "a", Duty: Draining}, {ID: "b"}, {ID: "c"}}, Shards: []Shard{{
		ID: 1, Leader: "a", Preferred: "a", Reported: true,
		Replicas: []Replica{{Node: "a", Voter: true, CaughtUp: true}, {Node: "b", Voter: true, CaughtUp: true}, {Node: "c", Voter: true, CaughtUp: true}},
	}}}
	last := api.NodeID("")
	for range 4 {
		for _, s := range Make(v).Steps {
			if s.Kind != Lead {
				continue
			}
			if last != "" && s.Node != last {
				t.Errorf("%s is named after %s", s.Node, last)
			}
			last, v.Shards[0].Preferred = s.Node, s.Node // the map's half of the step
		}
	}
	if last == "" {
		t.Error("nobody is named")
	}
}

// TestDrainingANodeFreesTheShardOfALearnerThatNeverLearns, as on a node without room for it.
func TestDrainingANodeFreesTheShardOfALearnerThatNeverLearns(t *testing.T) {
	v := View{Replication: 3, Nodes: []Node{{ID: "a"}, {ID: "b"}, {ID: "c", Down: time.Hour}, {ID: "d", Duty: Draining}, {ID: "e"}}, Shards: []Shard{{
		ID: 1, Leader: "a", Reported: true,
		Replicas: []Replica{{Node: "a", Voter: true, CaughtUp: true}, {Node: "b", Voter: true, CaughtUp: true}, {Node: "c", Voter: true}, {Node: "d", Replaces: "c"}},
	}}}
	p := Make(v)
	if len(p.Steps) != 1 || p.Steps[0].Kind != Remove || p.Steps[0].Node != "d" {
		t.Errorf("planned is %+v", p)
	}
}

// gone is a shard on a, b and c of which c holds nothing any more although it lives.
func gone(nodes ...Node) View {
	return View{Replication: 3, Nodes: nodes, Shards: []Shard{{
		ID: 1, Leader: "a", Preferred: "a", Reported: true,
		Replicas: []Replica{{Node: "a", Voter: true, CaughtUp: true}, {Node: "b", Voter: true, CaughtUp: true}, {Node: "c", Voter: true, Silent: true, Down: time.Hour}},
	}}}
}

// TestAReplicaThatIsGoneFromALivingNodeIsReplaced by one on another node, or by a new one on the same.
func TestAReplicaThatIsGoneFromALivingNodeIsReplaced(t *testing.T) {
	p := Make(gone(Node{ID: "a"}, Node{ID: "b"}, Node{ID: "c"}, Node{ID: "d"}))
	if len(p.Steps) != 1 || p.Steps[0].Kind != AddLearner || p.Steps[0].Node != "d" || p.Steps[0].Replaces != "c" {
		t.Errorf("with another node, planned is %+v", p)
	}
	v := gone(Node{ID: "a"}, Node{ID: "b"}, Node{ID: "c"})
	p = Make(v)
	if len(p.Steps) != 1 || p.Steps[0].Kind != Remove || p.Steps[0].Node != "c" {
		t.Fatalf("without another node, planned is %+v", p)
	}
	v.Shards[0].Replicas = v.Shards[0].Replicas[:2]
	p = Make(v)
	if len(p.Steps) != 1 || p.Steps[0].Kind != AddLearner || p.Steps[0].Node != "c" {
		t.Errorf("when it is removed, planned is %+v", p)
	}
	v = gone(Node{ID: "a"}, Node{ID: "b", Down: time.Second}, Node{ID: "c"})
	if p = Make(v); len(p.Steps) != 0 {
		t.Errorf("without a majority, planned is %+v", p)
	}
	v = gone(Node{ID: "a"}, Node{ID: "b"}, Node{ID: "c"}, Node{ID: "d"})
	v.Shards[0].Replicas[2].Down = time.Minute
	if p = Make(v); len(p.Steps) != 0 {
		t.Errorf("after a minute, planned is %+v", p)
	}
}

// TestALearnerThatMakesNoProgressIsGivenUp, so that its shard is not held up.
func TestALearnerThatMakesNoProgressIsGivenUp(t *testing.T) {
	v := gone(Node{ID: "a"}, Node{ID: "b"}, Node{ID: "c"}, Node{ID: "d"})
	v.Shards[0].Replicas = append(v.Shards[0].Replicas, Replica{Node: "d", Replaces: "c"})
	if p := Make(v); len(p.Steps) != 0 {
		t.Errorf("while it learns, planned is %+v", p)
	}
	v.Shards[0].Replicas[3].Stuck = true
	if p := Make(v); len(p.Steps) != 1 || p.Steps[0].Kind != Remove || p.Steps[0].Node != "d" || p.Steps[0].Why != Cancelled {
		t.Errorf("planned is %+v", p)
	}
}

// TestAReplacementCountsOnce: it was made for a, which stayed, and then another voter went instead. So a stays.
func TestAReplacementCountsOnce(t *testing.T) {
	v := View{Replication: 5, Nodes: []Node{{ID: "a"}, {ID: "b"}, {ID: "c"}}, Shards: []Shard{{
		ID: 1, Leader: "c", Preferred: "c", Reported: true,
		Replicas: []Replica{{Node: "a", Voter: true, CaughtUp: true}, {Node: "b", Voter: true, CaughtUp: true}, {Node: "c", Voter: true, CaughtUp: true, Replaces: "a"}},
	}}}
	if p := Make(v); !p.Done() {
		t.Errorf("planned is %+v", p)
	}
}
