package sim

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/meta/pledge"
	"github.com/lightning-db/lightning/shard"
)

// Cluster is the nodes of one history. It lives within one bubble.
type Cluster struct {
	Net   *Network
	Nodes []*Node

	plan    Plan
	pledge  pledge.Cluster
	logger  *slog.Logger
	dead    sync.WaitGroup // lives that crashed and are being cleared away
	mu      sync.Mutex
	broken  []string // what must never be
	hits    int      // faults that hit a leader
	crashes int      // and lives that ended by their own decision
	closing atomic.Bool
	// assignments are what the mover changes.
	assignments assignments
	// written holds a signal when a write was acknowledged since somebody last took it.
	written chan struct{}
}

// Node is one machine: its disk and clock outlive its lives.
type Node struct {
	id      api.NodeID
	host    string
	cluster *Cluster
	Disk    *Disk
	Clock   *Clock
	random  *lockedRandom

	starting chan struct{} // holds one while somebody starts it

	mu     sync.Mutex
	life   *life         // nil while it is off
	paused chan struct{} // not nil while it is; closed when it goes on
}

// lockedRandom yields random bytes to several goroutines.
type lockedRandom struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

// Read implements io.Reader.
func (r *lockedRandom) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rng.Read(p)
}

// NewCluster makes the machines of a plan and switches them on.
func NewCluster(plan Plan, logger *slog.Logger) (*Cluster, error) {
	c := &Cluster{plan: plan, logger: logger, written: make(chan struct{}, 1), Net: NewNetwork(plan.Seed, plan.Delay, plan.Jitter)}
	c.pledge = pledge.Cluster{ID: fmt.Sprintf("sim-%d", plan.Seed), Shards: plan.Shards}
	for i := range plan.Nodes {
		var seed [32]byte
		copy(seed[:], fmt.Sprintf("%d/%d", plan.Seed, i))
		n := &Node{
			id: api.NodeID(fmt.Sprintf("n%d", i+1)), host: fmt.Sprintf("10.0.0.%d", i+1), cluster: c,
			starting: make(chan struct{}, 1),
			Disk:     NewDisk(rand.New(rand.NewPCG(plan.Seed, uint64(i)))), Clock: &Clock{},
			random: &lockedRandom{rng: rand.NewChaCha8(seed)},
		}
		n.Disk.Slow(plan.Sync)
		c.Nodes = append(c.Nodes, n)
		c.pledge.Founders = append(c.pledge.Founders, n.id)
	}
	for _, n := range c.Nodes {
		if err := n.Start(); err != nil {
			return c, err
		}
	}
	return c, nil
}

// violate notes what must never be.
func (c *Cluster) violate(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken = append(c.broken, fmt.Sprintf(format, args...))
}

func (c *Cluster) violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// Start switches a node on if it is off.
func (n *Node) Start() error {
	n.starting <- struct{}{}
	defer func() { <-n.starting }()
	if n.current() != nil || n.cluster.closing.Load() {
		return nil
	}
	l, err := start(n)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.life = l
	return nil
}

// restartPause is what a supervisor waits before it starts a process again.
const restartPause = 500 * time.Millisecond

// restart does what a supervisor does when the process of a life ends by itself.
func (n *Node) restart(l *life) {
	pass(restartPause / 2) // also for a life that fails before it has begun
	n.crash(l, vfs.KeepAll, false)
	for {
		pass(restartPause)
		hopeless := n.Disk.failing()
		err := n.Start()
		switch {
		case err == nil:
			return
		case !hopeless && !n.Disk.failing():
			n.cluster.violate("%s does not start after %v: %v", n.id, l.storageError(), err)
			return
		}
	}
}

// Crash ends the life of a node at this moment, with what the disk then holds.
func (n *Node) Crash(keep vfs.Keep, silently bool) {
	if l := n.current(); l != nil {
		n.crash(l, keep, silently)
	}
}

func (n *Node) crash(l *life, keep vfs.Keep, silently bool) {
	n.mu.Lock()
	running := n.life == l
	if running {
		n.life = nil
	}
	n.mu.Unlock()
	if !running {
		return
	}
	n.cluster.mu.Lock()
	n.cluster.crashes++
	n.cluster.mu.Unlock()
	l.crashed.Store(true)
	l.port.Unplug(silently)
	n.Disk.Crash(keep)
	n.cluster.dead.Go(func() { _ = l.close() }) // it fails at whatever it tries
}

// current is the life of a node, nil while it is off.
func (n *Node) current() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.life
}

// Pause keeps a node from everything that others could notice: it sends, receives, writes and answers
// nothing. Its timers go on, which no bubble can stop.
func (n *Node) Pause() {
	n.mu.Lock()
	if n.paused == nil {
		n.paused = make(chan struct{})
	}
	n.mu.Unlock()
	n.Disk.Stall()
	n.cluster.isolate(n)
}

// Resume ends a pause.
func (n *Node) Resume() {
	n.mu.Lock()
	if n.paused != nil {
		close(n.paused)
		n.paused = nil
	}
	n.mu.Unlock()
	n.Disk.Resume()
	n.cluster.rejoin(n)
}

// awake waits until the node is not paused.
func (n *Node) awake() {
	for {
		n.mu.Lock()
		paused := n.paused
		n.mu.Unlock()
		if paused == nil {
			return
		}
		<-paused
	}
}

func (c *Cluster) others(n *Node) []*Node {
	var others []*Node
	for _, o := range c.Nodes {
		if o != n {
			others = append(others, o)
		}
	}
	return others
}

func (c *Cluster) isolate(n *Node) {
	for _, o := range c.others(n) {
		c.cut(n, o)
	}
}

func (c *Cluster) rejoin(n *Node) {
	for _, o := range c.others(n) {
		c.join(n, o)
	}
}

func (c *Cluster) cut(a, b *Node) {
	c.Net.Clog(a.host, b.host)
	c.Net.Clog(b.host, a.host)
}

func (c *Cluster) join(a, b *Node) {
	c.Net.Release(a.host, b.host)
	c.Net.Release(b.host, a.host)
}

// leaders are the nodes that lead a shard and are ready to serve.
func (c *Cluster) leaders() []*Node {
	var leaders []*Node
	for _, n := range c.Nodes {
		if n.leads() {
			leaders = append(leaders, n)
		}
	}
	return leaders
}

func (n *Node) leads() bool {
	l := n.current()
	if l == nil {
		return false
	}
	for _, s := range l.allShards() {
		if s.Group().IsReadyLeader() {
			return true
		}
	}
	return false
}

// within polls until f succeeds, and returns its last error if that takes longer than limit.
func within(limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	for {
		err := f()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		pass(50 * time.Millisecond)
	}
}

// shardsServed is an error unless every shard of the map has a ready leader.
func (c *Cluster) shardsServed() error {
	led := map[api.ShardID]bool{}
	for _, n := range c.Nodes {
		l := n.current()
		if l == nil {
			return fmt.Errorf("%s is off", n.id)
		}
		if table := l.router.Table(); table == nil {
			return fmt.Errorf("%s has no map", n.id)
		}
		for _, s := range l.allShards() {
			led[s.ID()] = led[s.ID()] || s.Group().IsReadyLeader()
		}
	}
	if len(led) < max(c.plan.Shards, len(c.shardIDs())) {
		return fmt.Errorf("%d of %d shards have replicas", len(led), max(c.plan.Shards, len(c.shardIDs())))
	}
	for id, ok := range led {
		if !ok {
			return fmt.Errorf("nobody leads shard %d", id)
		}
	}
	return nil
}

// converged is an error unless all replicas of each shard have applied the same, which is all there is.
func (c *Cluster) converged() error {
	at := map[api.ShardID]api.Index{}
	for _, n := range c.Nodes {
		for _, s := range n.current().allShards() {
			g := s.Group().Status()
			if g.Err != nil {
				return fmt.Errorf("shard %d on %s has stopped: %w", s.ID(), n.id, g.Err)
			}
			if known, ok := at[s.ID()]; ok && known != g.Applied || g.Applied != g.LastLog && g.LastLog != 0 {
				return fmt.Errorf("shard %d on %s has applied %d, its log ends at %d, another replica is at %d", s.ID(), n.id, g.Applied, g.LastLog, known)
			}
			at[s.ID()] = g.Applied
		}
	}
	return nil
}

// Close stops every node in order and waits for everything that the history began.
func (c *Cluster) Close() {
	c.closing.Store(true)
	var stopping sync.WaitGroup
	for _, n := range c.Nodes {
		n.starting <- struct{}{} // who is starting it ends first
		n.mu.Lock()
		l := n.life
		n.life = nil
		n.mu.Unlock()
		<-n.starting
		if l != nil {
			stopping.Go(func() {
				if err := l.close(); err != nil {
					c.violate("stop %s: %v", n.id, err)
				}
			})
		}
	}
	stopping.Wait()
	c.dead.Wait()
	for _, n := range c.Nodes {
		n.Disk.late.Wait()
	}
}

// replicas are the open replicas of a shard, by node.
func (c *Cluster) replicas(id api.ShardID) map[*Node]*shard.Shard {
	found := map[*Node]*shard.Shard{}
	for _, n := range c.Nodes {
		if l := n.current(); l != nil {
			if s, ok := l.shard(id); ok {
				found[n] = s
			}
		}
	}
	return found
}
