package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

// living is a cluster whose replicas move: the groups remember where they are.
type living struct {
	replication int
	nodes       []Node
	groups      []Group
}

func settle(replication int, nodes []Node, shards int) *living {
	c := &living{replication: replication, nodes: nodes}
	for i, s := range Shards("cluster", replication, nodes, shards) {
		c.groups = append(c.groups, Group{Key: int64(i) + 1, Replicas: s.Replicas})
	}
	return c
}

func (c *living) layout() *Layout { return NewLayout("cluster", c.replication, c.nodes, c.groups) }

// next moves a replica out of a crowded zone, or one that makes nodes more even.
func (c *living) next() (Move, bool) {
	l := c.layout()
	for g := range c.groups {
		if from, crowded := l.Crowded(g); crowded {
			if to, ok := l.BestApart(g); ok {
				return Move{Group: g, From: from, To: to}, true
			}
		}
	}
	return l.Balance()
}

// balance moves one replica at a time with a new layout for each, until no move is left.
func (c *living) balance(t testing.TB) []Move {
	t.Helper()
	var moves []Move
	for {
		m, ok := c.next()
		if !ok {
			return moves
		}
		replicas := slices.Clone(c.groups[m.Group].Replicas)
		replicas[slices.Index(replicas, m.From)] = m.To
		c.groups[m.Group].Replicas = replicas
		if moves = append(moves, m); len(moves) > 2*len(c.groups)*c.replication+10 {
			t.Fatalf("%d moves and no end: %+v", len(moves), moves[len(moves)-6:])
		}
	}
}

// fill gives every group its number of replicas.
func (c *living) fill(t testing.TB) {
	t.Helper()
	l := c.layout()
	for g := range c.groups {
		for len(c.groups[g].Replicas) < l.replication {
			best, ok := l.Best(g)
			if !ok {
				t.Fatalf("no node for group %d", g)
			}
			l.Place(g, best)
			c.groups[g].Replicas = append(slices.Clone(c.groups[g].Replicas), best)
		}
	}
}

// remove takes a node away and places its replicas again; it returns how many it had.
func (c *living) remove(t testing.TB, id api.NodeID) int {
	t.Helper()
	c.nodes = slices.DeleteFunc(slices.Clone(c.nodes), func(n Node) bool { return n.ID == id })
	held := 0
	for g := range c.groups {
		c.groups[g].Replicas = slices.Clone(c.groups[g].Replicas)
		if at := slices.Index(c.groups[g].Replicas, id); at >= 0 {
			held++
			c.groups[g].Replicas = slices.Delete(c.groups[g].Replicas, at, at+1)
		}
	}
	c.fill(t)
	return held
}

func (c *living) check(t testing.TB, when string) {
	t.Helper()
	l := c.layout()
	for _, s := range l.Stands() {
		if s.Replicas < s.Least || s.Replicas > s.Most {
			t.Fatalf("%s: %s holds %d replicas, expected %d to %d (share %d/1000) (L5):\n%s", when, s.Node, s.Replicas, s.Least, s.Most, s.Share, c.draw())
		}
	}
	for g := range c.groups {
		if id, crowded := l.Crowded(g); crowded {
			t.Fatalf("%s: group %d is crowded at %s (L6):\n%s", when, g, id, c.draw())
		}
		if got := len(l.Holders(g)); got != l.replication {
			t.Fatalf("%s: group %d has %d replicas (L3)", when, g, got)
		}
	}
}

func (c *living) draw() string {
	shards := make([]Shard, len(c.groups))
	for i, g := range c.groups {
		shards[i].Replicas = g.Replicas
	}
	return draw(c.nodes, shards)
}

func (c *living) share(id api.NodeID) int64 {
	for _, s := range c.layout().Stands() {
		if s.Node == id {
			return s.Share
		}
	}
	return 0
}

// grow adds a node, balances, and returns the number of moves. Each goes to the new node, and there
// are no more than its fair share and a tenth. With weights and zones that are uneven the share is rounded
// up to a multiple of extra, others may move a replica for each node, and crowded zones lose what they must.
func (c *living) grow(t testing.TB, n Node, extra int64) int {
	t.Helper()
	c.nodes = append(slices.Clone(c.nodes), n)
	c.fill(t)
	moves := c.balance(t)
	when := fmt.Sprintf("%d to %d nodes, %d groups, %d replicas", len(c.nodes)-1, len(c.nodes), len(c.groups), c.replication)
	if extra > 0 { // what leaves a crowded zone does not count
		moves = slices.DeleteFunc(moves, func(m Move) bool { return m.FromFill == 0 })
	}
	others := slices.DeleteFunc(slices.Clone(moves), func(m Move) bool { return m.To == n.ID })
	if len(others) > 0 && extra == 0 || len(others) > len(c.nodes) {
		t.Fatalf("%s: %d replicas go to nodes that are not new (L7): %+v", when, len(others), others)
	}
	fair := c.share(n.ID)
	if extra > 0 {
		fair = max(fair, (fair+extra-1)/extra*extra)
	}
	if int64(len(moves)-len(others))*one*10 > fair*11 {
		t.Fatalf("%s: %d moves are more than the fair share of %d/1000 and a tenth (L7)", when, len(moves), fair)
	}
	c.check(t, when)
	return len(moves)
}

// TestGrowthMovesTheFairShare grows clusters from 3 to 50 nodes; the golden file has what moved.
func TestGrowthMovesTheFairShare(t *testing.T) {
	var b strings.Builder
	for _, kind := range []struct{ shards, zones int }{{3, 0}, {64, 0}, {64, 3}, {256, 5}} {
		fmt.Fprintf(&b, "%d shards, %d zones: nodes, moves/fair share\n", kind.shards, kind.zones)
		c := settle(3, nodes(3, kind.zones), kind.shards)
		for n := 3; n < 50; n++ {
			moves := c.grow(t, node(n, kind.zones), 0)
			fmt.Fprintf(&b, "%3d %3d/%-7.2f", n+1, moves, float64(c.share(node(n, 0).ID))/one)
			if n%6 == 2 || n == 49 {
				b.WriteByte('\n')
			}
		}
		b.WriteByte('\n')
	}
	golden(t, "growth.txt", b.String())
}

// anyCluster has uneven weights half of the time, and zones of uneven sizes.
func anyCluster(rng *rand.Rand, most int) *living {
	zones := max(0, rng.IntN(8)-2)
	all := nodes(3+rng.IntN(most-2), zones)
	uneven := rng.IntN(2) == 0
	for i := range all {
		if zones > 0 && rng.IntN(3) == 0 {
			all[i].Zone = string(rune('a' + rng.IntN(zones)))
		}
		if uneven {
			all[i].Weight = []int{50, 100, 100, 200, 400}[rng.IntN(5)]
		}
	}
	return settle([]int{1, 3, 3, 5}[rng.IntN(4)], all, []int{3, 8, 64}[rng.IntN(3)])
}

// TestAnyClusterIsEvenAfterGrowth: whatever the weights and zones, a new node gets its share.
func TestAnyClusterIsEvenAfterGrowth(t *testing.T) {
	rng := testkit.Rand(t)
	for range 60 {
		c := anyCluster(rng, 20)
		c.check(t, "at first")
		n := node(len(c.nodes), 0)
		n.Zone = c.nodes[rng.IntN(len(c.nodes))].Zone
		n.Weight = []int{50, 100, 200}[rng.IntN(3)]
		c.grow(t, n, one)
	}
}

// TestRemovalMovesOnlyWhatWasThere: of the others, for balance, at most one for each node and a quarter as
// many. Where there are zones a node that goes may change how many replicas each zone holds, and more moves.
func TestRemovalMovesOnlyWhatWasThere(t *testing.T) {
	rng := testkit.Rand(t)
	for range 60 {
		c := anyCluster(rng, 20)
		held := c.remove(t, c.nodes[rng.IntN(len(c.nodes))].ID)
		moves := c.balance(t)
		c.check(t, "after a removal")
		if c.nodes[0].Zone == "" && len(moves) > len(c.nodes)+held/4 {
			t.Errorf("%d replicas were on the node, and %d others moved (L7):\n%s", held, len(moves), c.draw())
		}
	}
}
