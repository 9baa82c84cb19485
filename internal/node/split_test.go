package node

import (
	"os"
	"testing"
	"time"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/raft"
)

// splitMap is a map in which shard 7 is being split into 7 and 9, or was.
func splitMap(done bool) *pb.ClusterMap {
	both := []*pb.Replica{{NodeId: "a", Incarnation: 1}, {NodeId: "b", Incarnation: 1}}
	m := mapOf(both...)
	m.Shards[0].Split = &pb.Split{ChildId: 9, AtSlot: 100, Epoch: 1, ChildEpoch: 2, Replicas: both}
	if done {
		shards := meta.ShardsOf(m)
		m.Shards = shards
		shards[0].EndSlot, shards[0].Epoch, shards[0].Split = 100, 2, nil
	}
	return m
}

// TestAReplicaOfAChildWaitsForItsParents (N7): while the parent's replica has not come to the split, nothing is opened, and
// what it makes is opened whether or not the map says that the split is done. A map that does not know the child deletes nothing.
func TestAReplicaOfAChildWaitsForItsParents(t *testing.T) {
	dir := t.TempDir()
	f := newFollowing(t, dir)
	f.born = make(chan struct{}, 1)
	f.mustFollow(splitMap(false), true)
	f.mustFollow(splitMap(true), true)
	if got := f.opens(); len(got) != 1 || exists(dir+"/shards/9-1") {
		t.Fatalf("open are %v", got)
	}
	// What the parent's replica does when it applies the split.
	splitter{f.replicas}.OnSplit(9)
	if len(f.born) != 1 {
		t.Fatal("nobody is told that the child is there")
	}
	if err := os.MkdirAll(dir+"/shards/9-1", 0o755); err != nil {
		t.Fatal(err)
	}
	f.mustFollow(mapOf(&pb.Replica{NodeId: "a", Incarnation: 1}), false)
	if !exists(dir + "/shards/9-1") {
		t.Fatal("a map from before the split deleted the child")
	}
	for _, done := range []bool{false, true} {
		f.mustFollow(splitMap(done), false)
		s, isOpen := f.shard(9)
		if parent, _ := f.shard(7); parent.Options().VotesEmpty {
			t.Error("a replica of the parent may vote while it holds nothing")
		}
		if !isOpen || len(s.Options().Voters) != 0 || !s.Options().VotesEmpty || s.Options().Arc.Start != 100 || s.Options().Epoch != 2 {
			t.Fatalf("done %t: the child is open: %t, %+v", done, isOpen, s.Options())
		}
	}
}

// TestTheBirthOfAChildsReplica (N7, N6) is judged by the replica of the parent on this disk, of the same incarnation.
func TestTheBirthOfAChildsReplica(t *testing.T) {
	mine := &pb.Replica{NodeId: "a", Incarnation: 1}
	child := func(f *following) *pb.Shard { return meta.ShardsOf(splitMap(false))[1] }
	for _, c := range []struct {
		name    string
		prepare func(*following)
		change  func(*pb.Shard, *pb.Replica)
		here    []replicaKey
		want    birth
	}{
		{name: "the parent's is before the split", want: notYet, here: []replicaKey{{7, 1}}},
		{name: "the parent's went past it by a snapshot", want: asEver, here: []replicaKey{{7, 1}},
			change: func(s *pb.Shard, _ *pb.Replica) { s.ParentEpoch = 0 }}, // its epoch is 1
		{name: "the parent's is not open", want: notYet, here: []replicaKey{{7, 1}}, prepare: func(f *following) { must(t, f.closeReplica(replicaKey{7, 1})) }},
		{name: "the parent's is another one", want: gone, here: []replicaKey{{7, 4}},
			change: func(_ *pb.Shard, r *pb.Replica) { r.Incarnation = 2 }},
		{name: "the parent's is gone", want: gone, prepare: func(f *following) {
			must(t, f.closeReplica(replicaKey{7, 1}))
			f.noteLost(replicaKey{7, 1})
		}},
		{name: "the parent's is about to be opened", want: notYet, prepare: func(f *following) { must(t, f.closeReplica(replicaKey{7, 1})) }},
		{name: "it is on the disk", want: asEver, here: []replicaKey{{7, 1}, {9, 1}}},
		{name: "it was discarded", want: gone, here: []replicaKey{{7, 1}, {9, 1}}, prepare: func(f *following) { must(t, f.host.Discard(raft.GroupID(9), 1)) }},
		{name: "it came later, as a learner", want: asEver, change: func(_ *pb.Shard, r *pb.Replica) { r.Incarnation, r.Learner = 5, true }},
		{name: "it came later and votes", want: gone, change: func(_ *pb.Shard, r *pb.Replica) { r.Incarnation = 5 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFollowing(t, t.TempDir())
			m := mapOf(mine)
			m.Shards[0].Founders = m.Shards[0].Founders[:1]
			f.mustFollow(m, false)
			testkit.Eventually(t, time.Minute, func() bool {
				s, ok := f.shard(7)
				return ok && s.Epoch() == 1
			}, "the parent's replica has no epoch")
			if c.prepare != nil {
				c.prepare(f)
			}
			s, r := child(f), &pb.Replica{NodeId: "a", Incarnation: 1}
			if c.change != nil {
				c.change(s, r)
			}
			here := make(map[replicaKey]bool)
			for _, k := range c.here {
				here[k] = true
			}
			if got, err := f.birthOf(s, r, here); got != c.want || err != nil {
				t.Errorf("%d, %v, want %d", got, err, c.want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
