package meta

import (
	"slices"
	"testing"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
)

// versions is a state whose nodes know these cluster versions.
func versions(at uint32, known ...uint32) *peerv1.MetaState {
	s := &peerv1.MetaState{Map: &pb.ClusterMap{ClusterId: "c", Revision: 1, ClusterVersion: at}}
	for i, v := range known {
		name := string(rune('a' + i))
		s.Map.Nodes = append(s.Map.Nodes, &pb.Node{Id: name, Name: "name-" + name, NewestClusterVersion: v})
	}
	return s
}

func raise(version uint32) *peerv1.MetaCommand {
	return &peerv1.MetaCommand{Op: &peerv1.MetaCommand_RaiseClusterVersion{RaiseClusterVersion: &peerv1.MetaRaiseClusterVersion{Version: version}}}
}

// M20: the version goes up by one, once every node knows the next.
func TestTheClusterVersionIsRaisedWhenEveryNodeKnowsIt(t *testing.T) {
	for name, c := range map[string]struct {
		state *peerv1.MetaState
		to    uint32
		want  peerv1.MetaCode
		after uint32
	}{
		"all know it":            {versions(0, 2, 2, 2), 2, peerv1.MetaCode_META_CODE_OK, 2},
		"one does not":           {versions(0, 2, 1, 2), 2, conflict, 1},
		"one says nothing":       {versions(1, 2, 0, 2), 2, conflict, 1},
		"two at a time":          {versions(1, 3, 3, 3), 3, conflict, 1},
		"back":                   {versions(3, 3, 3, 3), 2, conflict, 3},
		"again":                  {versions(2, 2, 2, 2), 2, peerv1.MetaCode_META_CODE_OK, 2},
		"to where it is already": {versions(0, 1, 1), 1, peerv1.MetaCode_META_CODE_OK, 1},
	} {
		before := c.state.Map.Revision
		was := ClusterVersion(c.state.Map)
		r := evaluate(c.state, raise(c.to))
		if r.GetCode() != c.want || ClusterVersion(c.state.Map) != c.after {
			t.Errorf("%s: %s, and the cluster is at %d", name, r.GetCode(), ClusterVersion(c.state.Map))
		}
		if changed := was != c.after; changed != (c.state.Map.Revision > before) {
			t.Errorf("%s: the revision went from %d to %d", name, before, c.state.Map.Revision)
		}
	}
	s := versions(0, 2, 1, 2)
	s.Map.Nodes[1].State = pb.NodeState_NODE_STATE_LOST
	if r := evaluate(s, raise(2)); r.GetCode() != peerv1.MetaCode_META_CODE_OK {
		t.Errorf("a lost node holds the upgrade up: %s", r.GetCode())
	}
	if names := behind(versions(0, 2, 1, 0).Map, 2); !slices.Equal(names, []string{"name-b", "name-c"}) {
		t.Errorf("behind are %v", names)
	}
}

func TestANodeWhoseBuildDoesNotFitIsRefused(t *testing.T) {
	for known, want := range map[uint32]peerv1.MetaCode{
		0: peerv1.MetaCode_META_CODE_TOO_OLD, 1: peerv1.MetaCode_META_CODE_TOO_OLD, 2: peerv1.MetaCode_META_CODE_OK,
		3: peerv1.MetaCode_META_CODE_OK, 4: peerv1.MetaCode_META_CODE_TOO_NEW,
	} {
		s := versions(2, 2, 2)
		node := &pb.Node{Id: "z", Name: "name-z", NewestClusterVersion: known}
		r := evaluate(s, &peerv1.MetaCommand{Op: &peerv1.MetaCommand_RegisterNode{RegisterNode: &peerv1.MetaRegisterNode{ClusterId: "c", Node: node}}})
		if r.GetCode() != want || (nodeOf(s, "z") != nil) != (want == peerv1.MetaCode_META_CODE_OK) {
			t.Errorf("a build that knows version %d: %s", known, r.GetCode())
		}
		if want != peerv1.MetaCode_META_CODE_OK && r.GetClusterVersion() != 2 {
			t.Errorf("a build that knows version %d is told of version %d", known, r.GetClusterVersion())
		}
	}
}
