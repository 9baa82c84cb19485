package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

// hostOf is a host of groups in a directory, connected to nobody.
func hostOf(t *testing.T, dir string) *raft.Host {
	t.Helper()
	pool := peers.New(peers.Options{Network: network.TCP{}, Resolver: nowhere{}, Credentials: insecure.NewCredentials()})
	t.Cleanup(pool.Close)
	h, err := raft.NewHost(raft.HostOptions{Node: "a", Dir: dir, FS: vfs.OS(), Peers: pool, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// replicasOf are the replicas of node a on a host, and one of them that was fenced.
func replicasOf(host *raft.Host, fsys vfs.FS, dir string, to shard.Peers, logs io.Writer) (*replicas, shard.Options) {
	r := &replicas{
		self: "a", dir: dir, fs: fsys, clock: clock.Real{}, host: host, peers: to,
		logger: slog.New(slog.NewTextHandler(logs, nil)),
	}
	r.mu.open = make(map[api.ShardID]*shard.Shard)
	o := shard.Options{
		ID: 7, Incarnation: 1, Dir: dir + "/7-1", Arc: router.FullArc, Epoch: 1, FS: fsys, Peers: to,
		Voters: []raft.ReplicaID{{Node: "a", Incarnation: 1}}, Logger: slog.New(slog.DiscardHandler),
	}
	r.noteFenced(o)
	return r, o
}

// TestAReplicaThatIsNotOpenedAfterItsRebuildIsOpenedLater, and by nobody else meanwhile: the map that would make
// others open it may never change again.
func TestAReplicaThatIsNotOpenedAfterItsRebuildIsOpenedLater(t *testing.T) {
	dir := t.TempDir()
	closed := hostOf(t, dir)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	// Its fence was lifted by a try that went no further.
	r, o := replicasOf(closed, vfs.OS(), dir, nil, io.Discard)
	if err := r.rebuild(t.Context(), o); err == nil {
		t.Fatal("a replica was opened on a host that is closed")
	}
	if _, isOpen := r.shard(o.ID); isOpen || !r.known(o.ID) || len(r.findFenced()) != 1 {
		t.Fatal("a replica that could not be opened is nobody's")
	}
	r.host = hostOf(t, dir)
	r.maybeRebuild(t.Context(), r.findFenced()[0])
	s, isOpen := r.shard(o.ID)
	if !isOpen {
		t.Fatal("the replica is not open")
	}
	if len(r.findFenced()) != 0 {
		t.Error("it would be rebuilt again")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// silentPeers know nothing and count who asks for a checkpoint.
type silentPeers struct{ asked atomic.Int64 }

var errSilent = errors.New("the disk of the donor is being replaced")

func (*silentPeers) Digest(context.Context, api.NodeID, api.ShardID, api.Index) (shard.Digest, error) {
	return shard.Digest{}, errSilent
}

func (*silentPeers) Fence(context.Context, api.NodeID, api.ShardID, shard.Digest) error {
	return errSilent
}

func (p *silentPeers) Checkpoint(context.Context, api.NodeID, api.ShardID, io.Writer) error {
	p.asked.Add(1)
	return errSilent
}

// TestAReplicaThatCannotBeRebuiltCostsLessAndLess, and is seen by whoever looks: each try may fetch all that the
// shard holds.
func TestAReplicaThatCannotBeRebuiltCostsLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, logs, others := vfs.NewMem(), &bytes.Buffer{}, &silentPeers{}
		r, o := replicasOf(nil, disk, "/data", others, logs)
		r.current.Store(mapOf(&pb.Replica{NodeId: "a", Incarnation: 1}, &pb.Replica{NodeId: "b", Incarnation: 1}))
		if err := errors.Join(disk.MkdirAll(o.Dir), vfs.WriteFileAtomic(disk, o.Dir, "FENCED", []byte("it differs"))); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
		defer cancel()
		r.rebuildLoop(ctx, rebuildInterval)
		// After 10, 20, 40, 80, 160, 320 and 640 seconds, then every ten minutes.
		if n := others.asked.Load(); n < 15 || n > 19 {
			t.Errorf("it was tried %d times in two hours", n)
		}
		if tries, failures := r.rebuilds.tries.Load(), r.rebuilds.failures.Load(); int64(tries) != others.asked.Load() || failures != tries {
			t.Errorf("counted are %d tries and %d failures", tries, failures)
		}
		if n := strings.Count(logs.String(), "not rebuilt yet"); n != 1 {
			t.Errorf("logged %d times:\n%s", n, logs)
		}
		status := r.status()
		if len(status) != 1 || status[0].ShardId != 7 || status[0].Role != "fenced" || !strings.Contains(status[0].Trouble, errSilent.Error()) {
			t.Errorf("its status is %v", status)
		}
	})
}

// TestAReplicaThatIsFencedAgainIsNotRebuiltAtOnce: what makes it differ, for instance bad memory, may not be over.
func TestAReplicaThatIsFencedAgainIsNotRebuiltAtOnce(t *testing.T) {
	dir := t.TempDir()
	r, o := replicasOf(hostOf(t, dir), vfs.OS(), dir, nil, io.Discard)
	f := r.mu.fenced[o.ID]
	r.maybeRebuild(t.Context(), f)
	s, isOpen := r.shard(o.ID)
	if !isOpen || f.fenced {
		t.Fatal("not rebuilt")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	delete(r.mu.open, o.ID)
	r.noteFenced(o)
	r.maybeRebuild(t.Context(), f)
	if _, isOpen := r.shard(o.ID); isOpen || !f.fenced {
		t.Error("rebuilt at once")
	}
	f.fenced, f.next = false, time.Now().Add(-2*rebuildMemory) // it was well for long
	r.noteFenced(o)
	r.maybeRebuild(t.Context(), f)
	if s, isOpen = r.shard(o.ID); !isOpen {
		t.Fatal("not rebuilt although it was well for long")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
