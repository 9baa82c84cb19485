package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/session"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/server"
	"github.com/lightning-db/lightning/server/rpc"
	"github.com/lightning-db/lightning/shard"
)

const grpcPort = "8379"

// bornPoll is how often a replica that its parent's is to make is looked for.
const bornPoll = 500 * time.Millisecond

// life is one run of a node: the parts that internal/node connects, connected in the same way, without
// gossip, RESP and HTTP. The cluster's founders are given, so it begins where a pledge has been kept.
type life struct {
	node     *Node
	port     *Port
	fs       vfs.FS
	logger   *slog.Logger
	pool     *peers.Pool
	host     *raft.Host
	follower *meta.Follower
	meta     *meta.Meta
	router   *router.Router
	server   *server.Server
	rpc      *rpc.Server

	stop  context.CancelFunc
	loops sync.WaitGroup
	// crashed is set before anything of the crash happens: what is answered later was never answered.
	crashed atomic.Bool
	failure atomic.Pointer[error]
	poked   chan struct{} // capacity 1: the assignments have changed

	mu     sync.Mutex
	shards map[api.ShardID]*shard.Shard
}

// members is who there is and where, which gossip would tell.
type members struct{ cluster *Cluster }

// Address implements peers.Resolver.
func (m members) Address(id api.NodeID) (string, bool) {
	for _, n := range m.cluster.Nodes {
		if n.id == id {
			return n.host + ":" + grpcPort, true
		}
	}
	return "", false
}

func (m members) ids() []api.NodeID {
	var ids []api.NodeID
	for _, n := range m.cluster.Nodes {
		ids = append(ids, n.id)
	}
	return ids
}

// start begins a life on what the disk holds.
func start(n *Node) (*life, error) {
	c := n.cluster
	l := &life{node: n, port: c.Net.Plug(n.host), fs: n.Disk.FS(), shards: map[api.ShardID]*shard.Shard{}, poked: make(chan struct{}, 1),
		logger: c.logger.With("node", string(n.id))}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	err := l.assemble()
	if err == nil {
		err = l.join(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", n.id, err), l.close())
	}
	return l, nil
}

func (l *life) assemble() (err error) {
	n, c := l.node, l.node.cluster
	resolver := members{c}
	l.pool = peers.New(peers.Options{
		Network: l.port, Resolver: resolver, Credentials: insecure.NewCredentials(),
		Cluster: func() string { return c.pledge.ID },
	})
	storage, err := newStorage(l.fs, "raft", entropy.From(n.random), c.plan.SegmentBytes)
	if err != nil {
		return err
	}
	l.host, err = raft.NewHost(raft.HostOptions{
		Node: n.id, Dir: "raft", FS: l.fs, Storage: storage, Peers: l.pool,
		Clock: n.Clock, Logger: l.logger, OnFailure: l.fail, Timing: c.plan.Timing,
	})
	if err != nil {
		return err
	}
	l.router = router.New()
	l.follower, err = meta.OpenFollower(meta.FollowerOptions{
		Dir: "raft", FS: l.fs, Self: n.id, Peers: l.pool, Members: resolver.ids, Logger: l.logger,
	})
	if err != nil {
		return err
	}
	l.server = server.New(server.Options{
		Node: n.id, Name: string(n.id), View: l.follower, Router: l.router, Peers: l.pool,
		Local: func(id api.ShardID) (server.Shard, bool) {
			s, ok := l.shard(id)
			return s, ok
		},
		Sessions: session.New(entropy.From(n.random), n.Clock),
		Failed:   l.storageError,
		Entropy:  entropy.From(n.random), Clock: n.Clock, Logger: l.logger,
	})
	l.rpc = rpc.New(rpc.Options{
		KV: l.server, View: l.follower, Status: l.server, Forward: l.server.ForwardService(),
		Register: []func(grpc.ServiceRegistrar){l.host.RegisterServices, l.follower.RegisterServices},
		Cluster:  func() string { return c.pledge.ID },
		Clock:    n.Clock, Logger: l.logger,
	})
	return nil
}

// join serves, opens the replicas that the map gives to this node, and follows the map.
func (l *life) join(ctx context.Context) error {
	c := l.node.cluster
	listener, err := l.port.Listen(ctx, l.node.host+":"+grpcPort)
	if err != nil {
		return err
	}
	l.loops.Go(func() { _ = l.rpc.Serve(listener) })
	if meta.HasReplica(c.pledge, l.node.id) {
		local, err := meta.Open(l.host, meta.Options{Dir: "meta", FS: l.fs, Self: l.node.id, Cluster: c.pledge, Logger: l.logger})
		if err != nil {
			return err
		}
		l.meta = local
	}
	l.follower.Start(c.pledge, l.meta)
	l.loops.Go(func() {
		n := l.node
		description := &pb.Node{Id: string(n.id), Name: string(n.id), GrpcAddress: n.host + ":" + grpcPort,
			RespAddress: n.host + ":6379", HttpAddress: n.host + ":9379", GossipAddress: n.host + ":5379"}
		_ = l.follower.Register(ctx, description) // ends with ctx, else it succeeds in the end
	})
	l.loops.Go(func() { l.followMap(ctx) })
	return nil
}

func (l *life) followMap(ctx context.Context) {
	changed := make(chan struct{}, 1)
	cancel := l.follower.Subscribe(func(m *pb.ClusterMap) {
		if len(m.Shards) > 0 {
			if _, err := l.router.Update(m); err != nil {
				l.node.cluster.violate("%s refuses the map: %v", l.node.id, err)
			}
		}
		wake(changed)
	})
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-l.poked:
		}
		for _, s := range meta.ShardsOf(l.follower.Map()) {
			if err := l.open(s); err != nil && ctx.Err() == nil && l.storageError() == nil && !l.crashed.Load() {
				l.node.cluster.violate("%s cannot open or discard shard %d: %v", l.node.id, s.Id, err)
			}
		}
	}
}

func (l *life) open(description *pb.Shard) error {
	id := api.ShardID(description.Id)
	incarnation := l.node.cluster.assignments.incarnation(description, l.node.id)
	if err := l.discardOthers(id, incarnation); err != nil {
		return err
	}
	if _, isOpen := l.shard(id); isOpen || incarnation == 0 {
		return nil
	}
	if l.unborn(description, incarnation) {
		time.AfterFunc(bornPoll, func() { wake(l.poked) })
		return nil
	}
	var voters []raft.ReplicaID
	for _, v := range description.Founders {
		if description.ParentId != 0 {
			break
		}
		voters = append(voters, raft.ReplicaID{Node: api.NodeID(v.NodeId), Incarnation: v.Incarnation})
	}
	s, err := shard.Open(l.host, shard.Options{
		ID: id, Incarnation: incarnation, Dir: fmt.Sprintf("shards/%d-%d", id, incarnation),
		Arc: router.Arc{Start: description.StartSlot, End: description.EndSlot}, Epoch: api.Epoch(description.Epoch),
		Voters: voters, VotesEmpty: description.ParentId != 0 && l.founds(description, incarnation), Engine: engine.Options{MemtableBytes: 64 << 10, CacheBytes: 256 << 10},
		FS: l.fs, Splitter: l, Clock: l.node.Clock, Logger: l.logger.With("shard", description.Id), OnFailure: l.fail,
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shards[id] = s
	return nil
}

func (l *life) shard(id api.ShardID) (*shard.Shard, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, ok := l.shards[id]
	return s, ok
}

func (l *life) allShards() []*shard.Shard {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []*shard.Shard
	for _, s := range l.shards {
		all = append(all, s)
	}
	return all
}

// fail ends the life, as the process of a real node ends, and has it begun again.
func (l *life) fail(err error) {
	if l.failure.CompareAndSwap(nil, &err) {
		l.node.cluster.dead.Go(func() { l.node.restart(l) })
	}
}

func (l *life) storageError() error {
	if err := l.failure.Load(); err != nil {
		return *err
	}
	return nil
}

// close ends everything, in the order of internal/node.
func (l *life) close() error {
	l.stop()
	var errs []error
	if l.server != nil {
		errs = append(errs, l.server.Close())
	}
	if l.host != nil {
		errs = append(errs, l.host.Close())
	}
	if l.rpc != nil {
		errs = append(errs, l.rpc.Close())
	}
	if l.follower != nil {
		errs = append(errs, l.follower.Close())
	}
	l.loops.Wait()
	for _, s := range l.allShards() {
		errs = append(errs, s.Close())
	}
	if l.meta != nil {
		errs = append(errs, l.meta.Close())
	}
	if l.pool != nil {
		l.pool.Close()
	}
	l.port.Unplug(false)
	return errors.Join(errs...)
}
