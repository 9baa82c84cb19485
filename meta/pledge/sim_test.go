package pledge

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/entropy"
	"github.com/lightning-db/lightning/internal/vfs"
)

// world is a deterministic simulation: nodes with disks that crash, and a network that drops,
// repeats, delays and reorders. Everything but the goroutines of ask is the real code.
type world struct {
	rng      *rand.Rand
	random   io.Reader
	nodes    []*simNode
	network  []packet
	faults   bool
	made     int // ids given out
	crashes  int
	everHeld map[string]map[api.NodeID]bool // nodes that held a pledge, by its cluster id
	formed   map[string]Cluster             // every cluster that some founder recorded
	voided   map[string]bool                // pledges that a node gave up for another cluster
	crashAt  int                            // crash at this mutating call of all, 0: by chance
	keep     vfs.Keep
	calls    int
}

type simNode struct {
	id     api.NodeID
	expect int
	disk   *vfs.Mem
	store  *Store
	former former
	// The round under way.
	asking  bool
	round   int
	state   State
	seen    []Seen
	answers map[api.NodeID]State
	pledge  *Pledge // as observed, to see that it never changes
	cluster *Cluster
}

type packet struct {
	from, to api.NodeID
	round    int
	pledge   *Pledge // of a request: nil asks to show
	answer   *State  // of an answer
}

func newWorld(seed uint64) *world {
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	return &world{
		rng: rand.New(rand.NewPCG(seed, 1)), random: rand.NewChaCha8(key), faults: true,
		everHeld: map[string]map[api.NodeID]bool{}, formed: map[string]Cluster{}, voided: map[string]bool{},
	}
}

func (w *world) add(expect int) *simNode {
	n := &simNode{expect: expect}
	w.nodes = append(w.nodes, n)
	w.wipe(n)
	return n
}

// wipe gives n an empty disk and with it a new identity.
func (w *world) wipe(n *simNode) {
	w.made++
	// The order of ids must not be the order of starts.
	n.id = api.NodeID(fmt.Sprintf("%04d-%d", w.rng.IntN(10000), w.made))
	n.pledge, n.cluster = nil, nil
	w.boot(n, vfs.NewMem())
}

func (w *world) boot(n *simNode, disk *vfs.Mem) {
	if err := disk.MkdirAll("data"); err != nil {
		panic(err)
	}
	store, err := OpenStore(disk, "data", n.id, "name", n.expect)
	if err != nil {
		panic(fmt.Sprintf("node %s does not open after a crash: %v", n.id, err))
	}
	n.disk, n.store, n.asking = disk, store, false
	n.round += 1000 // answers to the former process are not for this one
	n.former = former{o: FormOptions{Store: store, Entropy: entropy.From(w.random), Logger: slog.New(slog.DiscardHandler)}}
}

func (w *world) node(id api.NodeID) *simNode {
	for _, n := range w.nodes {
		if n.id == id {
			return n
		}
	}
	return nil
}

// during runs f on n's disk, and perhaps kills n in the middle. It reports whether n survived.
func (w *world) during(n *simNode, f func()) bool {
	var clone *vfs.Mem
	countdown := -1
	if w.faults && w.crashAt == 0 && w.rng.IntN(3) == 0 {
		countdown = w.rng.IntN(6)
	}
	n.disk.OnCall(func(vfs.Op, string) {
		w.calls++
		if clone == nil && (countdown == 0 || w.calls == w.crashAt) {
			clone = n.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: w.keepNow(), Rand: w.rng})
		}
		countdown--
	})
	f()
	n.disk.OnCall(nil)
	if clone == nil {
		w.observe(n)
		return true
	}
	w.crashes++
	w.boot(n, clone)
	w.observe(n)
	return false
}

func (w *world) keepNow() vfs.Keep {
	if w.crashAt > 0 {
		return w.keep
	}
	return vfs.Keep(w.rng.IntN(3))
}

// observe checks the invariants after something happened at n.
func (w *world) observe(n *simNode) {
	s := n.store.State()
	if n.pledge != nil && (s.Pledge == nil || !s.Pledge.Equal(*n.pledge)) {
		panic(fmt.Sprintf("node %s held %v, now %v (B1)", n.id, n.pledge, s.Pledge))
	}
	if s.Pledge != nil {
		n.pledge = s.Pledge
		if w.everHeld[s.Pledge.ClusterID] == nil {
			w.everHeld[s.Pledge.ClusterID] = map[api.NodeID]bool{}
		}
		w.everHeld[s.Pledge.ClusterID][n.id] = true
	}
	if n.cluster != nil && (s.Cluster == nil || s.Cluster.ID != n.cluster.ID) {
		panic(fmt.Sprintf("node %s belonged to %v, now %v (B2)", n.id, n.cluster, s.Cluster))
	}
	if s.Cluster == nil || n.cluster != nil {
		return
	}
	n.cluster = s.Cluster
	if !s.Cluster.FoundedBy(n.id) {
		if _, ok := w.formed[s.Cluster.ID]; !ok {
			panic(fmt.Sprintf("node %s joined %s, which has not formed", n.id, s.Cluster.ID))
		}
		if s.Pledge != nil {
			w.voided[s.Pledge.ClusterID] = true
		}
		return
	}
	for _, founder := range s.Cluster.Founders {
		if !w.everHeld[s.Cluster.ID][founder] {
			panic(fmt.Sprintf("node %s formed %s before %s held it (B3)", n.id, s.Cluster.ID, founder))
		}
		// What it holds must be on its disk, not only in its memory.
		if f := w.node(founder); f != nil {
			durable, err := OpenStore(f.disk.CrashClone(vfs.CrashOptions{}), "data", f.id, "", 0)
			if err != nil || durable.State().Pledge == nil || durable.State().Pledge.ClusterID != s.Cluster.ID {
				panic(fmt.Sprintf("founder %s of %s holds its pledge in memory only (B2): %v", founder, s.Cluster.ID, err))
			}
		}
	}
	w.formed[s.Cluster.ID] = *s.Cluster
	for id, other := range w.formed {
		for _, founder := range other.Founders {
			if id != s.Cluster.ID && s.Cluster.FoundedBy(founder) {
				panic(fmt.Sprintf("node %s founded %s and %s (B3)", founder, id, s.Cluster.ID))
			}
		}
	}
	for id := range w.voided {
		if _, ok := w.formed[id]; ok {
			panic(fmt.Sprintf("cluster %s formed after a node gave up its pledge", id))
		}
	}
}

// step lets one thing happen.
func (w *world) step() {
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	switch w.rng.IntN(10) {
	case 0, 1:
		w.begin(n)
	case 2:
		w.finish(n)
	case 3:
		if w.faults && len(w.network) > 0 && w.rng.IntN(3) == 0 {
			at := w.rng.IntN(len(w.network))
			w.network = slices.Delete(w.network, at, at+1)
		}
	default:
		if len(w.network) > 0 {
			w.deliver(w.rng.IntN(len(w.network)))
		}
	}
}

// view is what gossip shows n: everybody, or with faults some, and some that are no more.
func (w *world) view(n *simNode) []Seen {
	var seen []Seen
	for _, other := range w.nodes {
		if w.faults && w.rng.IntN(5) == 0 {
			continue
		}
		seen = append(seen, Seen{Node: other.id, Expect: other.expect, Joined: other.cluster != nil})
	}
	if w.faults && w.rng.IntN(20) == 0 {
		seen = append(seen, Seen{Node: "gone", Expect: n.expect})
	}
	return seen
}

// begin is the first half of former.round.
func (w *world) begin(n *simNode) {
	if n.asking {
		return
	}
	n.state, n.seen = n.store.State(), w.view(n)
	if n.state.Cluster != nil {
		return
	}
	n.round++
	n.asking, n.answers = true, map[api.NodeID]State{}
	for _, to := range n.former.whom(n.state, n.seen) {
		w.network = append(w.network, packet{from: n.id, to: to, round: n.round, pledge: n.state.Pledge})
	}
}

// finish is the second half of former.round, with the answers that came in time.
func (w *world) finish(n *simNode) {
	if !n.asking {
		return
	}
	n.asking = false
	w.during(n, func() {
		v := judge(n.state, n.seen, n.answers)
		if _, _, err := n.former.act(n.state, v); err != nil {
			panic(fmt.Sprintf("node %s: %v", n.id, err))
		}
	})
}

func (w *world) deliver(at int) {
	p := w.network[at]
	if !w.faults || w.rng.IntN(8) > 0 { // else it will come once more
		w.network = slices.Delete(w.network, at, at+1)
	}
	n := w.node(p.to)
	if n == nil {
		return
	}
	if p.answer != nil {
		if n.asking && p.round == n.round {
			n.answers[p.from] = *p.answer
		}
		return
	}
	var answer State
	survived := w.during(n, func() {
		if p.pledge == nil {
			answer = n.store.State()
			return
		}
		var err error
		if answer, err = n.store.Pledge(*p.pledge); err != nil {
			panic(fmt.Sprintf("node %s: %v", n.id, err))
		}
	})
	if survived && len(w.network) < 200 {
		w.network = append(w.network, packet{from: n.id, to: p.from, round: p.round, answer: &answer})
	}
}

// settle ends the faults and runs on until every node belongs to a cluster.
func (w *world) settle() bool {
	w.faults, w.crashAt = false, 0
	for range 20000 {
		w.step()
		done := true
		for _, n := range w.nodes {
			done = done && n.store.State().Cluster != nil
		}
		if done {
			return true
		}
	}
	return false
}

func guarded(t *testing.T, name string, f func()) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			t.Fatalf("%s: %v", name, p)
		}
	}()
	f()
}

// schedules is for each of the two simulations; go test -schedules 100000 takes minutes.
var schedules = flag.Int("schedules", 2500, "schedules to simulate")

// TestExactlyNStrangersFormOneClusterDespiteFaults runs N nodes through crashes and a bad network,
// then lets them finish.
func TestExactlyNStrangersFormOneClusterDespiteFaults(t *testing.T) {
	crashes := 0
	for seed := range uint64(*schedules) {
		guarded(t, fmt.Sprintf("seed %d", seed), func() {
			w := newWorld(seed)
			n := 1 + int(seed%5)
			for range n {
				w.add(n)
			}
			for range 150 {
				w.step()
			}
			if !w.settle() {
				panic("not every node belongs to a cluster")
			}
			if len(w.formed) != 1 {
				panic(fmt.Sprintf("%d clusters", len(w.formed)))
			}
			crashes += w.crashes
		})
	}
	if crashes < *schedules/2 {
		t.Errorf("only %d crashes in %d schedules: the test has lost its teeth", crashes, *schedules)
	}
}

// TestTooManyOrChangingStrangersNeverFormTwoOverlappingClusters adds surplus nodes, wiped disks,
// nodes that only join and nodes that expect another number. They may get stuck, as documented.
func TestTooManyOrChangingStrangersNeverFormTwoOverlappingClusters(t *testing.T) {
	formed, stuck, joined := 0, 0, 0
	for seed := range uint64(*schedules) {
		guarded(t, fmt.Sprintf("seed %d", seed), func() {
			w := newWorld(seed + 1<<20)
			n := 2 + int(seed%2)
			for range n + w.rng.IntN(4) {
				w.add(n)
			}
			if w.rng.IntN(3) == 0 {
				w.add(0)
			}
			if w.rng.IntN(3) == 0 {
				w.add(n + 1)
			}
			for range 250 {
				w.step()
				switch node := w.nodes[w.rng.IntN(len(w.nodes))]; w.rng.IntN(400) {
				case 0, 1:
					w.wipe(node)
				case 2: // restarted with another --bootstrap-expect
					node.expect = w.rng.IntN(4)
					w.boot(node, node.disk)
				}
			}
			formed += len(w.formed)
			for _, node := range w.nodes {
				switch {
				case node.cluster == nil:
					stuck++
				case !node.cluster.FoundedBy(node.id):
					joined++
				}
			}
		})
	}
	if formed < *schedules/4 || joined < *schedules/10 || stuck == 0 {
		t.Errorf("%d clusters formed, %d nodes joined, %d stuck: the schedules do not reach what they should", formed, joined, stuck)
	}
}

// TestACrashAtAnyWriteIsResumed crashes one node at each mutating call of a run in turn, with each
// kind of disk.
func TestACrashAtAnyWriteIsResumed(t *testing.T) {
	for _, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepRandom, vfs.KeepAll} {
		for crashAt := 1; ; crashAt++ {
			var w *world
			guarded(t, fmt.Sprintf("crash at call %d, keep %d", crashAt, keep), func() {
				w = newWorld(7)
				w.faults, w.crashAt, w.keep = true, crashAt, keep
				for range 3 {
					w.add(3)
				}
				for range 400 {
					w.step()
				}
				if !w.settle() || len(w.formed) != 1 {
					panic("no cluster")
				}
			})
			if w.crashes == 0 {
				if crashAt < 20 {
					t.Errorf("only %d calls to crash at", crashAt)
				}
				break
			}
		}
	}
}
