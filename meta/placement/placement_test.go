package placement

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
)

func nodes(n int) []api.NodeID {
	out := make([]api.NodeID, n)
	for i := range out {
		out[i] = api.NodeID(fmt.Sprintf("node-%02d", i))
	}
	return out
}

func spread(counts map[api.NodeID]int, nodes []api.NodeID) int {
	low, high := 1<<30, 0
	for _, n := range nodes {
		low, high = min(low, counts[n]), max(high, counts[n])
	}
	return high - low
}

// TestPlacementHoldsItsInvariants tries every small size for L2, L3 and L4.
func TestPlacementHoldsItsInvariants(t *testing.T) {
	for n := 1; n <= 12; n++ {
		for count := 1; count <= 40; count++ {
			shards := Shards("cluster", nodes(n), count)
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
			if spread(held, nodes(n)) > 1 || spread(first, nodes(n)) > 1 {
				t.Fatalf("%d nodes, %d shards: replicas %v, first replicas %v are not balanced (L4)", n, count, held, first)
			}
		}
	}
}

func TestPlacementDoesNotDependOnTheOrderOfNodes(t *testing.T) {
	const seed = 1
	rng := rand.New(rand.NewPCG(seed, seed))
	for range 200 {
		n, count := 1+rng.IntN(10), 1+rng.IntN(20)
		sorted := nodes(n)
		shuffled := slices.Clone(sorted)
		rng.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		a, b := Shards("c", sorted, count), Shards("c", shuffled, count)
		if fmt.Sprint(a) != fmt.Sprint(b) {
			t.Fatalf("seed %d: %d nodes, %d shards (L1):\n%v\n%v", seed, n, count, a, b)
		}
		if fmt.Sprint(MetaVoters("c", sorted)) != fmt.Sprint(MetaVoters("c", shuffled)) {
			t.Fatalf("seed %d: voters of %d nodes depend on their order (L1)", seed, n)
		}
	}
}

func TestMetaVotersAreThreeThenFive(t *testing.T) {
	for n, want := range map[int]int{1: 1, 2: 2, 3: 3, 4: 3, 5: 5, 6: 5, 20: 5} {
		voters := MetaVoters("c", nodes(n))
		if len(voters) != want || !slices.IsSorted(voters) {
			t.Errorf("voters of %d nodes: %v, expected %d", n, voters, want)
		}
	}
}

// TestPlacementNeverChanges holds placements that clusters may already have computed (L1).
func TestPlacementNeverChanges(t *testing.T) {
	for _, c := range []struct {
		nodes, shards int
		want          string
	}{
		{1, 1, "[0, 16384) 00"},
		{3, 3, "[0, 5461) 01 02 00; [5461, 10922) 02 01 00; [10922, 16384) 00 01 02"},
		{5, 4, "[0, 4096) 02 04 01; [4096, 8192) 03 00 02; [8192, 12288) 00 01 03; [12288, 16384) 04 02 00"},
	} {
		var b strings.Builder
		for _, s := range Shards("golden", nodes(c.nodes), c.shards) {
			fmt.Fprintf(&b, "%s", s.Arc)
			for _, r := range s.Replicas {
				fmt.Fprintf(&b, " %s", strings.TrimPrefix(string(r), "node-"))
			}
			b.WriteString("; ")
		}
		if got := strings.TrimSuffix(b.String(), "; "); got != c.want {
			t.Errorf("%d nodes, %d shards:\n got %q\nwant %q", c.nodes, c.shards, got, c.want)
		}
	}
	if got := fmt.Sprint(MetaVoters("golden", nodes(7))); got != "[node-01 node-02 node-03 node-05 node-06]" {
		t.Errorf("voters of 7 nodes: %s", got)
	}
}
