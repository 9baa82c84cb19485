package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lightning-db/lightning/internal/vfs"
)

// nemesis brings the faults of a plan about.
type nemesis struct {
	c   *Cluster
	rng *rand.Rand
	did map[string]int
}

// fault does something bad, waits, and undoes it. It returns early when ctx ends.
type fault func(n *nemesis, ctx context.Context)

var faults = map[string]fault{
	"isolate leader": func(n *nemesis, ctx context.Context) { n.isolation(ctx, n.leader()) },
	"isolate node":   func(n *nemesis, ctx context.Context) { n.isolation(ctx, n.any()) },
	"split":          (*nemesis).split,
	"one way leader": (*nemesis).oneWay,
	"partial":        (*nemesis).partial,
	"ring":           (*nemesis).ring,
	"swizzle":        (*nemesis).swizzle,
	"reset":          (*nemesis).reset,
	"slow network":   (*nemesis).slowNetwork,
	"crash leader":   func(n *nemesis, ctx context.Context) { n.crash(ctx, n.leader()) },
	"crash node":     func(n *nemesis, ctx context.Context) { n.crash(ctx, n.any()) },
	"crash all":      func(n *nemesis, ctx context.Context) { n.crash(ctx, n.c.Nodes...) },
	"power cut":      (*nemesis).powerCut,
	"pause leader":   func(n *nemesis, ctx context.Context) { n.pause(ctx, n.leader()) },
	"slow disk":      (*nemesis).slowDisk,
	"stalled disk":   (*nemesis).stalledDisk,
	"full disk":      func(n *nemesis, ctx context.Context) { n.failingDisk(ctx, (*Disk).Fill) },
	"failed sync":    func(n *nemesis, ctx context.Context) { n.failingDisk(ctx, (*Disk).Break) },
	"clock drift":    (*nemesis).clockDrift,
	"clock jump":     (*nemesis).clockJump,
}

func faultNames() []string {
	names := make([]string, 0, len(faults))
	for name := range faults {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// run brings faults about until ctx ends.
func (n *nemesis) run(ctx context.Context) {
	for name := n.c.plan.First; ; name = n.c.plan.Faults[n.rng.IntN(len(n.c.plan.Faults))] {
		wait(ctx, n.about(n.c.plan.Calm))
		if ctx.Err() != nil {
			return
		}
		n.did[name]++
		n.c.logger.Info("fault", "kind", name)
		faults[name](n, ctx)
	}
}

// about is d, give or take half of it.
func (n *nemesis) about(d time.Duration) time.Duration {
	return d/2 + time.Duration(n.rng.Int64N(int64(d)+1))
}

func (n *nemesis) last(ctx context.Context) { wait(ctx, n.about(n.c.plan.Lasting)) }

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (n *nemesis) any() *Node { return n.c.Nodes[n.rng.IntN(len(n.c.Nodes))] }

// leader is a node that leads a shard, any node if none does for a while.
func (n *nemesis) leader() *Node {
	var leaders []*Node
	_ = within(n.c.plan.Lasting, func() error {
		if leaders = n.c.leaders(); len(leaders) == 0 {
			return errNoLeader
		}
		return nil
	})
	if len(leaders) == 0 {
		return n.any()
	}
	return leaders[n.rng.IntN(len(leaders))]
}

var errNoLeader = errors.New("nobody leads")

// hit counts a fault that a leader feels.
func (n *nemesis) hit(nodes ...*Node) {
	if slices.ContainsFunc(nodes, (*Node).leads) {
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		n.c.hits++
	}
}

func (n *nemesis) shuffled() []*Node {
	nodes := slices.Clone(n.c.Nodes)
	n.rng.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return nodes
}

func (n *nemesis) isolation(ctx context.Context, node *Node) {
	n.hit(node)
	n.c.isolate(node)
	n.last(ctx)
	n.c.rejoin(node)
}

func (n *nemesis) split(ctx context.Context) {
	nodes := n.shuffled()
	few, many := nodes[:len(nodes)/2], nodes[len(nodes)/2:]
	n.hit(few...)
	for _, a := range few {
		for _, b := range many {
			n.c.cut(a, b)
		}
	}
	n.last(ctx)
	n.c.Net.Heal()
}

// oneWay lets a leader only talk or only listen.
func (n *nemesis) oneWay(ctx context.Context) {
	leader, deaf := n.leader(), n.rng.IntN(2) == 0
	n.hit(leader)
	for _, o := range n.c.others(leader) {
		if deaf {
			n.c.Net.Clog(o.host, leader.host)
		} else {
			n.c.Net.Clog(leader.host, o.host)
		}
	}
	n.last(ctx)
	n.c.Net.Heal()
}

// partial cuts two nodes that all others see.
func (n *nemesis) partial(ctx context.Context) {
	a := n.leader()
	others := n.c.others(a)
	b := others[n.rng.IntN(len(others))]
	n.hit(a)
	n.c.cut(a, b)
	n.last(ctx)
	n.c.join(a, b)
}

// ring lets every node talk to two neighbours only; of three nodes it is a chain.
func (n *nemesis) ring(ctx context.Context) {
	nodes := n.shuffled()
	n.hit(nodes...)
	if len(nodes) == 3 {
		n.c.cut(nodes[0], nodes[2])
	}
	for i := range nodes {
		for j := i + 2; j < len(nodes); j++ {
			if (i+len(nodes)-1)%len(nodes) != j {
				n.c.cut(nodes[i], nodes[j])
			}
		}
	}
	n.last(ctx)
	n.c.Net.Heal()
}

// swizzle clogs links one by one and releases them one by one in another order.
func (n *nemesis) swizzle(ctx context.Context) {
	var links []direction
	for _, a := range n.c.Nodes {
		for _, b := range n.c.others(a) {
			if n.rng.IntN(2) == 0 {
				links = append(links, direction{a.host, b.host})
			}
		}
	}
	n.hit(n.c.Nodes...)
	step := n.c.plan.Lasting / time.Duration(2*len(links)+1)
	for _, release := range []bool{false, true} {
		n.rng.Shuffle(len(links), func(i, j int) { links[i], links[j] = links[j], links[i] })
		for _, l := range links {
			wait(ctx, n.about(step))
			if release {
				n.c.Net.Release(l.from, l.to)
			} else {
				n.c.Net.Clog(l.from, l.to)
			}
		}
	}
}

func (n *nemesis) reset(ctx context.Context) {
	a := n.leader()
	n.hit(a)
	for range 1 + n.rng.IntN(5) {
		others := n.c.others(a)
		n.c.Net.Reset(a.host, others[n.rng.IntN(len(others))].host)
		wait(ctx, n.about(n.c.plan.Lasting/10))
	}
}

func (n *nemesis) slowNetwork(ctx context.Context) {
	n.hit(n.c.Nodes...)
	slow := n.about(n.c.plan.Timing.HeartbeatTimeout / 4)
	n.c.Net.SetDelay(slow, 2*slow)
	n.last(ctx)
	n.c.Net.SetDelay(n.c.plan.Delay, n.c.plan.Jitter)
}

func (n *nemesis) crash(ctx context.Context, nodes ...*Node) {
	n.end(ctx, n.c.plan.Keep, n.rng.IntN(2) == 0, nodes...)
}

// powerCut ends all nodes at one instant, that at which a write is acknowledged, and of what was not synced nothing or
// random parts are left.
func (n *nemesis) powerCut(ctx context.Context) {
	select { // what was acknowledged before the fault does not count
	case <-n.c.written:
	default:
	}
	select {
	case <-n.c.written:
	case <-time.After(n.c.plan.Lasting):
	case <-ctx.Done():
	}
	keep := vfs.KeepNone
	if n.rng.IntN(4) == 0 {
		keep = vfs.KeepRandom
	}
	n.end(ctx, keep, true, n.c.Nodes...)
}

func (n *nemesis) end(ctx context.Context, keep vfs.Keep, silently bool, nodes ...*Node) {
	n.hit(nodes...)
	for _, node := range nodes {
		node.Crash(keep, silently)
	}
	n.last(ctx)
	for _, node := range nodes {
		if err := node.Start(); err != nil {
			n.c.violate("%s does not start after a crash: %v", node.id, err)
		}
	}
}

func (n *nemesis) pause(ctx context.Context, node *Node) {
	n.hit(node)
	node.Pause()
	n.last(ctx)
	node.Resume()
}

func (n *nemesis) slowDisk(ctx context.Context) {
	node := n.leader()
	n.hit(node)
	node.Disk.Slow(n.about(200 * time.Millisecond))
	n.last(ctx)
	node.Disk.Slow(n.c.plan.Sync)
}

func (n *nemesis) stalledDisk(ctx context.Context) {
	node := n.leader()
	n.hit(node)
	node.Disk.Stall()
	n.last(ctx)
	node.Disk.Resume()
}

// failingDisk makes the node end by its own decision as soon as it writes; it comes back when the disk does.
func (n *nemesis) failingDisk(ctx context.Context, fail func(*Disk)) {
	node := n.leader()
	n.hit(node)
	fail(node.Disk)
	n.last(ctx)
	node.Disk.Repair()
}

// maxDrift is within what the product promises to bear.
const maxDrift = 2 * time.Second

// clockDrift makes a clock a little wrong.
func (n *nemesis) clockDrift(ctx context.Context) {
	node := n.leader()
	n.hit(node)
	node.Clock.Set(time.Duration(n.rng.Int64N(int64(2*maxDrift))) - maxDrift)
	n.last(ctx)
	node.Clock.Set(0)
}

// clockJump moves a clock beyond all bounds.
func (n *nemesis) clockJump(ctx context.Context) {
	node := n.leader()
	n.hit(node)
	node.Clock.Set(time.Duration(n.rng.Int64N(int64(2*time.Hour))) - time.Hour)
	n.last(ctx)
	node.Clock.Set(0)
}

// recover undoes whatever is left of the faults.
func (n *nemesis) recover() {
	n.c.Net.Heal()
	n.c.Net.SetDelay(n.c.plan.Delay, n.c.plan.Jitter)
	for _, node := range n.c.Nodes {
		node.Resume()
		node.Disk.Slow(n.c.plan.Sync)
		node.Disk.Repair()
		node.Clock.Set(0)
		if node.current() == nil {
			if err := node.Start(); err != nil {
				n.c.violate("%s does not start after the faults: %v", node.id, err)
			}
		}
	}
}
