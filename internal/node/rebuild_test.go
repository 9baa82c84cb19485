package node

import (
	"log/slog"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
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
	pool := peers.New(peers.Options{Network: network.TCP{}, Credentials: insecure.NewCredentials()})
	t.Cleanup(pool.Close)
	h, err := raft.NewHost(raft.HostOptions{Node: "a", Dir: dir, FS: vfs.OS(), Peers: pool, Logger: testkit.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// TestAReplicaThatIsNotOpenedAfterItsRebuildIsOpenedLater, and by nobody else meanwhile: the map that would make
// others open it may never change again.
func TestAReplicaThatIsNotOpenedAfterItsRebuildIsOpenedLater(t *testing.T) {
	dir := t.TempDir()
	closed := hostOf(t, dir)
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	r := &replicas{self: "a", dir: dir, fs: vfs.OS(), clock: clock.Real{}, host: closed, logger: slog.New(slog.DiscardHandler)}
	r.mu.open = make(map[api.ShardID]*shard.Shard)
	o := shard.Options{
		ID: 7, Incarnation: 1, Dir: dir + "/7-1", Arc: router.FullArc, Epoch: 1, FS: vfs.OS(),
		Voters: []raft.ReplicaID{{Node: "a", Incarnation: 1}}, Logger: r.logger,
	}
	r.noteFenced(o) // its fence was lifted by a try that went no further
	r.rebuild(t.Context(), o)
	if _, isOpen := r.shard(o.ID); isOpen || !r.known(o.ID) || len(r.findFenced()) != 1 {
		t.Fatal("a replica that could not be opened is nobody's")
	}
	r.host = hostOf(t, dir)
	r.rebuild(t.Context(), o)
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
