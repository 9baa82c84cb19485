package raft

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/testkit/fakenet"
	"github.com/lightning-db/lightning/internal/vfs"
)

// patience bounds every wait of these tests; it is generous because the machine is shared.
const patience = 20 * time.Second

// testCluster is three nodes in one process over a fakenet.Net.
type testCluster struct {
	t       testing.TB
	net     *fakenet.Net
	timing  Timing
	groups  []GroupID
	nodes   map[string]*testNode
	names   []string
	setting func(*testNode) // changes a node before it starts
	// preferred names the node that should lead a group; nil for none.
	preferred func(GroupID) string
	stall     time.Duration // HostOptions.StallLimit
	onApply   func([]Entry) // on every node; nil for none
	founders  int           // how many nodes the groups are born on; 0 for all
}

// testNode is one node: its disks outlive its runs.
type testNode struct {
	cluster *testCluster
	name    string
	disk    vfs.FS
	logDir  string
	storage Storage // nil: bolt files in logDir
	clock   clock.Clock
	ticks   atomic.Int64 // made for the log

	host     *Host
	pool     *peers.Pool
	server   *grpc.Server
	serving  sync.WaitGroup
	machines map[GroupID]*testMachine
	groups   map[GroupID]*Group

	mu     sync.Mutex
	failed []error
	ready  map[GroupID]api.Term
}

// The timers are those of production: the tests are about them too. They mostly wait for them, so a test with a cluster
// runs beside others.
func newTestCluster(t testing.TB, size int, configure ...func(*testCluster)) *testCluster {
	t.Helper()
	if t, ok := t.(*testing.T); ok {
		t.Parallel()
	}
	c := &testCluster{t: t, net: fakenet.New(), nodes: make(map[string]*testNode), groups: []GroupID{7}}
	for _, f := range configure {
		f(c)
	}
	for i := range size {
		name := fmt.Sprintf("n%d", i+1)
		c.names = append(c.names, name)
		c.nodes[name] = &testNode{cluster: c, name: name, disk: vfs.NewMem(), logDir: t.TempDir()}
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.stop()
		}
	})
	for _, name := range c.names {
		c.nodes[name].start()
	}
	return c
}

func (c *testCluster) voters() []ReplicaID {
	var voters []ReplicaID
	names := c.names
	if c.founders > 0 {
		names = names[:c.founders]
	}
	for _, name := range names {
		voters = append(voters, replicaOn(name))
	}
	return voters
}

func replicaOn(name string) ReplicaID { return ReplicaID{Node: api.NodeID(name), Incarnation: 1} }

func (n *testNode) start() {
	n.cluster.t.Helper()
	if err := n.tryStart(); err != nil {
		n.cluster.t.Fatalf("start %s: %v", n.name, err)
	}
}

func (n *testNode) tryStart() error {
	t, at := n.cluster.t, n.cluster.net.At(n.name)
	if n.cluster.setting != nil {
		n.cluster.setting(n)
	}
	storage := n.storage
	if storage == nil {
		s, err := NewNodeStorage(NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
		if err != nil {
			return err
		}
		storage = s
	}
	n.ready = make(map[GroupID]api.Term)
	n.pool = peers.New(peers.Options{Network: at, Resolver: at, Credentials: insecure.NewCredentials()})
	host, err := NewHost(HostOptions{
		Node: api.NodeID(n.name), Dir: "raft", FS: n.disk, Storage: storage, Peers: n.pool,
		Logger: testkit.Logger(t), Clock: n.clock, Timing: n.cluster.timing, StallLimit: n.cluster.stall,
		OnFailure: func(err error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.failed = append(n.failed, err)
		},
	})
	if err != nil {
		return err
	}
	n.host = host
	n.server = grpc.NewServer(ServerOptions()...)
	host.RegisterServices(n.server)
	listener, err := at.Listen(t.Context(), n.name)
	if err != nil {
		return err
	}
	n.serving.Go(func() { _ = n.server.Serve(listener) })
	n.machines, n.groups = make(map[GroupID]*testMachine), make(map[GroupID]*Group)
	for _, id := range n.cluster.groups {
		if err := n.startGroup(id); err != nil {
			n.stop()
			return err
		}
	}
	return nil
}

func (n *testNode) startGroup(id GroupID) error {
	m, err := openTestMachine(n.disk, fmt.Sprintf("machine-%s", id))
	if err != nil {
		return err
	}
	m.onApply = n.cluster.onApply
	var preferred api.NodeID
	if n.cluster.preferred != nil {
		preferred = api.NodeID(n.cluster.preferred(id))
	}
	g, err := n.host.Start(GroupOptions{
		PreferredLeader: preferred,

		ID: id, Incarnation: 1, Voters: n.cluster.voters(), StateMachine: m,
		Tick: func() []byte {
			n.ticks.Add(1)
			return []byte("tick=" + n.name)
		},
		OnLeader: func(term api.Term) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.ready[id] = term
		},
	})
	if err != nil {
		return err
	}
	n.machines[id], n.groups[id] = m, g
	return nil
}

// stop ends the node as a process does that is asked to.
func (n *testNode) stop() {
	if n.host == nil {
		return
	}
	if err := n.host.Close(); err != nil {
		n.cluster.t.Errorf("close host %s: %v", n.name, err)
	}
	n.shut()
}

// crash ends the node without giving anything away.
func (n *testNode) crash() {
	for _, g := range n.groups {
		_ = g.Close()
	}
	n.stop()
}

func (n *testNode) shut() {
	n.server.Stop()
	n.serving.Wait()
	n.pool.Close()
	n.host = nil
}

func (n *testNode) failures() []error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

// leader waits for a ready leader among the named nodes, by default all that run.
func (c *testCluster) leader(id GroupID, among ...string) *testNode {
	c.t.Helper()
	if len(among) == 0 {
		among = c.names
	}
	var leader *testNode
	testkit.Eventually(c.t, patience, func() bool {
		for _, name := range among {
			n := c.nodes[name]
			if n.host != nil && n.groups[id].IsReadyLeader() {
				leader = n
				return true
			}
		}
		return false
	}, "no leader among %v", among)
	return leader
}

func (c *testCluster) others(n *testNode) []*testNode {
	var others []*testNode
	for _, name := range c.names {
		if name != n.name {
			others = append(others, c.nodes[name])
		}
	}
	return others
}

// isolate cuts n from all others.
func (c *testCluster) isolate(n *testNode) {
	for _, o := range c.others(n) {
		c.net.Cut(n.name, o.name)
	}
}

func (c *testCluster) rejoin(n *testNode) {
	for _, o := range c.others(n) {
		c.net.Heal(n.name, o.name)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// write commits one command on whoever leads, retrying what was certainly not executed.
func (c *testCluster) write(id GroupID, key, value string, among ...string) {
	c.t.Helper()
	ctx := within(c.t, patience)
	for {
		n := c.leader(id, among...)
		_, _, err := n.groups[id].Propose([]byte(key + "=" + value)).Wait(ctx)
		if err == nil {
			return
		}
		var e *api.Error
		if !errors.As(err, &e) {
			c.t.Fatalf("write: error of type %T: %v", err, err)
		}
		if ctx.Err() != nil {
			c.t.Fatalf("write %s: %v", key, err)
		}
	}
}

// read reads linearizably from n.
func (n *testNode) read(ctx context.Context, id GroupID, key string) (string, error) {
	if _, err := n.groups[id].ReadIndex(ctx); err != nil {
		return "", err
	}
	return n.machines[id].get(key), nil
}

func (c *testCluster) converge(id GroupID, key, value string) {
	c.t.Helper()
	for _, name := range c.names {
		n := c.nodes[name]
		testkit.Eventually(c.t, patience, func() bool { return n.machines[id].get(key) == value },
			"%s does not have %s=%s", name, key, value)
	}
}
