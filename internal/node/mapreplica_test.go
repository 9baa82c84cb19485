package node

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/raft"
)

// nowhere is where all other nodes are.
type nowhere struct{}

// Address implements peers.Resolver.
func (nowhere) Address(api.NodeID) (string, bool) { return "", false }

// holder is as much of node a as follows the replica of the map.
type holder struct {
	*node
	t   *testing.T
	dir string
	f   *following
}

// newHolder is node a of a cluster that others founded, or it among them.
func newHolder(t *testing.T, dir string, founders ...api.NodeID) *holder {
	t.Helper()
	f := newFollowing(t, dir)
	pool := peers.New(peers.Options{Network: network.TCP{}, Resolver: nowhere{}, Credentials: insecure.NewCredentials()})
	t.Cleanup(pool.Close)
	follower, err := meta.OpenFollower(meta.FollowerOptions{
		Dir: dir, FS: vfs.OS(), Self: "a", Peers: pool, Members: func() []api.NodeID { return nil }, Logger: testkit.Logger(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = follower.Close() })
	h := &holder{t: t, dir: dir, f: f, node: &node{
		config: Config{DataDir: dir}, id: "a", fs: vfs.OS(), clock: clock.Real{}, logger: testkit.Logger(t), host: f.host, replicas: f.replicas, follower: follower,
	}}
	if err := h.openMeta(t.Context(), pledge.Cluster{ID: "C", Founders: founders, Shards: 1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.closeMapReplica(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *holder) mustFollowMap(pending bool, replicas ...*pb.Replica) {
	h.t.Helper()
	got, err := h.followMapReplica(h.t.Context(), &pb.ClusterMap{ClusterId: "C", MetaReplicas: replicas})
	if err != nil || got != pending {
		h.t.Fatalf("follow: pending %t, %v", got, err)
	}
}

func (h *holder) expectOpen(incarnation uint64) {
	h.t.Helper()
	if h.mapReplica.incarnation != incarnation || (h.mapReplica.open != nil) != (incarnation > 0) {
		h.t.Fatalf("open is %d, not %d", h.mapReplica.incarnation, incarnation)
	}
}

// TestAReplicaOfTheMapThatIsStillAMemberIsNotDeleted (N5).
func TestAReplicaOfTheMapThatIsStillAMemberIsNotDeleted(t *testing.T) {
	dir := t.TempDir()
	h := newHolder(t, dir, "a", "b", "c")
	h.expectOpen(1)
	h.mustFollowMap(true, &pb.Replica{NodeId: "b", Incarnation: 1}) // nobody answers
	h.f.members = []*peerv1.GroupMember{{NodeId: "b", Incarnation: 1, Voter: true}, {NodeId: "a", Incarnation: 1, Voter: true}}
	h.mustFollowMap(true, &pb.Replica{NodeId: "b", Incarnation: 1})
	h.expectOpen(1)
	h.f.members = h.f.members[:1]
	h.mustFollowMap(false, &pb.Replica{NodeId: "b", Incarnation: 1})
	h.expectOpen(0)
	if discarded, err := h.host.Discarded(raft.MetaGroup, 1); exists(dir+"/meta/1") || !discarded || err != nil {
		t.Errorf("the replica is still here, its log is discarded: %t, %v", discarded, err)
	}
	h.mustFollowMap(false, &pb.Replica{NodeId: "a", Incarnation: 1}) // an old map
	h.expectOpen(0)
}

// TestANodeOpensTheReplicaOfTheMapThatItIsGiven, another incarnation only when the one before is gone, and at the next
// start what is on the disk.
func TestANodeOpensTheReplicaOfTheMapThatItIsGiven(t *testing.T) {
	dir := t.TempDir()
	h := newHolder(t, dir, "b")
	h.expectOpen(0)
	mine := &pb.Replica{NodeId: "a", Incarnation: 4, Learner: true}
	h.mustFollowMap(false, mine)
	h.expectOpen(4)
	mine.Incarnation = 6
	h.mustFollowMap(true, mine)
	h.expectOpen(4)
	h.f.members = []*peerv1.GroupMember{{NodeId: "b", Incarnation: 1, Voter: true}, {NodeId: "a", Incarnation: 6}}
	h.mustFollowMap(false, mine)
	h.expectOpen(6)
	if err := h.closeMapReplica(); err != nil {
		t.Fatal(err)
	}
	if err := h.host.Close(); err != nil {
		t.Fatal(err)
	}
	newHolder(t, dir, "b").expectOpen(6)
}

// TestAFounderWhoseReplicaOfTheMapWasDiscardedBeginsNoOther (R20): the cluster has another one instead.
func TestAFounderWhoseReplicaOfTheMapWasDiscardedBeginsNoOther(t *testing.T) {
	dir := t.TempDir()
	h := newHolder(t, dir, "a")
	if err := h.closeMapReplica(); err != nil {
		t.Fatal(err)
	}
	if err := h.host.Discard(raft.MetaGroup, 1); err != nil { // and then a crash, before the directory is deleted
		t.Fatal(err)
	}
	if err := h.host.Close(); err != nil {
		t.Fatal(err)
	}
	newHolder(t, dir, "a").expectOpen(0)
	if exists(dir + "/meta/1") {
		t.Error("what is left of it is still here")
	}
}

// TestAReplicaOfTheMapThatLostItsDiskIsNotOpened (N6).
func TestAReplicaOfTheMapThatLostItsDiskIsNotOpened(t *testing.T) {
	h := newHolder(t, t.TempDir(), "b")
	h.mustFollowMap(false, &pb.Replica{NodeId: "a", Incarnation: 4})
	h.expectOpen(0)
	if status := h.f.status(); len(status) != 1 || status[0].Trouble == "" {
		t.Errorf("the status is %v", status)
	}
	h.mustFollowMap(false, &pb.Replica{NodeId: "b", Incarnation: 1})
	h.mustFollowMap(false, &pb.Replica{NodeId: "a", Incarnation: 5, Learner: true})
	h.expectOpen(5)
	h.expectNoTrouble()
}

// TestTheStatusSaysThatAReplicaOfTheMapWaitsForTheLeader, and no longer than it does.
func TestTheStatusSaysThatAReplicaOfTheMapWaitsForTheLeader(t *testing.T) {
	h := newHolder(t, t.TempDir(), "a", "b", "c")
	h.mustFollowMap(true, &pb.Replica{NodeId: "b", Incarnation: 1})
	if status := h.f.status(); len(status) != 1 || !strings.HasPrefix(status[0].Trouble, unconfirmed) {
		t.Errorf("the status is %v", status)
	}
	h.mustFollowMap(false, &pb.Replica{NodeId: "a", Incarnation: 1}) // the map before was old
	h.expectNoTrouble()
	h.mustFollowMap(true, &pb.Replica{NodeId: "b", Incarnation: 1})
	h.f.members = []*peerv1.GroupMember{{NodeId: "b", Incarnation: 1, Voter: true}}
	h.mustFollowMap(false, &pb.Replica{NodeId: "b", Incarnation: 1})
	h.expectNoTrouble()
}

func (h *holder) expectNoTrouble() {
	h.t.Helper()
	if status := h.f.status(); len(status) != 0 {
		h.t.Errorf("the status is %v", status)
	}
}

// TestWhoDoesNotAnswerKeepsNobodyElseFromBeingAsked: the leader may be the last of those that are asked.
func TestWhoDoesNotAnswerKeepsNobodyElseFromBeingAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &replicas{self: "a", members: func(ctx context.Context, node api.NodeID, _ raft.GroupID) (*peerv1.GroupMembers, error) {
			if node != "d" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return &peerv1.GroupMembers{Index: 5, Members: []*peerv1.GroupMember{{NodeId: "d", Incarnation: 1, Voter: true}}}, nil
		}}
		m := &pb.ClusterMap{MetaReplicas: []*pb.Replica{{NodeId: "b", Incarnation: 1}, {NodeId: "c", Incarnation: 1}, {NodeId: "d", Incarnation: 1}}}
		if err := r.confirmRemoved(t.Context(), m, replicaKey{api.ShardID(raft.MetaGroup), 1}); err != nil {
			t.Error(err)
		}
	})
	if leader := (&node{id: "a"}).leaderOf(api.ShardID(raft.MetaGroup)); leader != "a" {
		t.Errorf("the master asks %q first for the members of its own group", leader)
	}
}
