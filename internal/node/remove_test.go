package node

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
)

// mapOf gives shard 7 to some replicas.
func mapOf(replicas ...*pb.Replica) *pb.ClusterMap {
	return &pb.ClusterMap{Shards: []*pb.Shard{{
		Id: 7, EndSlot: api.SlotCount, Epoch: 1, Replicas: replicas,
		Founders: []*pb.Replica{{NodeId: "a", Incarnation: 1}, {NodeId: "b", Incarnation: 1}},
	}}}
}

// following are replicas of node a and what its leader says of the members of shard 7.
type following struct {
	*replicas
	t       *testing.T
	members []*peerv1.GroupMember // nil: nobody answers
	asked   int
}

func newFollowing(t *testing.T, dir string) *following {
	t.Helper()
	f := &following{t: t}
	f.replicas, _ = replicasOf(hostOf(t, dir), vfs.OS(), dir+"/shards", nil, io.Discard)
	f.replicas.mu.fenced = nil
	f.replicas.members = func(_ context.Context, _ api.NodeID, group raft.GroupID) (*peerv1.GroupMembers, error) {
		f.asked++
		if f.members == nil {
			return nil, errors.New("no connection")
		}
		return &peerv1.GroupMembers{GroupId: uint64(group), Index: 5, Members: f.members}, nil
	}
	t.Cleanup(func() {
		if err := f.close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func (f *following) mustFollow(m *pb.ClusterMap, pending bool) {
	f.t.Helper()
	got, err := f.follow(f.t.Context(), m)
	if err != nil || got != pending {
		f.t.Fatalf("follow: pending %t, %v", got, err)
	}
}

// opens are the incarnations of shard 7 that are open.
func (f *following) opens() (list []uint64) {
	for _, s := range f.all() {
		list = append(list, s.Options().Incarnation)
	}
	return list
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestAReplicaThatIsStillAMemberIsNotDeleted (N5): a map that leaves it out, or an answer that does not come, deletes
// nothing, and the replica goes on.
func TestAReplicaThatIsStillAMemberIsNotDeleted(t *testing.T) {
	dir := t.TempDir()
	f := newFollowing(t, dir)
	f.mustFollow(mapOf(&pb.Replica{NodeId: "a", Incarnation: 1}), false)
	without := mapOf(&pb.Replica{NodeId: "b", Incarnation: 1})
	f.mustFollow(without, true) // nobody answers
	f.members = []*peerv1.GroupMember{{NodeId: "b", Incarnation: 1, Voter: true}, {NodeId: "a", Incarnation: 1, Voter: true}}
	f.mustFollow(without, true)
	if len(f.opens()) != 1 || !exists(dir+"/shards/7-1") {
		t.Fatal("a member of its group was stopped or deleted")
	}
	if status := f.status(); len(status) != 1 || !strings.Contains(status[0].Trouble, "still a member") {
		t.Errorf("the status is %v", status)
	}
	f.members = f.members[:1]
	f.mustFollow(without, false)
	if discarded, err := f.host.Discarded(7, 1); len(f.opens()) != 0 || exists(dir+"/shards/7-1") || !discarded || err != nil {
		t.Errorf("the replica is still here: %v, its log is discarded: %t, %v", f.opens(), discarded, err)
	}
	if status := f.status(); len(status) != 0 {
		t.Errorf("the status is %v", status)
	}
}

// TestARemovalThatACrashCutShortIsFinished (N5): nobody is asked again once the log was forgotten.
func TestARemovalThatACrashCutShortIsFinished(t *testing.T) {
	dir := t.TempDir()
	f := newFollowing(t, dir)
	f.mustFollow(mapOf(&pb.Replica{NodeId: "a", Incarnation: 1}), false)
	if err := f.closeReplica(replicaKey{7, 1}); err != nil {
		t.Fatal(err)
	}
	if err := f.host.Discard(7, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/shards/9-3"+removedSuffix+"/engine", 0o755); err != nil {
		t.Fatal(err)
	}
	f.mustFollow(mapOf(), false)
	if exists(dir+"/shards/7-1") || exists(dir+"/shards/9-3"+removedSuffix) || f.asked != 0 {
		t.Errorf("something is left, or %d nodes were asked", f.asked)
	}
}

// TestADiscardedReplicaIsNotOpenedAgain (R20), whatever an old map says.
func TestADiscardedReplicaIsNotOpenedAgain(t *testing.T) {
	f := newFollowing(t, t.TempDir())
	if err := f.host.Discard(7, 1); err != nil {
		t.Fatal(err)
	}
	f.mustFollow(mapOf(&pb.Replica{NodeId: "a", Incarnation: 1}), false)
	if status := f.status(); len(f.opens()) != 0 || len(status) != 1 || status[0].Trouble == "" {
		t.Errorf("open are %v, the status is %v", f.opens(), status)
	}
}

// TestAnotherIncarnationIsOpenedWhenTheOldOneIsGone: the map may have skipped what came between.
func TestAnotherIncarnationIsOpenedWhenTheOldOneIsGone(t *testing.T) {
	dir := t.TempDir()
	f := newFollowing(t, dir)
	f.mustFollow(mapOf(&pb.Replica{NodeId: "a", Incarnation: 1}), false)
	again := mapOf(&pb.Replica{NodeId: "b", Incarnation: 1}, &pb.Replica{NodeId: "a", Incarnation: 4, Learner: true})
	f.mustFollow(again, true)
	if got := f.opens(); len(got) != 1 || got[0] != 1 {
		t.Fatalf("open are %v", got)
	}
	f.members = []*peerv1.GroupMember{{NodeId: "b", Incarnation: 1, Voter: true}}
	f.mustFollow(again, false)
	if got := f.opens(); len(got) != 1 || got[0] != 4 {
		t.Fatalf("open are %v", got)
	}
	s, _ := f.shard(7)
	if status := s.Group().Status(); status.LastLog != 0 || status.Term != 0 || len(status.Voters) != 0 {
		t.Errorf("it begins with something: %+v", status)
	}
}

// TestAReplicaThatLostItsDiskIsNotOpened (N6): it would vote again in terms in which it has voted.
func TestAReplicaThatLostItsDiskIsNotOpened(t *testing.T) {
	f := newFollowing(t, t.TempDir())
	m := mapOf(&pb.Replica{NodeId: "b", Incarnation: 1}, &pb.Replica{NodeId: "a", Incarnation: 4})
	f.mustFollow(m, false)
	if status := f.status(); len(f.opens()) != 0 || len(status) != 1 || status[0].Role != "stopped" || !strings.Contains(status[0].Trouble, "replace it") {
		t.Errorf("open are %v, the status is %v", f.opens(), status)
	}
	m.Shards[0].Replicas[1].Learner = true
	f.mustFollow(m, false)
	if len(f.opens()) != 1 || f.status()[0].Trouble != "" {
		t.Errorf("a learner was not opened: %v", f.status())
	}
}

// TestAFounderThatLostItsDirectoryIsNotOpened (N6), and the node goes on with the others.
func TestAFounderThatLostItsDirectoryIsNotOpened(t *testing.T) {
	dir := t.TempDir()
	f := newFollowing(t, dir)
	m := mapOf(&pb.Replica{NodeId: "b", Incarnation: 1}, &pb.Replica{NodeId: "a", Incarnation: 1})
	f.mustFollow(m, false)
	if len(f.opens()) != 1 {
		t.Fatalf("open are %v", f.opens())
	}
	if err := f.closeReplica(replicaKey{7, 1}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir + "/shards/7-1"); err != nil {
		t.Fatal(err)
	}
	f.mustFollow(m, false)
	if status := f.status(); len(f.opens()) != 0 || len(status) != 1 || !strings.Contains(status[0].Trouble, "replace it") {
		t.Errorf("open are %v, the status is %v", f.opens(), status)
	}
}

// TestALostReplicaThatWasReplacedIsForgotten: its trouble does not stay in the status.
func TestALostReplicaThatWasReplacedIsForgotten(t *testing.T) {
	f := newFollowing(t, t.TempDir())
	b := &pb.Replica{NodeId: "b", Incarnation: 1}
	f.mustFollow(mapOf(b, &pb.Replica{NodeId: "a", Incarnation: 4}), false)
	if status := f.status(); len(status) != 1 || status[0].Trouble == "" {
		t.Fatalf("the status is %v", status)
	}
	f.mustFollow(mapOf(b), false)
	if status := f.status(); len(status) != 0 {
		t.Errorf("the status is %v", status)
	}
	f.mustFollow(mapOf(b, &pb.Replica{NodeId: "a", Incarnation: 5, Learner: true}), false)
	if status := f.status(); len(f.opens()) != 1 || len(status) != 1 || status[0].Trouble != "" {
		t.Errorf("open are %v, the status is %v", f.opens(), status)
	}
}

// TestQuestionsToLeadersThatDoNotAnswerShareOneLimit, however many replicas are to go: the next map waits meanwhile.
func TestQuestionsToLeadersThatDoNotAnswerShareOneLimit(t *testing.T) {
	f := newFollowing(t, t.TempDir())
	f.confirmWithin = 50 * time.Millisecond
	var keys []replicaKey
	for id := range api.ShardID(5 * maxConcurrentOpens) {
		keys = append(keys, replicaKey{id + 100, 1})
	}
	var mu sync.Mutex
	deadlines := make(map[time.Time]int)
	f.replicas.members = func(ctx context.Context, _ api.NodeID, _ raft.GroupID) (*peerv1.GroupMembers, error) {
		deadline, _ := ctx.Deadline()
		mu.Lock()
		deadlines[deadline]++
		mu.Unlock()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	pending, err := f.removeAll(t.Context(), mapOf(), keys)
	if err != nil || !pending || len(deadlines) != 1 {
		t.Errorf("pending %t, %v; the questions end at %v", pending, err, deadlines)
	}
}

func TestAFencedReplicaAsksTheNodesThatHaveTheShardNow(t *testing.T) {
	f := newFollowing(t, t.TempDir())
	m := mapOf(&pb.Replica{NodeId: "a", Incarnation: 1}, &pb.Replica{NodeId: "d", Incarnation: 4}, &pb.Replica{NodeId: "e", Incarnation: 5})
	f.current.Store(m)
	if got := f.nodesWith(f.current.Load(), 7); !slices.Equal(got, []api.NodeID{"d", "e", f.self}) {
		t.Errorf("it asks %v", got)
	}
}
