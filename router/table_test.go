package router

import (
	"strings"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
)

func shard(id uint64, start, end uint32, nodes ...string) *pb.Shard {
	s := &pb.Shard{Id: id, StartSlot: start, EndSlot: end, Epoch: 1}
	for _, n := range nodes {
		s.Replicas = append(s.Replicas, &pb.Replica{NodeId: n, Incarnation: 1})
	}
	return s
}

func threeShards(revision uint64) *pb.ClusterMap {
	return &pb.ClusterMap{
		Revision: revision,
		Nodes:    []*pb.Node{{Id: "a"}, {Id: "b"}, {Id: "c"}},
		Shards: []*pb.Shard{
			shard(1, 0, 5461, "a", "b", "c"), shard(2, 5461, 10922, "a", "b", "c"), shard(3, 10922, 16384, "a", "b", "c"),
		},
	}
}

func TestTableFindsTheShardOfEverySlot(t *testing.T) {
	table, err := NewTable(threeShards(7))
	if err != nil {
		t.Fatal(err)
	}
	if table.Revision() != 7 {
		t.Fatalf("revision %d", table.Revision())
	}
	for s := range api.Slot(api.SlotCount) {
		got := table.ShardOf(s)
		if !got.Arc.Contains(s) {
			t.Fatalf("slot %d went to shard %d with arc %s", s, got.ID, got.Arc)
		}
	}
	for slot, want := range map[api.Slot]api.ShardID{0: 1, 5460: 1, 5461: 2, 10921: 2, 10922: 3, 16383: 3} {
		if got := table.ShardOf(slot).ID; got != want {
			t.Errorf("slot %d went to shard %d, want %d", slot, got, want)
		}
	}
	if s, ok := table.Shard(2); !ok || s.Epoch != 1 || len(s.Replicas) != 3 || s.Replicas[1].Node != "b" {
		t.Errorf("shard 2 is %+v, %t", s, ok)
	}
	if _, ok := table.Shard(9); ok {
		t.Error("found shard 9")
	}
	if n, ok := table.Node("b"); !ok || n.GetId() != "b" {
		t.Error("node b is missing")
	}
	if _, ok := table.Node("z"); ok {
		t.Error("found node z")
	}
}

// T1.
func TestTableRefusesArcsThatDoNotTile(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*pb.ClusterMap)
		want   string
	}{
		"no shards":       {func(m *pb.ClusterMap) { m.Shards = nil }, "16384 of 16384 slots belong to no shard"},
		"a gap":           {func(m *pb.ClusterMap) { m.Shards[0].EndSlot = 5460 }, "1 of 16384"},
		"an overlap":      {func(m *pb.ClusterMap) { m.Shards[0].EndSlot = 5462 }, "slot 5461 belongs to shard 1 and to shard 2"},
		"an empty arc":    {func(m *pb.ClusterMap) { m.Shards[0].EndSlot = 0 }, "arc [0, 0)"},
		"beyond the end":  {func(m *pb.ClusterMap) { m.Shards[2].EndSlot = 16385 }, "arc [10922, 16385)"},
		"wrapped":         {func(m *pb.ClusterMap) { m.Shards[2].StartSlot, m.Shards[2].EndSlot = 16000, 10 }, "arc [16000, 10)"},
		"a shard twice":   {func(m *pb.ClusterMap) { m.Shards[2].Id = 1 }, "shard 1 is listed twice"},
		"a shard without": {func(m *pb.ClusterMap) { m.Shards[2].Id = 0 }, "a shard has no id"},
		"a node twice":    {func(m *pb.ClusterMap) { m.Nodes[2].Id = "a" }, "node a is listed twice"},
		"a node without":  {func(m *pb.ClusterMap) { m.Nodes[2].Id = "" }, "a node has no id"},
	} {
		m := threeShards(1)
		c.change(m)
		_, err := NewTable(m)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := NewTable(nil); err == nil {
		t.Error("a table was made of no map")
	}
}

// T2.
func TestRouterIgnoresOlderMaps(t *testing.T) {
	r := New()
	if r.Table() != nil {
		t.Fatal("a new router has a table")
	}
	for _, c := range []struct {
		revision uint64
		taken    bool
	}{{2, true}, {2, false}, {1, false}, {3, true}} {
		taken, err := r.Update(threeShards(c.revision))
		if err != nil || taken != c.taken {
			t.Errorf("revision %d: taken %t, %v", c.revision, taken, err)
		}
	}
	bad := threeShards(9)
	bad.Shards = bad.Shards[1:]
	if taken, err := r.Update(bad); taken || err == nil {
		t.Errorf("a map with a gap: taken %t, %v", taken, err)
	}
	if got := r.Table().Revision(); got != 3 {
		t.Errorf("revision %d, want 3", got)
	}
}

func TestRouterRemembersLeadersAsHints(t *testing.T) {
	r := New()
	r.SetLeader(1, "a")
	if _, ok := r.Leader(1); ok {
		t.Error("took a leader without a table")
	}
	if _, err := r.Update(threeShards(1)); err != nil {
		t.Fatal(err)
	}
	r.SetLeader(1, "a")
	r.SetLeader(2, "b")
	r.SetLeader(3, "stranger")
	r.SetLeader(9, "a")
	r.SetLeader(1, "")
	if n, ok := r.Leader(1); !ok || n != "a" {
		t.Errorf("leader of 1 is %q, %t", n, ok)
	}
	for _, id := range []api.ShardID{3, 9} {
		if n, ok := r.Leader(id); ok {
			t.Errorf("leader of %d is %q", id, n)
		}
	}
	r.ForgetLeader(1)
	if _, ok := r.Leader(1); ok {
		t.Error("leader of 1 is still known")
	}
	moved := threeShards(2)
	moved.Shards[1] = shard(2, 5461, 10922, "a", "c")
	if _, err := r.Update(moved); err != nil {
		t.Fatal(err)
	}
	if n, ok := r.Leader(2); ok {
		t.Errorf("leader of 2 is %q, which holds no replica of it any more", n)
	}
}

func TestRouterNeverGoesBackUnderConcurrentUpdates(t *testing.T) {
	r := New()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			seen := uint64(0)
			for i := range 50 {
				if _, err := r.Update(threeShards(uint64(i*4 + w + 1))); err != nil {
					t.Error(err)
				}
				r.SetLeader(1, "a")
				got := r.Table().Revision()
				if got < seen {
					t.Errorf("revision went from %d to %d", seen, got)
				}
				seen = got
			}
		})
	}
	wg.Wait()
	if got := r.Table().Revision(); got != 200 {
		t.Errorf("revision %d, want 200", got)
	}
}
