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
