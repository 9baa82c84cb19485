package fakecluster

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/evaluate"
)

const pipeBytes = 1 << 20

// Cluster is all nodes. Safe for concurrent use.
type Cluster struct {
	nodes []*Node

	// mu is a leaf.
	mu struct {
		sync.Mutex
		data     map[string]evaluate.Row
		last     api.Version // of writes, and the time of reads
		clock    clock.Clock
		answers  map[requestKey]answer
		floors   map[api.SessionID]uint64
		requests []*pb.BatchRequest // every write that arrived, in order
		scans    []*pb.ScanRequest
		messages int // of streams of calls
		chunks   int // of uploads

		clusterMap *pb.ClusterMap
		leaders    map[api.ShardID]api.NodeID
		changed    chan struct{} // closed and replaced when the map changes
		noHints    bool
	}
}

type requestKey struct {
	session  api.SessionID
	sequence uint64
}

type answer struct {
	response *pb.BatchResponse
	err      error
}

// Node is one node of the cluster.
type Node struct {
	pb.UnimplementedKVServer
	pb.UnimplementedClusterServer

	cluster *Cluster
	id      api.NodeID
	address string

	mu struct {
		sync.Mutex
		listener  *bufconn.Listener // nil while stopped
		server    *grpc.Server
		conns     map[*conn]struct{}
		intercept Intercept
		redirect  bool
		unary     bool
		damage    func(*pb.Chunk)
	}
}

// Intercept stands in front of a node's calls. It calls next once to execute the call, or not at
// all, and returns what the caller shall see. method is "Get", "Batch", "Scan" and so on; for a
// stream request and response are nil. A call of a stream of calls is as one by itself.
type Intercept func(ctx context.Context, method string, request any, next func() (any, error)) (any, error)

// New starts a cluster of n nodes and as many shards. Node i leads shard i+1.
func New(n int) *Cluster {
	c := &Cluster{}
	c.mu.clock = clock.NewManual(time.UnixMilli(0))
	c.mu.data = make(map[string]evaluate.Row)
	c.mu.answers = make(map[requestKey]answer)
	c.mu.floors = make(map[api.SessionID]uint64)
	c.mu.leaders = make(map[api.ShardID]api.NodeID)
	c.mu.changed = make(chan struct{})
	c.mu.clusterMap = &pb.ClusterMap{ClusterId: "fake", Revision: 1}
	for i := range n {
		node := &Node{cluster: c, id: api.NodeID(fmt.Sprintf("id-%d", i)), address: fmt.Sprintf("node-%d:8379", i)}
		node.mu.conns = make(map[*conn]struct{})
		c.nodes = append(c.nodes, node)
		c.mu.clusterMap.Nodes = append(c.mu.clusterMap.Nodes, &pb.Node{
			Id: string(node.id), Name: fmt.Sprintf("node-%d", i), Ordinal: uint32(i), GrpcAddress: node.address,
			RespAddress: fmt.Sprintf("node-%d:6379", i), HttpAddress: fmt.Sprintf("node-%d:9379", i),
		})
	}
	for i, node := range c.nodes {
		shard := &pb.Shard{
			Id: uint64(i + 1), Epoch: 1,
			StartSlot: uint32(i * api.SlotCount / n), EndSlot: uint32((i + 1) * api.SlotCount / n),
		}
		for _, member := range c.nodes {
			shard.Replicas = append(shard.Replicas, &pb.Replica{NodeId: string(member.id), Incarnation: 1})
		}
		c.mu.clusterMap.Shards = append(c.mu.clusterMap.Shards, shard)
		c.mu.leaders[api.ShardID(i+1)] = node.id
		node.Start()
	}
	return c
}

// Node is the i-th node.
func (c *Cluster) Node(i int) *Node { return c.nodes[i] }

// Addresses are where all nodes listen.
func (c *Cluster) Addresses() []string {
	var addresses []string
	for _, n := range c.nodes {
		addresses = append(addresses, n.address)
	}
	return addresses
}

// Dial opens a pipe to a node, as client.Options.Dialer does.
func (c *Cluster) Dial(ctx context.Context, address string) (net.Conn, error) {
	for _, n := range c.nodes {
		if n.address == address {
			return n.dial(ctx)
		}
	}
	return nil, fmt.Errorf("dial %s: no such node", address)
}

// SetLeader makes node i the leader of a shard.
func (c *Cluster) SetLeader(shard api.ShardID, i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.leaders[shard] = c.nodes[i].id
}

// HideLeaders makes GetMap give no hints.
func (c *Cluster) HideLeaders() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.noHints = true
}

// ChangeMap edits the map and raises its revision. edit gets a copy.
func (c *Cluster) ChangeMap(edit func(*pb.ClusterMap)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := cloneMap(c.mu.clusterMap)
	changed.Revision++
	edit(changed)
	c.mu.clusterMap = changed
	close(c.mu.changed)
	c.mu.changed = make(chan struct{})
}

// Writes are all writes that arrived so far, repeated ones too, in order.
func (c *Cluster) Writes() []*pb.BatchRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*pb.BatchRequest(nil), c.mu.requests...)
}

// Scans are all scans that arrived so far, continued ones too, in order.
func (c *Cluster) Scans() []*pb.ScanRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*pb.ScanRequest(nil), c.mu.scans...)
}

// Messages is how many messages of calls arrived so far.
func (c *Cluster) Messages() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.messages
}

// Value is the value of a key in namespace 0.
func (c *Cluster) Value(key string) (value []byte, found bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.getLocked([]byte(key))
	return r.GetValue(), r.GetFound()
}

// SetClock gives versions and expiries another time. Without it time stands still at the Unix
// epoch, so that versions are 1, 2, 3 and so on, and nothing expires.
func (c *Cluster) SetClock(clk clock.Clock) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.clock = clk
}

// Put writes a key directly.
func (c *Cluster) Put(key, value string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mu.last = c.nowLocked() + 1
	c.mu.data[key] = evaluate.Row{Value: []byte(value), Version: c.mu.last, Live: true}
}

// Delete removes a key directly.
func (c *Cluster) Delete(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.mu.data, key)
}

// Close stops all nodes.
func (c *Cluster) Close() {
	for _, n := range c.nodes {
		n.Stop()
	}
}
