package meta

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/meta/sealed"
	"github.com/lightning-db/lightning/raft"
)

// patience is for a machine that does many things at once.
const patience = 30 * time.Second

// cluster is nodes with real Raft groups, real sockets and real disks in one process.
type cluster struct {
	t      *testing.T
	base   string
	pledge pledge.Cluster
	nodes  map[api.NodeID]*clusterNode

	mu        sync.Mutex
	addresses map[api.NodeID]string // as gossip would tell; empty for a stopped node
}

type clusterNode struct {
	c        *cluster
	id       api.NodeID
	dir      string
	host     *raft.Host
	meta     *Meta // nil without a replica
	follower *Follower
	stop     func()
}

func newCluster(t *testing.T, founderIDs ...api.NodeID) *cluster {
	c := &cluster{
		t: t, base: t.TempDir(), nodes: map[api.NodeID]*clusterNode{}, addresses: map[api.NodeID]string{},
		pledge: pledge.Cluster{ID: "C", Founders: founderIDs, Shards: len(founderIDs)},
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.shutdown()
		}
	})
	return c
}

// Address implements peers.Resolver.
func (c *cluster) Address(node api.NodeID) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a := c.addresses[node]
	return a, a != ""
}

func (c *cluster) members() []api.NodeID {
	c.mu.Lock()
	defer c.mu.Unlock()
	var nodes []api.NodeID
	for n, a := range c.addresses {
		if a != "" {
			nodes = append(nodes, n)
		}
	}
	slices.Sort(nodes)
	return nodes
}

func (c *cluster) setAddress(n api.NodeID, address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addresses[n] = address
}

// clusterServer answers GetMap as the server package does.
type clusterServer struct {
	pb.UnimplementedClusterServer
	follower *Follower
}

func (s clusterServer) GetMap(ctx context.Context, r *pb.GetMapRequest) (*pb.GetMapResponse, error) {
	deadline, ok := ctx.Deadline()
	if ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-500*time.Millisecond))
		defer cancel()
	}
	m, err := s.follower.Wait(ctx, r.AfterRevision)
	if err != nil {
		m = s.follower.Map()
	}
	if m == nil {
		return nil, api.ToStatus(api.ErrNotReady)
	}
	return &pb.GetMapResponse{Map: m, MasterId: string(s.follower.Master())}, nil
}

func (c *cluster) start(id api.NodeID) *clusterNode {
	n := c.nodes[id]
	if n == nil {
		n = &clusterNode{c: c, id: id, dir: c.base + "/" + string(id)}
		c.nodes[id] = n
	}
	check := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	logger := slog.New(slog.DiscardHandler)
	pool := peers.New(peers.Options{Network: network.TCP{}, Resolver: c, Credentials: insecure.NewCredentials()})
	var err error
	check(vfs.OS().MkdirAll(n.dir))
	n.host, err = raft.NewHost(raft.HostOptions{
		Node: id, Dir: n.dir + "/raft", FS: vfs.OS(), Peers: pool, Logger: logger,
		Timing: raft.Timing{HeartbeatTimeout: 300 * time.Millisecond},
	})
	check(err)
	n.follower, err = OpenFollower(FollowerOptions{Dir: n.dir, FS: vfs.OS(), Self: id, Peers: pool, Members: c.members, Logger: logger})
	check(err)
	server := grpc.NewServer(raft.ServerOptions()...)
	n.host.RegisterServices(server)
	n.follower.RegisterServices(server)
	pb.RegisterClusterServer(server, clusterServer{follower: n.follower})
	l, err := network.TCP{}.Listen(context.Background(), "127.0.0.1:0")
	check(err)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	c.setAddress(id, l.Addr().String())
	n.meta = nil
	if HasReplica(c.pledge, id) {
		n.meta, err = Open(n.host, Options{Dir: n.dir + "/meta", FS: vfs.OS(), Self: id, Cluster: c.pledge, Logger: logger})
		check(err)
	}
	n.follower.Start(c.pledge, n.meta)
	n.stop = func() {
		c.setAddress(id, "")
		n.follower.Close()
		if n.meta != nil {
			if err := n.meta.Close(); err != nil {
				c.t.Error(err)
			}
		}
		n.host.Close()
		pool.Close()
		server.Stop()
		<-served
	}
	return n
}

func (n *clusterNode) shutdown() {
	if n.stop != nil {
		n.stop()
		n.stop = nil
	}
}

func (n *clusterNode) self() *pb.Node {
	address, _ := n.c.Address(n.id)
	return &pb.Node{Id: string(n.id), Name: "name-" + string(n.id), GrpcAddress: address}
}

func (n *clusterNode) register() {
	n.c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.follower.Register(ctx, n.self()); err != nil {
		n.c.t.Fatal(err)
	}
}

// awaitEqualMaps waits until every running node has a map that satisfies cond, and all the same.
func (c *cluster) awaitEqualMaps(cond func(*pb.ClusterMap) bool) *pb.ClusterMap {
	c.t.Helper()
	var m *pb.ClusterMap
	testkit.Eventually(c.t, patience, func() bool {
		m = nil
		for _, n := range c.nodes {
			if n.stop == nil {
				continue
			}
			mine := n.follower.Map()
			if mine == nil || !cond(mine) || m != nil && !proto.Equal(m, mine) {
				return false
			}
			m = mine
		}
		return m != nil
	}, "equal maps")
	return m
}

func hasShards(m *pb.ClusterMap) bool { return len(m.GetShards()) > 0 }

// TestThreeFoundersAndAJoinedNodeShareOneMap lives through formation, a join and a restart of all
// with other addresses.
func TestThreeFoundersAndAJoinedNodeShareOneMap(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	var starting sync.WaitGroup
	for _, id := range c.pledge.Founders {
		n := c.start(id)
		starting.Go(n.register)
	}
	starting.Wait()
	m := c.awaitEqualMaps(hasShards)
	if len(m.Shards) != 3 || len(m.MetaReplicas) != 3 || len(m.Nodes) != 3 || m.ClusterId != "C" {
		t.Fatalf("%v", m)
	}

	var mu sync.Mutex
	var revisions []uint64
	joined := c.start("d")
	cancel := joined.follower.Subscribe(func(m *pb.ClusterMap) {
		mu.Lock()
		defer mu.Unlock()
		revisions = append(revisions, m.GetRevision())
	})
	joined.register()
	m = c.awaitEqualMaps(func(m *pb.ClusterMap) bool { return len(m.GetNodes()) == 4 })
	testkit.Eventually(t, patience, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Contains(revisions, m.Revision) && slices.IsSorted(revisions)
	}, "the subscriber hears of the newest map")
	cancel()
	if joined.meta != nil || joined.follower.Master() == "" {
		t.Errorf("the joined node has a replica %v, the master is %q", joined.meta != nil, joined.follower.Master())
	}

	for _, n := range c.nodes {
		n.shutdown()
	}
	for id := range c.nodes {
		n := c.start(id)
		if hint := n.follower.Map(); hint.GetRevision() == 0 || hint.GetClusterId() != "C" {
			t.Errorf("node %s restarts without a hint: %v", id, hint)
		}
	}
	for _, n := range c.nodes {
		n.register() // at new addresses
	}
	after := c.awaitEqualMaps(func(m *pb.ClusterMap) bool {
		for _, n := range m.GetNodes() {
			if address, _ := c.Address(api.NodeID(n.GetId())); address != n.GetGrpcAddress() {
				return false
			}
		}
		return true
	})
	if after.Revision <= m.Revision || len(after.Nodes) != 4 || len(after.Shards) != 3 {
		t.Errorf("before %v\nafter %v", m, after)
	}
}

func TestANodeThatLostItsDiskIsRefusedUnderItsName(t *testing.T) {
	c := newCluster(t, "a", "b", "c")
	var starting sync.WaitGroup
	for _, id := range c.pledge.Founders {
		n := c.start(id)
		starting.Go(n.register)
	}
	starting.Wait()
	c.nodes["b"].shutdown()
	wiped := c.start("b2")
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	self := wiped.self()
	self.Name = "name-b"
	var known *KnownNameError
	if err := wiped.follower.Register(ctx, self); !errors.As(err, &known) || known.OldID != "b" {
		t.Errorf("%v", err)
	}
}

func TestANodeOfAnotherClusterIsNotRegistered(t *testing.T) {
	c := newCluster(t, "a")
	c.start("a").register()
	stranger := c.start("x")
	stranger.follower.source.Store(&source{cluster: pledge.Cluster{ID: "D", Founders: []api.NodeID{"x"}, Shards: 1}})
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := stranger.follower.Register(ctx, stranger.self())
	var wrongCluster *WrongClusterError
	if !errors.As(err, &wrongCluster) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if n := c.nodes["a"].follower.Map().Nodes; len(n) != 1 {
		t.Errorf("%v", n)
	}
}

func TestAHintOfAnotherClusterIsDropped(t *testing.T) {
	c := newCluster(t, "a")
	n := c.start("a")
	n.register()
	c.awaitEqualMaps(hasShards)
	testkit.Eventually(t, patience, func() bool {
		_, err := vfs.ReadFile(vfs.OS(), n.dir+"/map")
		return err == nil
	})
	n.shutdown()
	f, err := OpenFollower(FollowerOptions{
		Dir: n.dir, FS: vfs.OS(), Self: "a", Members: func() []api.NodeID { return nil }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil || f.Map() == nil {
		t.Fatal(f.Map(), err)
	}
	f.Start(pledge.Cluster{ID: "D"}, nil)
	if f.Map() != nil {
		t.Errorf("%v", f.Map())
	}
	waited := make(chan error, 1)
	go func() {
		_, err := f.Wait(context.Background(), 0)
		waited <- err
	}()
	f.Close()
	if err := <-waited; !errors.Is(err, api.ErrShuttingDown) {
		t.Errorf("%v", err)
	}
}

// TestAMapIsOnTheDiskBeforeAnybodyActsByIt.
func TestAMapIsOnTheDiskBeforeAnybodyActsByIt(t *testing.T) {
	c := newCluster(t, "a")
	n := c.start("a")
	type kept struct{ told, kept uint64 }
	seen := make(chan kept, 100)
	n.follower.Subscribe(func(m *pb.ClusterMap) {
		onDisk := &pb.ClusterMap{}
		_, err := sealed.Read(vfs.OS(), n.dir, mapFile, sealed.Map, onDisk)
		if err != nil {
			t.Error(err)
		}
		seen <- kept{m.Revision, onDisk.Revision}
	})
	n.register()
	c.awaitEqualMaps(hasShards)
	if first := <-seen; first.kept < first.told {
		t.Errorf("map %d was told, on the disk was %d", first.told, first.kept)
	}
}

func TestADamagedHintDoesNotKeepTheNodeDown(t *testing.T) {
	disk := vfs.NewMem()
	if err := vfs.WriteFileAtomic(disk, ".", "map", []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	f, err := OpenFollower(FollowerOptions{Dir: ".", FS: disk, Logger: slog.New(slog.DiscardHandler)})
	if err != nil || f.Map() != nil {
		t.Errorf("%v, %v", f, err)
	}
	_ = f.Close()
}
