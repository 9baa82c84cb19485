package shard

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/peers"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft"
	"github.com/lightning-db/lightning/router"
)

// patience bounds every wait of these tests; it is generous because the machine is shared.
const patience = 20 * time.Second

// cluster is a few nodes in one process, each with one replica of shard 7, on real Raft.
type cluster struct {
	t     *testing.T
	wall  clock.Clock
	nodes []*node

	mu        sync.Mutex
	listeners map[string]*bufconn.Listener
	cut       map[string]bool // nodes that reach nobody and are reached by nobody
	links     []link
	running   map[api.NodeID]*Shard
}

// link is a connection that was made.
type link struct {
	from, to string
	conn     net.Conn
}

type node struct {
	c    *cluster
	id   api.NodeID
	disk *vfs.Mem
	// files is what the shard sees of disk, nil for all of it.
	files  vfs.FS
	logDir string
	upkeep time.Duration
	timing raft.Timing
	// stopwatch is nil for the same as the wall clock of the cluster.
	stopwatch clock.Clock
	pool      *peers.Pool
	host      *raft.Host
	server    *grpc.Server
	serving   sync.WaitGroup
	shard     *Shard // nil while stopped
}

// Listen, Dial and Address make a node a network of its own, in which it can be cut off.
func (n *node) Listen(ctx context.Context, address string) (net.Listener, error) {
	return n.c.listen(ctx, address)
}

func (n *node) Dial(ctx context.Context, address string) (net.Conn, error) {
	n.c.mu.Lock()
	l, cut := n.c.listeners[address], n.c.cut[address] || n.c.cut[string(n.id)]
	n.c.mu.Unlock()
	if l == nil || cut {
		return nil, errors.New("nobody listens")
	}
	conn, err := l.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.links = append(n.c.links, link{from: string(n.id), to: address, conn: conn})
	return conn, nil
}

func (n *node) Address(id api.NodeID) (string, bool) { return string(id), true }

// cutOff separates a node from all others, or joins it again.
func (c *cluster) cutOff(id api.NodeID, cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut[string(id)] = cut
	for _, l := range c.links {
		if cut && (l.from == string(id) || l.to == string(id)) {
			_ = l.conn.Close()
		}
	}
}

func (c *cluster) listen(_ context.Context, address string) (net.Listener, error) {
	l := bufconn.Listen(1 << 20)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners[address] = l
	return l, nil
}

func newCluster(t *testing.T, size int, wall clock.Clock, configure func(*node)) *cluster {
	c := &cluster{t: t, wall: wall, listeners: map[string]*bufconn.Listener{}, cut: map[string]bool{}, running: map[api.NodeID]*Shard{}}
	for i := range size {
		n := &node{
			c: c, id: api.NodeID(fmt.Sprint("n", i+1)), disk: vfs.NewMem(), logDir: t.TempDir(), upkeep: time.Hour,
			timing: raft.Timing{HeartbeatTimeout: 200 * time.Millisecond},
		}
		if configure != nil {
			configure(n)
		}
		c.nodes = append(c.nodes, n)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.stop()
		}
	})
	for _, n := range c.nodes {
		n.start()
	}
	return c
}

func (n *node) start() {
	n.c.t.Helper()
	t := n.c.t
	storage, err := raft.NewNodeStorage(raft.NodeStorageOptions{Dir: n.logDir, FS: vfs.OS(), Entropy: entropy.System()})
	if err != nil {
		t.Fatal(err)
	}
	n.pool = peers.New(peers.Options{Network: n, Resolver: n, Credentials: insecure.NewCredentials()})
	onFailure := func(err error) { t.Errorf("%s: store failed: %v", n.id, err) }
	n.host, err = raft.NewHost(raft.HostOptions{
		Node: n.id, Dir: "/data", FS: n.disk, Storage: storage, Peers: n.pool, Logger: testkit.Logger(t),
		Timing: n.timing, OnFailure: onFailure,
	})
	if err != nil {
		t.Fatal(err)
	}
	n.server = grpc.NewServer(raft.ServerOptions()...)
	n.host.RegisterServices(n.server)
	listener, err := n.Listen(t.Context(), string(n.id))
	if err != nil {
		t.Fatal(err)
	}
	n.serving.Go(func() { _ = n.server.Serve(listener) })
	var voters []raft.ReplicaID
	for _, other := range n.c.nodes {
		voters = append(voters, raft.ReplicaID{Node: other.id, Incarnation: 1})
	}
	o := machineOptions(t, n.disk)
	o.Voters, o.UpkeepInterval, o.Clock, o.OnFailure = voters, n.upkeep, n.c.wall, onFailure
	if o.Stopwatch = n.stopwatch; o.Stopwatch == nil {
		o.Stopwatch = n.c.wall // a step of the wall clock alone would not be believed
	}
	if n.files != nil {
		o.FS = n.files
	}
	o.Peers = n
	if n.shard, err = Open(n.host, o); err != nil {
		t.Fatal(err)
	}
	n.c.run(n.id, n.shard)
}

func (n *node) stop() {
	if n.shard == nil {
		return
	}
	n.c.run(n.id, nil)
	if err := n.shard.Close(); err != nil {
		n.c.t.Errorf("close shard of %s: %v", n.id, err)
	}
	n.server.Stop()
	n.serving.Wait()
	if err := n.host.Close(); err != nil {
		n.c.t.Errorf("close host of %s: %v", n.id, err)
	}
	n.pool.Close()
	n.shard = nil
}

// leader waits for a node that is ready to lead.
func (c *cluster) leader() *node {
	c.t.Helper()
	var found *node
	testkit.Eventually(c.t, patience, func() bool {
		for _, n := range c.nodes {
			if n.shard != nil && n.shard.group.IsReadyLeader() {
				found = n
				return true
			}
		}
		return false
	}, "no leader")
	return found
}

func (c *cluster) context() context.Context {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	c.t.Cleanup(cancel)
	return ctx
}

// do retries a command until some leader gives a definite answer. It must be protected by a
// request id, or be one that may run twice.
func (c *cluster) do(cmd Command) api.Result {
	c.t.Helper()
	ctx := c.context()
	for {
		res, err := c.leader().shard.Apply(ctx, cmd)
		switch {
		case err == nil:
			return res
		case ctx.Err() != nil || !api.Row(api.CodeOf(err)).Retry && !errors.Is(err, api.ErrUnknownOutcome):
			c.t.Fatalf("%+v: %v", cmd, err)
		}
	}
}

func (c *cluster) get(key string) api.Item {
	c.t.Helper()
	ctx := c.context()
	for {
		items, err := c.leader().shard.Get(ctx, 1, 0, [][]byte{[]byte(key)})
		switch {
		case err == nil:
			return items[0]
		case ctx.Err() != nil || !api.Row(api.CodeOf(err)).Retry:
			c.t.Fatalf("get: %v", err)
		}
	}
}

func TestAShardOfOneReplicaServesAndComesBack(t *testing.T) {
	c := newCluster(t, 1, clock.Real{}, nil)
	s := c.leader().shard
	ctx := c.context()
	if res := c.do(batch(put("a", "1"), put("b", "2"))); !res.Applied || res.Version == 0 {
		t.Fatalf("%+v", res)
	}
	items, err := s.Get(ctx, 1, 0, [][]byte{[]byte("b"), []byte("absent"), []byte("a")})
	if err != nil || len(items) != 3 || string(items[0].Value) != "2" || items[1].Found || string(items[1].Key) != "absent" || string(items[2].Value) != "1" {
		t.Fatalf("%+v, %v", items, err)
	}
	if n, err := s.Count(ctx, 1, 0); n != 2 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
	if n, err := s.Count(ctx, 1, 5); n != 0 || err != nil {
		t.Errorf("count of another namespace %d, %v", n, err)
	}
	for name, err := range map[string]error{
		"older epoch":      second(s.Get(ctx, 0, 0, [][]byte{[]byte("a")})),
		"newer epoch":      second(s.Scan(ctx, 2, api.Range{})),
		"epoch to a write": second(s.Apply(ctx, Command{Epoch: 3, Batch: api.Batch{Ops: []api.Op{put("a", "x")}}})),
	} {
		var e *api.Error
		if !errors.As(err, &e) || e.Code != api.CodeStaleMap || e.Epoch != 1 || e.Shard != 7 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Get(ctx, 1, 0, [][]byte{{}}); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("get of an empty key: %v", err)
	}
	if _, err := s.Apply(ctx, batch(put("a", "x"), increment("b", 1), increment("a", 1))); !errors.Is(err, api.ErrNotInteger) {
		t.Errorf("increment: %v", err)
	}
	if err := s.Snapshot(); err != nil {
		t.Fatal(err)
	}
	if st := s.Status(); st.GetShardId() != 7 || st.GetRole() != "leader" || st.GetLeaderId() != "n1" || st.GetAppliedIndex() == 0 || st.GetDurableIndex() == 0 || st.GetDiskBytes() == 0 {
		t.Errorf("%+v", st)
	}
	c.do(batch(put("c", "3")))
	c.nodes[0].stop()
	c.nodes[0].start()
	for k, want := range map[string]string{"a": "1", "b": "2", "c": "3"} {
		if it := c.get(k); string(it.Value) != want {
			t.Errorf("after a restart %s is %+v", k, it)
		}
	}
	s = c.leader().shard
	c.nodes[0].stop()
	if _, err := s.Apply(ctx, batch(put("a", "1"))); api.CodeOf(err) != api.CodeNotLeader {
		t.Errorf("a write after close: %v", err)
	}
	if _, err := s.Get(ctx, 1, 0, [][]byte{[]byte("a")}); api.CodeOf(err) != api.CodeShuttingDown {
		t.Errorf("a read after close: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

func TestPagesCoverARangeOnceInOrderBothWays(t *testing.T) {
	c := newCluster(t, 1, clock.Real{}, nil)
	s := c.leader().shard
	ctx := c.context()
	const count = 2*api.MaxScanPageItems + 100
	var want []string
	for i := 0; i < count; {
		var ops []api.Op
		for ; len(ops) < 500 && i < count; i++ {
			want = append(want, fmt.Sprintf("key-%06d", i))
			ops = append(ops, put(want[i], strconv.Itoa(i)))
		}
		c.do(batch(ops...))
	}
	for _, reverse := range []bool{false, true} {
		r := api.Range{Start: []byte("key-000010"), End: []byte("key-002000"), Reverse: reverse, KeysOnly: reverse}
		var got []string
		pages := 0
		for more := true; more; pages++ {
			page, err := s.Scan(ctx, 1, r)
			if err != nil || page.Arc != router.FullArc {
				t.Fatalf("%+v, %v", page.Arc, err)
			}
			for _, it := range page.Items {
				got = append(got, string(it.Key))
				if !it.Found || (it.Value == nil) != reverse {
					t.Fatalf("%+v", it)
				}
			}
			if more = page.More; reverse {
				r.End = page.Resume
			} else {
				r.Start = page.Resume
			}
		}
		if reverse {
			for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
				got[i], got[j] = got[j], got[i]
			}
		}
		if pages < 2 || len(got) != 1990 || got[0] != want[10] || got[1989] != want[1999] {
			t.Errorf("reverse %t: %d keys in %d pages", reverse, len(got), pages)
		}
		for i := range got {
			if got[i] != want[10+i] {
				t.Fatalf("reverse %t: place %d holds %s", reverse, i, got[i])
			}
		}
	}
	page, err := s.Scan(ctx, 1, api.Range{Limit: 3})
	if err != nil || len(page.Items) != 3 || !page.More {
		t.Errorf("limit: %+v, %v", page, err)
	}
	c.do(batch(api.Op{Kind: api.OpPut, Key: []byte("a"), Value: bytes.Repeat([]byte("x"), api.MaxScanPageBytes)}))
	page, err = s.Scan(ctx, 1, api.Range{})
	if err != nil || len(page.Items) != 1 || !page.More || string(page.Resume) != want[0] {
		t.Errorf("a page with a large value: %d items, resume %q, %v", len(page.Items), page.Resume, err)
	}
	if n, err := s.Count(ctx, 1, 0); n != count+1 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
}

// A read finds a key expired as soon as the wall clock says so, also on an idle shard, whose
// ceiling is far behind.
func TestIdleShardsSeeKeysExpire(t *testing.T) {
	wall := clock.NewManual(time.UnixMilli(int64(startMillis)))
	c := newCluster(t, 1, wall, nil)
	s := c.leader().shard
	ctx := c.context()
	c.do(batch(api.Op{Kind: api.OpPut, Key: []byte("k"), Value: []byte("v"), Expiry: api.Expiry{Mode: api.ExpiryAfter, Millis: 60_000}}, put("stays", "")))
	expiry := c.get("k").ExpiryMillis
	wall.Advance(time.UnixMilli(int64(expiry)).Sub(wall.Now()) - time.Millisecond)
	if it := c.get("k"); !it.Found {
		t.Fatalf("a millisecond before its expiry: %+v", it)
	}
	wall.Advance(time.Millisecond)
	if it := c.get("k"); it.Found || it.Value != nil {
		t.Fatalf("at its expiry: %+v", it)
	}
	wall.Advance(-time.Minute)
	if it := c.get("k"); it.Found {
		t.Fatalf("after the clock was set back: %+v", it)
	}
	if page, err := s.Scan(ctx, 1, api.Range{}); err != nil || len(page.Items) != 1 || string(page.Items[0].Key) != "stays" {
		t.Errorf("scan: %+v, %v", page, err)
	}
	if n, err := s.Count(ctx, 1, 0); n != 1 || err != nil {
		t.Errorf("count %d, %v", n, err)
	}
}

// While keys expire and are read, shard time is moved before a read has to wait for it.
func TestShardTimeRunsAheadOfReadsOfKeysThatExpire(t *testing.T) {
	wall := clock.NewManual(time.UnixMilli(int64(startMillis)))
	c := newCluster(t, 1, wall, nil)
	s := c.leader().shard
	c.do(batch(api.Op{Kind: api.OpPut, Key: []byte("k"), Value: []byte("v"), Expiry: api.Expiry{Mode: api.ExpiryAfter, Millis: 10}}))
	wall.Advance(20 * time.Millisecond)
	if it := c.get("k"); it.Found {
		t.Fatalf("after its expiry: %+v", it)
	}
	before := s.machine.state().ceilingMillis
	wall.Advance((renewMillis + 10) * time.Millisecond)
	c.get("k") // needs no tick, and begins one
	testkit.Eventually(t, patience, func() bool { return s.machine.state().ceilingMillis > before }, "the ceiling stays")
	ahead := s.machine.state()
	c.get("k")
	wall.Advance(recentMillis * time.Millisecond)
	c.get("k") // expired too long ago to be a sign of others
	if err := s.proposer.tick(c.context()); err != nil {
		t.Fatal(err)
	}
	if got := s.machine.state().last; got.Millis() != clock.Millis(wall) || ahead.ceilingMillis >= clock.Millis(wall) {
		t.Errorf("shard time %v", got)
	}
}

func TestUpkeepLetsDeadDataLeaveAnIdleShard(t *testing.T) {
	wall := clock.NewManual(time.UnixMilli(int64(startMillis)))
	c := newCluster(t, 1, wall, func(n *node) { n.upkeep = 5 * time.Millisecond })
	s := c.leader().shard
	op := put("k", "v")
	op.Expiry = api.Expiry{Mode: api.ExpiryAfter, Millis: 1000}
	c.do(request(batch(op), startMillis, 1, 1))
	testkit.Eventually(t, patience, func() bool {
		wall.Advance(time.Minute)
		st := s.machine.state()
		return !st.wantsTime() && st.sessions == 0
	}, "data still waits for time, or a session is left")
	h, err := s.machine.store.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	if got := h.DB.Horizon(); got.ExpiryMillis < startMillis+1000 {
		t.Errorf("horizon %+v", got)
	}
	quiet := s.machine.state().last
	if st := s.machine.state(); st.wantsTick(clock.Millis(wall)+1_000_000, 10) {
		t.Errorf("an idle shard with nothing to do still ticks: %+v", st)
	}
	if s.machine.state().last != quiet {
		t.Error("time moved although nothing wants it")
	}
}

// Every increment runs exactly once, whatever the leaders do meanwhile.
func TestThreeReplicasKeepWhatTheyAcknowledge(t *testing.T) {
	c := newCluster(t, 3, clock.Real{}, func(n *node) {
		n.timing.SnapshotThreshold, n.timing.SnapshotInterval, n.timing.TrailingLogs = 50, 50*time.Millisecond, 10
	})
	follower := c.nodes[0]
	if leader := c.leader(); follower == leader {
		follower = c.nodes[1]
	}
	testkit.Eventually(t, patience, func() bool {
		_, err := follower.shard.Apply(c.context(), batch(put("k", "")))
		var e *api.Error
		return errors.As(err, &e) && e.Code == api.CodeNotLeader && e.Leader == c.leader().id && e.Shard == 7
	}, "the follower does not name the leader")
	if _, err := follower.shard.Get(c.context(), 1, 0, [][]byte{[]byte("k")}); !errors.Is(err, api.ErrNotLeader) {
		t.Errorf("a read of a follower: %v", err)
	}

	const writers, each = 8, 60
	var done atomic.Int64
	var wg sync.WaitGroup
	session := uint64(time.Now().UnixMilli())
	for w := range uint64(writers) {
		wg.Go(func() {
			for i := uint64(1); i <= each; i++ {
				cmd := request(batch(increment("n", 1), increment(fmt.Sprint("w", w), 1)), session, i, i)
				cmd.Request.Session.Random = w
				res, err := c.persist(cmd)
				if err != nil || res.Ops[1].Number != int64(i) {
					t.Errorf("writer %d, step %d: %+v, %v", w, i, res, err)
					return
				}
				done.Add(1)
			}
		})
	}
	for round := range 2 {
		testkit.Eventually(t, patience, func() bool { return done.Load() > int64(writers*each*(round+1)/4) }, "writers do not get on")
		leader := c.leader()
		if err := leader.shard.Group().TransferLeadership(c.context()); err != nil && round == 0 {
			t.Logf("transfer: %v", err)
		}
	}
	wg.Wait()
	if it := c.get("n"); string(it.Value) != strconv.Itoa(writers*each) {
		t.Fatalf("n is %s, want %d", it.Value, writers*each)
	}
	c.catchesUpByCheckpoint(writers)
}

// catchesUpByCheckpoint stops a follower, cuts the log behind its back and starts it again.
func (c *cluster) catchesUpByCheckpoint(sessions uint64) {
	c.t.Helper()
	away := c.nodes[2]
	if away == c.leader() {
		away = c.nodes[1]
	}
	away.stop()
	for i := range 100 {
		c.do(batch(put(fmt.Sprint("meanwhile-", i), "x")))
	}
	for _, n := range c.nodes {
		if n != away {
			if err := n.shard.Snapshot(); err != nil {
				c.t.Fatal(err)
			}
		}
	}
	applied := c.leader().shard.Status().GetAppliedIndex()
	away.start()
	testkit.Eventually(c.t, patience, func() bool {
		return away.shard.Status().GetAppliedIndex() >= applied
	}, "a follower does not catch up")
	if away.shard.Status().GetSnapshotsInstalled() == 0 {
		c.t.Error("the follower needed no checkpoint")
	}
	h, err := away.shard.machine.store.Acquire()
	if err != nil {
		c.t.Fatal(err)
	}
	defer h.Release()
	if _, ok, err := h.DB.Get(rows.Key(0, []byte("meanwhile-99")), engine.MaxVersion); !ok || err != nil {
		c.t.Errorf("the follower misses a write: %v", err)
	}
	if got := away.shard.machine.state().sessions; got != sessions {
		c.t.Errorf("the follower knows %d sessions, want %d", got, sessions)
	}
}

// persist retries a command under its request id until it has a definite answer.
func (c *cluster) persist(cmd Command) (api.Result, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		for _, n := range c.nodes {
			res, err := n.shard.Apply(ctx, cmd)
			if err == nil || !api.Row(api.CodeOf(err)).Retry && !errors.Is(err, api.ErrUnknownOutcome) || ctx.Err() != nil {
				return res, err
			}
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return api.Result{}, ctx.Err()
		}
	}
}
