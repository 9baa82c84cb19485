package server

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/lightning-db/lightning/api"
	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/api/peerv1"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/network"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/session"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// group is a shard as its replicas share it: a model without Raft.
type group struct {
	mu      sync.Mutex
	id      api.ShardID
	arc     router.Arc
	epoch   api.Epoch
	leader  api.NodeID
	term    api.Term
	hints   bool
	data    map[string]api.Item
	staged  map[stagedName][]byte
	discard bool                   // parts are not kept, and the batch is not executed
	values  map[api.Version][]byte // those that reads have named
	stored  api.Version            // the last name
	// onParts runs under mu before parts are read; partReads counts.
	onParts   func(node api.NodeID, from uint32) error
	partReads int
	onStage   func(*shard.Stage) error // runs under mu
	answers   map[api.RequestID]api.Result
	requests  []api.RequestID // of every Apply that reached the leader
	batches   []api.Batch     // of the same
	version   api.Version
	// before runs first in every call on a replica; an error is the call's answer. after runs
	// once a command was executed; an error takes the place of its answer.
	before  func(ctx context.Context, node api.NodeID, write bool) error
	after   func() error
	maxPage int
	// proof decides whether a replica can prove a bound; nil: the leader can, and the others ask it.
	proof  func(ctx context.Context, node api.NodeID, s shard.Staleness) error
	proofs []api.NodeID // who was asked for a proof
	stale  []api.NodeID // who answered by proof
}

// replica is one node's view of a group.
type replica struct {
	group *group
	node  api.NodeID
}

func (r replica) enter(ctx context.Context, epoch api.Epoch, write bool) error {
	g := r.group
	g.mu.Lock()
	before := g.before
	g.mu.Unlock()
	if before != nil {
		if err := before(ctx, r.node, write); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leader != r.node {
		err := &api.Error{Code: api.CodeNotLeader, Message: "not the leader", Shard: g.id}
		if g.hints {
			err.Leader = g.leader
		}
		return err
	}
	if epoch != g.epoch {
		return &api.Error{Code: api.CodeStaleMap, Message: "wrong epoch", Shard: g.id, Epoch: g.epoch}
	}
	return nil
}

func (r replica) Leader() (api.NodeID, api.Term) {
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	return r.group.leader, r.group.term
}

func (r replica) Apply(ctx context.Context, c shard.Command) (api.Result, error) {
	if err := r.enter(ctx, c.Epoch, true); err != nil {
		return api.Result{}, err
	}
	g := r.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.Stage != nil {
		return api.Result{Applied: true}, g.stage(c)
	}
	_, known := g.answers[c.Request]
	for i := range c.Batch.Ops {
		if op := &c.Batch.Ops[i]; op.Parts != nil && !known && !g.discard {
			op.Value = nil
			for n := range op.Parts.Count {
				op.Value = append(op.Value, g.staged[stagedName{c.Request, op.Parts.First + n}]...)
			}
			if len(op.Value) != int(op.Parts.Bytes) {
				return api.Result{}, api.Errorf(api.CodePartsMissing, "parts are missing")
			}
		}
	}
	if g.discard {
		return api.Result{Applied: true, Ops: make([]api.OpResult, len(c.Batch.Ops))}, nil
	}
	g.requests = append(g.requests, c.Request)
	g.batches = append(g.batches, c.Batch)
	res, known := g.answers[c.Request]
	if !known {
		res = g.execute(c.Batch)
		g.answers[c.Request] = res
	}
	if g.after != nil {
		if err := g.after(); err != nil {
			return api.Result{}, err
		}
	}
	return res, nil
}

type stagedName struct {
	request api.RequestID
	number  uint32
}

// stage takes a part in, or drops those of a request.
func (g *group) stage(c shard.Command) error {
	if g.onStage != nil {
		if err := g.onStage(c.Stage); err != nil {
			return err
		}
	}
	if g.discard {
		return nil
	}
	if g.staged == nil {
		g.staged = make(map[stagedName][]byte)
	}
	if c.Stage.Drop {
		maps.DeleteFunc(g.staged, func(n stagedName, _ []byte) bool { return n.request == c.Request })
	} else {
		g.staged[stagedName{c.Request, c.Stage.Number}] = bytes.Clone(c.Stage.Part)
	}
	return nil
}

// ApplyInOrder implements Shard: what a retry may cure refuses everything behind it.
func (r replica) ApplyInOrder(ctx context.Context, commands []shard.Command) []shard.Outcome {
	outcomes := make([]shard.Outcome, len(commands))
	for i, c := range commands {
		res, err := r.Apply(ctx, c)
		outcomes[i] = shard.Outcome{Result: res, Err: err}
		if err != nil && (&attempts{write: true}).next(err) != stepStop {
			for n := i + 1; n < len(outcomes); n++ {
				outcomes[n].Err = api.Errorf(api.CodeUnavailable, "behind a refused command: %w", err)
			}
			break
		}
	}
	return outcomes
}

func (g *group) execute(b api.Batch) api.Result {
	g.version++
	res := api.Result{Applied: true, Version: g.version}
	for _, op := range b.Ops {
		old := g.data[string(op.Key)]
		found := api.OpResult{Existed: old.Found, PreviousVersion: old.Version}
		if op.ReturnPrevious {
			found.Previous = old.Value
		}
		item := api.Item{Key: bytes.Clone(op.Key), Value: bytes.Clone(op.Value), Version: g.version, Found: true}
		switch op.Kind {
		case api.OpDelete:
			delete(g.data, string(op.Key))
		case api.OpIncrement:
			var n int64
			if old.Found {
				fmt.Sscan(string(old.Value), &n)
			}
			found.Number = n + op.Delta
			item.Value = fmt.Append(nil, found.Number)
			g.data[string(op.Key)] = item
		default:
			g.data[string(op.Key)] = item
		}
		res.Ops = append(res.Ops, found)
	}
	return res
}

func (r replica) Get(ctx context.Context, epoch api.Epoch, _ api.Namespace, keys [][]byte) ([]api.Item, error) {
	if err := r.enter(ctx, epoch, false); err != nil {
		return nil, err
	}
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	items, total := make([]api.Item, len(keys)), 0
	for i, key := range keys {
		if !r.group.arc.Contains(router.Slot(0, key)) {
			return nil, api.Errorf(api.CodeStaleMap, "a key is not ours")
		}
		items[i] = r.group.named(r.group.data[string(key)])
		items[i].Key = key
		if total += len(items[i].Value); total > api.MaxBatchBytes {
			return nil, api.Errorf(api.CodeTooLarge, "values together are too large")
		}
	}
	return items, nil
}

func (r replica) Scan(ctx context.Context, epoch api.Epoch, rng api.Range) (shard.Page, error) {
	if err := r.enter(ctx, epoch, false); err != nil {
		return shard.Page{}, err
	}
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	limit := r.group.maxPage
	if rng.Limit != 0 {
		limit = min(limit, int(rng.Limit))
	}
	page := shard.Page{Arc: r.group.arc}
	for _, item := range inRange(r.group.data, rng) {
		if len(page.Items) == limit {
			page.More = true
			last := page.Items[limit-1].Key
			page.Resume = append(bytes.Clone(last), 0)
			if rng.Reverse {
				page.Resume = last
			}
			break
		}
		if !rng.KeysOnly {
			item = r.group.named(item)
		}
		page.Items = append(page.Items, item)
	}
	return page, nil
}

// Backup implements Shard.
func (r replica) Backup(ctx context.Context, begin func(shard.Cut) error, add func(*record.Record) error) error {
	g := r.group
	if err := r.enter(ctx, g.epoch, false); err != nil {
		return err
	}
	if err := begin(shard.Cut{Shard: g.id, Arc: g.arc, Epoch: g.epoch}); err != nil {
		return err
	}
	for _, item := range inRange(g.data, api.Range{}) {
		row := record.Record{Kind: record.Row, Key: item.Key, Value: item.Value, ValueBytes: uint64(len(item.Value))}
		if err := add(&row); err != nil {
			return err
		}
	}
	return nil
}

// named is an item as a shard answers it: a long value is named and not brought.
func (g *group) named(item api.Item) api.Item {
	if len(item.Value) <= api.MaxInlineBytes {
		return item
	}
	if g.values == nil {
		g.values = make(map[api.Version][]byte)
	}
	g.stored++
	g.values[g.stored] = item.Value
	item.Stored = &api.Stored{Parts: *api.PartsOf(item.Value, 0), Shard: g.id, At: item.Version}
	item.Stored.ID, item.Value = g.stored, nil
	return item
}

// ReadParts implements Shard.
func (r replica) ReadParts(_ context.Context, v *api.Stored, from, count uint32) ([]byte, error) {
	g := r.group
	g.mu.Lock()
	defer g.mu.Unlock()
	g.partReads++
	if g.onParts != nil {
		if err := g.onParts(r.node, from); err != nil {
			return nil, err
		}
	}
	value, ok := g.values[v.ID]
	if !ok || count == 0 || count > shard.MaxReadParts || from+count > v.Count {
		return nil, api.Errorf(api.CodeInvalid, "parts %d to %d of %v", from, from+count, v)
	}
	return bytes.Clone(value[from*api.MaxPartBytes : min(int(from+count)*api.MaxPartBytes, len(value))]), nil
}

// Prove implements Shard.
func (r replica) Prove(context.Context) (shard.Proof, error) {
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	r.group.proofs = append(r.group.proofs, r.node)
	if r.group.leader != r.node {
		return shard.Proof{}, &api.Error{Code: api.CodeNotLeader, Message: "not the leader", Shard: r.group.id}
	}
	return shard.Proof{Index: 42, Time: 77}, nil
}

// byProof decides whether this replica answers.
func (r replica) byProof(ctx context.Context, epoch api.Epoch, s shard.Staleness) error {
	g := r.group
	g.mu.Lock()
	decide, leader, current := g.proof, g.leader, g.epoch
	g.mu.Unlock()
	if epoch != current {
		return &api.Error{Code: api.CodeStaleMap, Message: "wrong epoch", Shard: g.id, Epoch: current}
	}
	switch {
	case decide != nil:
		if err := decide(ctx, r.node, s); err != nil {
			return err
		}
	case r.node != leader:
		if p, err := s.Ask(ctx, leader); err != nil || p != (shard.Proof{Index: 42, Time: 77}) {
			return api.Errorf(api.CodeTooStale, "%v: %w", p, err)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stale = append(g.stale, r.node)
	return nil
}

// lead is the replica that leads, whose data all share.
func (r replica) lead() replica { return replica{group: r.group, node: r.group.leader} }

func (r replica) GetStale(ctx context.Context, epoch api.Epoch, ns api.Namespace, keys [][]byte, s shard.Staleness) ([]api.Item, error) {
	if err := r.byProof(ctx, epoch, s); err != nil {
		return nil, err
	}
	return r.lead().Get(ctx, epoch, ns, keys)
}

func (r replica) ScanStale(ctx context.Context, epoch api.Epoch, rng api.Range, s shard.Staleness) (shard.Page, error) {
	if err := r.byProof(ctx, epoch, s); err != nil {
		return shard.Page{}, err
	}
	return r.lead().Scan(ctx, epoch, rng)
}

// inRange lists the items of a range in its order.
func inRange(data map[string]api.Item, rng api.Range) []api.Item {
	var items []api.Item
	for key, item := range data {
		if key >= string(rng.Start) && (len(rng.End) == 0 || key < string(rng.End)) {
			if rng.KeysOnly {
				item.Value = nil
			}
			items = append(items, item)
		}
	}
	slices.SortFunc(items, func(a, b api.Item) int { return bytes.Compare(a.Key, b.Key) })
	if rng.Reverse {
		slices.Reverse(items)
	}
	return items
}

func (r replica) Count(ctx context.Context, epoch api.Epoch, _ api.Namespace) (uint64, error) {
	if err := r.enter(ctx, epoch, false); err != nil {
		return 0, err
	}
	r.group.mu.Lock()
	defer r.group.mu.Unlock()
	return uint64(len(r.group.data)), nil
}

// fakeNetwork is one bufconn listener per address; an address can be cut off.
type fakeNetwork struct {
	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	down      map[string]bool
	conns     map[string][]net.Conn
}

func (n *fakeNetwork) Dial(ctx context.Context, address string) (net.Conn, error) {
	n.mu.Lock()
	ln, down := n.listeners[address], n.down[address]
	n.mu.Unlock()
	if ln == nil || down {
		return nil, errors.New("connection refused")
	}
	c, err := ln.DialContext(ctx)
	if err == nil {
		n.mu.Lock()
		n.conns[address] = append(n.conns[address], c)
		n.mu.Unlock()
	}
	return c, err
}

func (n *fakeNetwork) Listen(context.Context, string) (net.Listener, error) {
	return nil, errors.New("not in this test")
}

// cut refuses new connections to a node and breaks those that stand.
func (n *fakeNetwork) cut(address string) {
	n.mu.Lock()
	n.down[address] = true
	conns := n.conns[address]
	n.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
}

var _ network.Network = (*fakeNetwork)(nil)

type resolver struct{}

func (resolver) Address(node api.NodeID) (string, bool) { return string(node), true }

// view is a map that the test changes.
type view struct {
	mu      sync.Mutex
	current *pb.ClusterMap
	changed chan struct{}
}

func (v *view) Map() *pb.ClusterMap {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.current
}

func (v *view) Master() api.NodeID { return "a" }

func (v *view) Wait(ctx context.Context, after uint64) (*pb.ClusterMap, error) {
	for {
		v.mu.Lock()
		m, changed := v.current, v.changed
		v.mu.Unlock()
		if m != nil && m.Revision > after {
			return m, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (v *view) set(m *pb.ClusterMap) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.current = m
	close(v.changed)
	v.changed = make(chan struct{})
}

// cluster is three nodes a, b, c with Forward between them and groups without Raft.
type cluster struct {
	t       *testing.T
	net     *fakeNetwork
	view    *view
	servers map[api.NodeID]*Server
	routers map[api.NodeID]*router.Router

	mu     sync.Mutex
	groups map[api.ShardID]*group
	hosts  map[api.ShardID][]api.NodeID // nodes with a replica
}

var nodeNames = []api.NodeID{"a", "b", "c"}

// newCluster makes shards of equal arcs; shard i is led by node i mod 3, all nodes hold all.
// patient are the options of tests whose values take long to pass on a busy machine.
func patient(o *Options) { o.Timeout, o.AttemptTimeout = 4*time.Minute, time.Minute }

func newCluster(t *testing.T, shards int, change func(*Options)) *cluster {
	t.Helper()
	c := &cluster{
		t: t, view: &view{changed: make(chan struct{})},
		net:     &fakeNetwork{listeners: map[string]*bufconn.Listener{}, down: map[string]bool{}, conns: map[string][]net.Conn{}},
		servers: map[api.NodeID]*Server{}, routers: map[api.NodeID]*router.Router{},
		groups: map[api.ShardID]*group{}, hosts: map[api.ShardID][]api.NodeID{},
	}
	for i := range shards {
		id := api.ShardID(i + 1)
		c.groups[id] = &group{
			id: id, epoch: 1, leader: nodeNames[i%3], term: 1, hints: true, maxPage: 7,
			arc:  router.Arc{Start: uint32(i * api.SlotCount / shards), End: uint32((i + 1) * api.SlotCount / shards)},
			data: map[string]api.Item{}, answers: map[api.RequestID]api.Result{},
		}
		c.hosts[id] = nodeNames
	}
	for _, node := range nodeNames {
		c.startNode(node, change)
	}
	c.publish(1)
	return c
}

func (c *cluster) startNode(node api.NodeID, change func(*Options)) {
	pool := peers.New(peers.Options{Network: c.net, Resolver: resolver{}, Credentials: insecure.NewCredentials()})
	r := router.New()
	o := Options{
		Node: node, Name: string(node), Version: "test", View: c.view, Router: r, Peers: pool,
		Local:    func(id api.ShardID) (Shard, bool) { return c.local(node, id) },
		Sessions: session.New(entropy.System(), clock.Real{}),
		Timeout:  30 * time.Second, AttemptTimeout: 10 * time.Second, Entropy: entropy.System(),
	}
	if change != nil {
		change(&o)
	}
	s := New(o)
	ln := bufconn.Listen(1 << 20)
	gs := grpc.NewServer(grpc.MaxRecvMsgSize(api.MaxMessageBytes))
	peerv1.RegisterForwardServer(gs, s.ForwardService())
	done := make(chan struct{})
	go func() {
		defer close(done)
		gs.Serve(ln)
	}()
	c.net.listeners[string(node)] = ln
	c.servers[node], c.routers[node] = s, r
	c.t.Cleanup(func() {
		s.Close()
		pool.Close()
		gs.Stop()
		<-done
	})
}

func (c *cluster) local(node api.NodeID, id api.ShardID) (Shard, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.groups[id]
	if !ok || !slices.Contains(c.hosts[id], node) {
		return nil, false
	}
	return replica{group: g, node: node}, true
}

// clusterMap is the map of the groups as they are.
func (c *cluster) clusterMap(revision uint64) *pb.ClusterMap {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &pb.ClusterMap{ClusterId: "test", Revision: revision}
	for i, node := range nodeNames {
		m.Nodes = append(m.Nodes, &pb.Node{Id: string(node), Name: string(node), Ordinal: uint32(i + 1)})
		m.MetaReplicas = append(m.MetaReplicas, &pb.Replica{NodeId: string(node), Incarnation: 1})
	}
	for _, g := range c.groups {
		sh := &pb.Shard{Id: uint64(g.id), StartSlot: g.arc.Start, EndSlot: g.arc.End, Epoch: uint64(g.epoch)}
		for _, node := range c.hosts[g.id] {
			sh.Replicas = append(sh.Replicas, &pb.Replica{NodeId: string(node), Incarnation: 1})
		}
		m.Shards = append(m.Shards, sh)
	}
	slices.SortFunc(m.Shards, func(a, b *pb.Shard) int { return int(a.StartSlot) - int(b.StartSlot) })
	return m
}

// publish gives the map to the view and to every router.
func (c *cluster) publish(revision uint64) {
	m := c.clusterMap(revision)
	c.view.set(m)
	for _, r := range c.routers {
		if _, err := r.Update(m); err != nil {
			c.t.Fatal(err)
		}
	}
}

// owner is the group that owns a key.
func (c *cluster) owner(key string) *group {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.groups {
		if g.arc.Contains(router.Slot(0, []byte(key))) {
			return g
		}
	}
	c.t.Fatalf("nobody owns %q", key)
	return nil
}

// split gives the upper half of a group's arc to a new group, as a published split does.
func (c *cluster) split(id api.ShardID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	parent := c.groups[id]
	parent.mu.Lock()
	defer parent.mu.Unlock()
	if parent.arc.End-parent.arc.Start < 2 {
		return
	}
	child := &group{
		id: api.ShardID(len(c.groups) + 1), epoch: 1, leader: parent.leader, term: 1, hints: true, maxPage: parent.maxPage,
		arc:  router.Arc{Start: (parent.arc.Start + parent.arc.End) / 2, End: parent.arc.End},
		data: map[string]api.Item{}, answers: map[api.RequestID]api.Result{},
	}
	parent.arc.End = child.arc.Start
	parent.epoch++
	for key, item := range parent.data {
		if child.arc.Contains(router.Slot(0, []byte(key))) {
			child.data[key] = item
			delete(parent.data, key)
		}
	}
	c.groups[child.id] = child
	c.hosts[child.id] = c.hosts[id]
}

// load writes an item past the servers.
func (c *cluster) load(key, value string) {
	g := c.owner(key)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.version++
	g.data[key] = api.Item{Key: []byte(key), Value: []byte(value), Version: g.version, Found: true}
}

func (g *group) set(change func(*group)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

func put(key, value string) api.Batch {
	return api.Batch{Ops: []api.Op{{Kind: api.OpPut, Key: []byte(key), Value: []byte(value)}}}
}

func increment(key string) api.Batch {
	return api.Batch{Ops: []api.Op{{Kind: api.OpIncrement, Key: []byte(key), Delta: 1}}}
}
