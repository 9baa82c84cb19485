package meta

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/meta/sealed"
)

// mapFile holds the map that was seen last: a hint that lets a restarted node find its peers.
const mapFile = "map"

const (
	// pollTimeout is how long a peer may keep a question for a newer map open.
	pollTimeout = 10 * time.Second
	// askTimeout is the same for a peer that holds no replica of the map as far as is known: it learns of news from others
	// itself, and two that ask each other hear nothing.
	askTimeout = 2 * time.Second
	// followPause separates rounds over peers that have nothing to tell.
	followPause = 200 * time.Millisecond
)

// FollowerOptions configures OpenFollower. All fields are required.
type FollowerOptions struct {
	// Dir is the data directory; the follower keeps the file `map` there.
	Dir   string
	FS    vfs.FS
	Self  api.NodeID
	Peers *peers.Pool
	// Members lists the nodes that gossip shows alive.
	Members func() []api.NodeID
	Logger  *slog.Logger
}

// Follower knows the current cluster map on any node: by asking peers and, where there is one, from the local meta
// replica. A node with a replica asks as well, because a replica that was removed while it was cut off hears nothing of that.
// Safe for concurrent use.
type Follower struct {
	// Set by OpenFollower, never written again.
	o    FollowerOptions
	ctx  context.Context // ends with Close
	stop context.CancelFunc

	// Set by Start.
	source atomic.Pointer[source]
	loops  sync.WaitGroup

	// Set by Attach, cleared by Detach; nil on a node without a meta replica.
	local atomic.Pointer[attached]

	// Written by the follow loops, loaded by anyone. The revision only grows (M6).
	view   atomic.Pointer[view]
	master atomic.Pointer[api.NodeID] // as a peer told

	// mu is a leaf: no I/O and no callback while it is held.
	mu struct {
		sync.Mutex
		nextID        int
		subscriptions []*subscription
	}
	// subscribed wakes the publish loop; it holds one signal, more say nothing new.
	subscribed chan struct{}
}

// source is where the map comes from.
type source struct {
	cluster pledge.Cluster
}

// view is a map and the promise to tell when another has taken its place.
type view struct {
	current *pb.ClusterMap
	newer   chan struct{}
}

type subscription struct {
	id   int
	fn   func(*pb.ClusterMap)
	seen uint64 // owned by the publish loop
}

// OpenFollower reads the map that was seen last. Nothing runs until Start.
func OpenFollower(o FollowerOptions) (*Follower, error) {
	ctx, stop := context.WithCancel(context.Background())
	f := &Follower{o: o, ctx: ctx, stop: stop, subscribed: make(chan struct{}, 1)}
	seen := &pb.ClusterMap{}
	found, err := sealed.Read(o.FS, o.Dir, mapFile, sealed.Map, seen)
	if err != nil {
		// The map is only a hint and comes again from peers, so damage does not keep the node down.
		o.Logger.Warn("meta: the map seen last is not readable", "error", err)
	}
	if err != nil || !found {
		seen = nil
	}
	f.view.Store(&view{current: seen, newer: make(chan struct{})})
	return f, nil
}

// Start begins to follow the map of cluster c. Local is nil on a node without a meta replica, see Attach.
// It is called once.
func (f *Follower) Start(c pledge.Cluster, local *Meta) {
	if old := f.view.Load(); old.current != nil && old.current.GetClusterId() != c.ID {
		f.o.Logger.Warn("meta: the map seen last is of another cluster", "cluster", c.ID, "seen", old.current.GetClusterId())
		f.view.Store(&view{newer: make(chan struct{})})
		close(old.newer)
	}
	f.source.Store(&source{cluster: c})
	if local != nil {
		f.Attach(local)
	}
	f.loops.Go(f.followRemoteLoop)
	f.loops.Go(f.publishLoop)
}

// Close stops following and waits for the goroutines.
func (f *Follower) Close() error {
	f.stop()
	f.loops.Wait()
	return nil
}

// Map is the newest map known; nil if none is. Callers must not change it.
func (f *Follower) Map() *pb.ClusterMap { return f.view.Load().current }

// Wait returns a map whose revision is above after, when there is one.
func (f *Follower) Wait(ctx context.Context, after uint64) (*pb.ClusterMap, error) {
	for {
		v := f.view.Load()
		if v.current.GetRevision() > after {
			return v.current, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.ctx.Done():
			return nil, api.ErrShuttingDown
		case <-v.newer:
		}
	}
}

// Master is the leader of the meta group as far as this node knows; empty when unknown.
func (f *Follower) Master() api.NodeID {
	if a := f.local.Load(); a != nil {
		if leader := a.meta.Leader(); leader != "" {
			return leader
		}
	}
	if master := f.master.Load(); master != nil {
		return *master
	}
	return ""
}

// adopt takes m if it is newer than what is known (M6).
func (f *Follower) adopt(m *pb.ClusterMap) bool {
	next := &view{current: m, newer: make(chan struct{})}
	for {
		old := f.view.Load()
		if m.GetClusterId() != f.source.Load().cluster.ID || m.GetRevision() <= old.current.GetRevision() {
			return false
		}
		if f.view.CompareAndSwap(old, next) {
			close(old.newer)
			return true
		}
	}
}

// followRemoteLoop asks one peer after the other. It stays with one for as long as that one has
// news, and moves on otherwise: a peer that is cut off would keep its old map for ever.
func (f *Follower) followRemoteLoop() {
	for f.ctx.Err() == nil {
		for _, node := range f.peersToAsk() {
			for f.pollOnce(node) {
			}
			if f.ctx.Err() != nil {
				return
			}
		}
		pause(f.ctx, followPause)
	}
}

// pollOnce asks node for a newer map and reports whether it had one.
func (f *Follower) pollOnce(node api.NodeID) bool {
	limit := pollTimeout
	if MapReplica(f.Map(), string(node)) == nil {
		limit = askTimeout
	}
	ctx, cancel := context.WithTimeout(f.ctx, limit)
	defer cancel()
	conn, err := f.o.Peers.Conn(node, peers.Control)
	if err != nil {
		return false
	}
	r, err := pb.NewClusterClient(conn).GetMap(ctx, &pb.GetMapRequest{AfterRevision: f.Map().GetRevision()})
	if err != nil {
		f.o.Logger.Debug("meta: no map", "at", node, "error", err)
		return false
	}
	if r.GetMasterId() != "" {
		master := api.NodeID(r.GetMasterId())
		f.master.Store(&master)
	}
	return f.adopt(r.GetMap())
}

// peersToAsk lists who may know more, most likely first: the meta replicas, the founders, whoever
// is there.
func (f *Follower) peersToAsk() []api.NodeID {
	var nodes []api.NodeID
	add := func(node api.NodeID) {
		if node != "" && node != f.o.Self && !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	for _, r := range f.Map().GetMetaReplicas() {
		add(api.NodeID(r.GetNodeId()))
	}
	if s := f.source.Load(); s != nil {
		for _, node := range s.cluster.Founders {
			add(node)
		}
	}
	for _, node := range f.o.Members() {
		add(node)
	}
	return nodes
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Subscribe has fn called with the current map, if there is one, and with each newer one, in order,
// skipping what is overtaken; first after Start. Calls come from one goroutine for all subscribers,
// so fn must be quick. A call that has begun may end after cancel returned.
func (f *Follower) Subscribe(fn func(*pb.ClusterMap)) (cancel func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.nextID++
	id := f.mu.nextID
	f.mu.subscriptions = append(f.mu.subscriptions, &subscription{id: id, fn: fn})
	select {
	case f.subscribed <- struct{}{}:
	default:
	}
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.mu.subscriptions = slices.DeleteFunc(slices.Clone(f.mu.subscriptions), func(s *subscription) bool { return s.id == id })
	}
}

// publishLoop hands each new map to the disk, then to the subscribers: what they open for it is known after a crash.
func (f *Follower) publishLoop() {
	saved := f.Map().GetRevision()
	for {
		v := f.view.Load()
		if v.current.GetRevision() > saved {
			saved = v.current.GetRevision()
			if err := sealed.Write(f.o.FS, f.o.Dir, mapFile, sealed.Map, v.current); err != nil {
				f.o.Logger.Warn("meta: the map is not kept for the next start", "error", err)
			}
		}
		if v.current != nil {
			f.publish(v.current)
		}
		select {
		case <-f.ctx.Done():
			return
		case <-f.subscribed:
		case <-v.newer:
		}
	}
}

func (f *Follower) publish(m *pb.ClusterMap) {
	f.mu.Lock()
	subscriptions := slices.Clone(f.mu.subscriptions)
	f.mu.Unlock()
	for _, s := range subscriptions {
		if s.seen < m.GetRevision() {
			s.seen = m.GetRevision()
			s.fn(m)
		}
	}
}

// RegisterServices adds peerv1.Meta, which answers NOT_READY until Start.
func (f *Follower) RegisterServices(r grpc.ServiceRegistrar) {
	peerv1.RegisterMetaServer(r, &metaServer{follower: f})
}
