package pledge

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/sealed"
)

func openStore(t *testing.T, fsys vfs.FS, self api.NodeID, expect int) *Store {
	t.Helper()
	if err := fsys.MkdirAll("data"); err != nil {
		t.Fatal(err)
	}
	s, err := OpenStore(fsys, "data", self, "name", expect)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func ab(cluster string) Pledge {
	return Pledge{ClusterID: cluster, Nodes: []api.NodeID{"a", "b"}, Shards: 2}
}

func TestTheFirstPledgeStands(t *testing.T) {
	disk := vfs.NewMem()
	s := openStore(t, disk, "a", 2)
	for _, cluster := range []string{"one", "two", "one"} {
		state, err := s.Pledge(ab(cluster))
		if err != nil || !state.Pledge.Equal(ab("one")) {
			t.Fatalf("after %s: %+v, %v (B1)", cluster, state, err)
		}
	}
	again := openStore(t, disk.CrashClone(vfs.CrashOptions{}), "a", 2)
	if state := again.State(); !state.Pledge.Equal(ab("one")) {
		t.Errorf("after a crash: %+v (B2)", state)
	}
}

func TestPledgesThatAreNotForThisNodeAreRefused(t *testing.T) {
	s := openStore(t, vfs.NewMem(), "c", 2)
	long := Pledge{ClusterID: "x", Shards: 1, Nodes: make([]api.NodeID, MaxFounders+1)}
	for name, p := range map[string]Pledge{
		"another's":  ab("one"),
		"no cluster": {Nodes: []api.NodeID{"b", "c"}, Shards: 1},
		"no shards":  {ClusterID: "x", Nodes: []api.NodeID{"b", "c"}},
		"unsorted":   {ClusterID: "x", Nodes: []api.NodeID{"c", "b"}, Shards: 1},
		"repeated":   {ClusterID: "x", Nodes: []api.NodeID{"c", "c"}, Shards: 1},
		"too long":   long,
	} {
		if _, err := s.Pledge(p); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if state, err := s.Pledge(Pledge{ClusterID: "x", Nodes: []api.NodeID{"a", "b", "c"}, Shards: 1}); err != nil || state.Pledge != nil {
		t.Errorf("a pledge of three was taken by a node that expects two: %+v, %v", state, err)
	}
}

func TestANodeWithAClusterNeverPledges(t *testing.T) {
	disk := vfs.NewMem()
	s := openStore(t, disk, "a", 2)
	if _, joined, err := s.join(Cluster{ID: "there", Founders: []api.NodeID{"x"}, Shards: 1}, nil); err != nil || !joined {
		t.Fatal(joined, err)
	}
	if state, err := s.Pledge(ab("one")); err != nil || state.Pledge != nil || state.Cluster.ID != "there" {
		t.Errorf("%+v, %v (B1)", state, err)
	}
	if state := openStore(t, disk.CrashClone(vfs.CrashOptions{}), "a", 2).State(); state.Cluster == nil || state.Cluster.ID != "there" {
		t.Errorf("after a crash: %+v", state)
	}
}

// TestAPledgeTakenMeanwhileStopsAJoin: between the question and the conclusion another node's
// proposal arrived.
func TestAPledgeTakenMeanwhileStopsAJoin(t *testing.T) {
	s := openStore(t, vfs.NewMem(), "a", 2)
	before := s.State()
	if _, err := s.Pledge(ab("one")); err != nil {
		t.Fatal(err)
	}
	if _, joined, err := s.join(Cluster{ID: "there"}, before.Pledge); joined || err != nil || s.State().Cluster != nil {
		t.Errorf("joined %v, %v", joined, err)
	}
	if _, joined, err := s.join(Cluster{ID: "there"}, s.State().Pledge); !joined || err != nil {
		t.Errorf("joined %v, %v", joined, err)
	}
}

func TestAFailedSyncIsSticky(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpSync, vfs.OpRename, vfs.OpSyncDir, vfs.OpWrite, vfs.OpCreate} {
		s := openStore(t, vfs.NewMem(), "a", 2)
		full := errors.New("no space left on device")
		failing := true
		s.fsys = vfs.NewFault(s.fsys, vfs.InjectorFunc(func(o vfs.Op, _ string) error {
			if failing && o == op {
				return full
			}
			return nil
		}))
		if _, err := s.Pledge(ab("one")); !errors.Is(err, full) || !errors.Is(err, api.ErrStoreFailed) {
			t.Errorf("%s: %v", op, err)
		}
		failing = false
		_, err := s.show()
		_, err2 := s.Pledge(ab("one"))
		if !errors.Is(err, full) || !errors.Is(err2, full) {
			t.Errorf("%s: later answers %v, %v", op, err, err2)
		}
	}
}

func TestDamageIsNamed(t *testing.T) {
	disk := vfs.NewMem()
	if _, err := openStore(t, disk, "a", 2).Pledge(ab("one")); err != nil {
		t.Fatal(err)
	}
	good, err := vfs.ReadFile(disk, "data/pledge")
	if err != nil {
		t.Fatal(err)
	}
	bad := slices.Clone(good)
	bad[20] ^= 1
	if err := vfs.WriteFileAtomic(disk, "data", "pledge", bad); err != nil {
		t.Fatal(err)
	}
	var corrupt *sealed.CorruptError
	if _, err := OpenStore(disk, "data", "a", "", 2); !errors.As(err, &corrupt) || corrupt.File != "data/pledge" {
		t.Errorf("%v", err)
	}
	if err := vfs.WriteFileAtomic(disk, "data", "pledge", good); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenStore(disk, "data", "z", "", 2); err == nil || !strings.Contains(err.Error(), "not a pledge of node z") {
		t.Errorf("another node's pledge: %v", err)
	}
}
