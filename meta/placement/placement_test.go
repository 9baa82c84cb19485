package placement

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

var rewrite = flag.Bool("rewrite", false, "write the drawings in testdata anew")

// golden compares a drawing with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s has changed; look at it, then write it anew with -rewrite:\n%s", file, got)
	}
}

// nodes makes n nodes, spread over zones in turn when there are zones.
func nodes(n, zones int) []Node {
	out := make([]Node, n)
	for i := range out {
		out[i] = node(i, zones)
	}
	return out
}

func node(i, zones int) Node {
	n := Node{ID: api.NodeID(fmt.Sprintf("node-%02d", i))}
	if zones > 0 {
		n.Zone = string(rune('a' + i%zones))
	}
	return n
}

func ids(nodes []Node) []api.NodeID {
	var out []api.NodeID
	for _, n := range nodes {
		out = append(out, n.ID)
	}
	return out
}

func spread(counts map[api.NodeID]int, nodes []Node) int {
	low, high := 1<<30, 0
	for _, n := range nodes {
		low, high = min(low, counts[n.ID]), max(high, counts[n.ID])
	}
	return high - low
}

// TestPlacementHoldsItsInvariants tries every small size for L2, L3 and L4.
func TestPlacementHoldsItsInvariants(t *testing.T) {
	for n := 1; n <= 12; n++ {
		for count := 1; count <= 40; count++ {
			shards := Shards("cluster", 3, nodes(n, 0), count)
			held, first := map[api.NodeID]int{}, map[api.NodeID]int{}
			next := uint32(0)
			for i, s := range shards {
				if s.Arc.Start != next || s.Arc.Validate() != nil {
					t.Fatalf("%d nodes, %d shards: arc %d is %s, expected start %d (L2)", n, count, i, s.Arc, next)
				}
				next = s.Arc.End
				if want := min(3, n); len(s.Replicas) != want {
					t.Fatalf("%d nodes, %d shards: %d replicas (L3)", n, count, len(s.Replicas))
				}
				if len(slices.Compact(slices.Sorted(slices.Values(s.Replicas)))) != len(s.Replicas) {
					t.Fatalf("%d nodes, %d shards: replicas %v are not distinct (L3)", n, count, s.Replicas)
				}
				for _, r := range s.Replicas {
					held[r]++
				}
				first[s.Replicas[0]]++
			}
			if next != api.SlotCount {
				t.Fatalf("%d shards end at slot %d (L2)", count, next)
			}
			if spread(held, nodes(n, 0)) > 1 || spread(first, nodes(n, 0)) > 1 {
				t.Fatalf("%d nodes, %d shards: replicas %v, first replicas %v are not balanced (L4)", n, count, held, first)
			}
		}
	}
}

func TestPlacementDoesNotDependOnTheOrderOfNodes(t *testing.T) {
	rng := testkit.Rand(t)
	for range 100 {
		n, count := 1+rng.IntN(10), 1+rng.IntN(20)
		sorted := nodes(n, rng.IntN(4))
		shuffled := slices.Clone(sorted)
		rng.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		a, b := Shards("c", 3, sorted, count), Shards("c", 3, shuffled, count)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("%d nodes, %d shards (L1):\n%v\n%v", n, count, a, b)
		}
		if fmt.Sprint(MetaVoters("c", ids(sorted))) != fmt.Sprint(MetaVoters("c", ids(shuffled))) {
			t.Fatalf("voters of %d nodes depend on their order (L1)", n)
		}
	}
}

func TestMetaVotersAreThreeThenFive(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 3, 5: 5, 6: 5, 20: 5} {
		voters := MetaVoters("c", ids(nodes(n, 0)))
		if len(voters) != want || !slices.IsSorted(voters) {
			t.Errorf("voters of %d nodes: %v, expected %d", n, voters, want)
		}
	}
}

// draw shows which node holds which shard: L is to lead, + is another replica.
func draw(nodes []Node, shards []Shard) string {
	var b strings.Builder
	for _, n := range nodes {
		held, led := 0, 0
		fmt.Fprintf(&b, "%s %-2s weight %3d  ", n.ID, n.Zone, max(n.Weight, 1))
		for _, s := range shards {
			switch at := slices.Index(s.Replicas, n.ID); {
			case at == 0:
				b.WriteByte('L')
				held, led = held+1, led+1
			case at > 0:
				b.WriteByte('+')
				held++
			default:
				b.WriteByte('.')
			}
		}
		fmt.Fprintf(&b, "  %d replicas, leads %d\n", held, led)
	}
	return b.String()
}

// TestPlacementNeverChanges holds placements that clusters may already have computed (L1).
func TestPlacementNeverChanges(t *testing.T) {
	var b strings.Builder
	for _, c := range []struct {
		nodes, zones, shards, replication int
		weights                           []int
	}{
		{1, 0, 1, 3, []int{100}},
		{3, 0, 3, 3, []int{100}},
		{5, 0, 5, 3, []int{100}},
		{6, 3, 16, 3, []int{100}},
		{6, 3, 16, 3, []int{300, 100, 100, 100, 100, 100}},
		{5, 2, 16, 3, []int{100}},
		{7, 5, 16, 5, []int{100, 50}},
		{4, 0, 12, 1, []int{100, 200}},
	} {
		all := nodes(c.nodes, c.zones)
		for i := range all {
			all[i].Weight = c.weights[i%len(c.weights)]
		}
		fmt.Fprintf(&b, "%d nodes, %d zones, %d shards, %d replicas of each\n%s\n", c.nodes, c.zones, c.shards, c.replication,
			draw(all, Shards("golden", c.replication, all, c.shards)))
	}
	fmt.Fprintf(&b, "voters of the map among 7 nodes: %s\n", MetaVoters("golden", ids(nodes(7, 0))))
	golden(t, "placement.txt", b.String())
}

// TestClaimsFollowWeights: of many groups, a node of twice the weight has the strongest claim to twice
// as many.
func TestClaimsFollowWeights(t *testing.T) {
	all := nodes(4, 0)
	sum := 0
	for i := range all {
		all[i].Weight = 100 * (i + 1)
		sum += all[i].Weight
	}
	const groups = 20_000
	won := map[api.NodeID]int{}
	for g := range int64(groups) {
		won[strongest("c", all, g)[0]]++
	}
	for _, n := range all {
		share := float64(n.Weight) / float64(sum)
		if off := math.Abs(float64(won[n.ID])/groups - share); off > 0.012 { // four standard deviations
			t.Errorf("%s of weight %d won %d of %d", n.ID, n.Weight, won[n.ID], groups)
		}
	}
}

func TestLog2IsALogarithm(t *testing.T) {
	rng := testkit.Rand(t)
	for range 10_000 {
		x := rng.Uint64() >> rng.IntN(64)
		want := math.Log2(float64(max(x, 1)))
		if got := float64(log2(x)) / (1 << logBits); math.Abs(got-want) > 1e-6 {
			t.Fatalf("log2(%d) = %v, expected %v", x, got, want)
		}
	}
	if log2(1<<63) != 63<<logBits || log2(1) != 0 || log2(math.MaxUint64) != 64<<logBits-1 {
		t.Errorf("at the ends: %d %d %d", log2(1<<63), log2(1), log2(math.MaxUint64))
	}
}
