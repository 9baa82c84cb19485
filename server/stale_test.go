package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/shard"
)

func (g *group) take() (stale, proofs []api.NodeID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	stale, proofs = g.stale, g.proofs
	g.stale, g.proofs = nil, nil
	return stale, proofs
}

func staleRead(t *testing.T, s *Server, here bool, key string) (api.Item, error) {
	items, err := s.Read(t.Context(), Query{Keys: [][]byte{[]byte(key)}, MaxStaleness: time.Second, Here: here})
	if err != nil {
		return api.Item{}, err
	}
	return items[0], nil
}

func TestTheReplicaOfThisNodeAnswersByProof(t *testing.T) {
	c := newCluster(t, 1, nil) // a leads
	c.load("k", "v")
	for _, node := range nodeNames {
		for _, here := range []bool{false, true} {
			if item, err := staleRead(t, c.servers[node], here, "k"); err != nil || string(item.Value) != "v" {
				t.Fatalf("on %s: %+v, %v", node, item, err)
			}
			stale, proofs := c.groups[1].take()
			if !slices.Equal(stale, []api.NodeID{node}) {
				t.Fatalf("%v answered on %s", stale, node)
			}
			if node != "a" && !slices.Equal(proofs, []api.NodeID{"a"}) {
				t.Fatalf("%v were asked for a proof by %s", proofs, node)
			}
		}
	}
}

func TestAReplicaHasCaughtUpWhenTheLeaderSaysUpToWhere(t *testing.T) {
	c := newCluster(t, 1, nil) // a leads
	if err := c.servers["b"].CaughtUp(t.Context(), 1); err != nil {
		t.Error(err)
	}
	if stale, proofs := c.groups[1].take(); !slices.Equal(stale, []api.NodeID{"b"}) || !slices.Equal(proofs, []api.NodeID{"a"}) {
		t.Errorf("%v answered by proofs of %v", stale, proofs)
	}
	c.groups[1].set(func(g *group) { g.leader = "" })
	for _, node := range nodeNames {
		if err := c.servers[node].CaughtUp(t.Context(), 1); err == nil {
			t.Errorf("%s has caught up without a leader", node)
		}
	}
	if err := c.servers["a"].CaughtUp(t.Context(), 2); err == nil {
		t.Error("a shard that is nowhere has caught up")
	}
}

func TestANodeWithoutAReplicaPassesAStaleReadToAny(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	c.hosts[1] = []api.NodeID{"a", "b"}
	c.publish(2)
	answered := map[api.NodeID]int{}
	for range 100 {
		if item, err := staleRead(t, c.servers["c"], false, "k"); err != nil || string(item.Value) != "v" {
			t.Fatalf("%+v, %v", item, err)
		}
		stale, _ := c.groups[1].take()
		for _, node := range stale {
			answered[node]++
		}
	}
	if answered["a"] == 0 || answered["b"] == 0 || answered["a"]+answered["b"] != 100 {
		t.Fatalf("answers: %v", answered)
	}
	if _, err := staleRead(t, c.servers["c"], true, "k"); !errors.Is(err, api.ErrTooStale) {
		t.Fatalf("here, without a replica: %v", err)
	}
}

// refuse lets only some nodes prove anything.
func (g *group) onlyProves(nodes ...api.NodeID) {
	g.set(func(g *group) {
		g.proof = func(_ context.Context, node api.NodeID, s shard.Staleness) error {
			if s.Bound != time.Second {
				return fmt.Errorf("the bound is %s", s.Bound)
			}
			if !slices.Contains(nodes, node) {
				return api.Errorf(api.CodeTooStale, "%s cannot prove it", node)
			}
			return nil
		}
	})
}

func TestAnotherReplicaAnswersWhenThisOneCannotProveTheBound(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	c.groups[1].onlyProves("c")
	if item, err := staleRead(t, c.servers["b"], false, "k"); err != nil || string(item.Value) != "v" {
		t.Fatalf("%+v, %v", item, err)
	}
	if stale, _ := c.groups[1].take(); !slices.Equal(stale, []api.NodeID{"c"}) {
		t.Fatalf("%v answered", stale)
	}
	if _, err := staleRead(t, c.servers["b"], true, "k"); !errors.Is(err, api.ErrTooStale) {
		t.Fatalf("here: %v", err)
	}
}

func TestTheLeaderAnswersAStaleReadThatNobodyCanProve(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	c.groups[1].onlyProves()
	for _, node := range nodeNames {
		if item, err := staleRead(t, c.servers[node], false, "k"); err != nil || string(item.Value) != "v" {
			t.Fatalf("on %s: %+v, %v", node, item, err)
		}
		if _, err := staleRead(t, c.servers[node], true, "k"); !errors.Is(err, api.ErrTooStale) {
			t.Fatalf("here on %s: %v", node, err)
		}
	}
	if stale, _ := c.groups[1].take(); len(stale) != 0 {
		t.Fatalf("%v answered by proof", stale)
	}
}

func TestAnErrorThatIsAnAnswerEndsAStaleRead(t *testing.T) {
	c := newCluster(t, 1, nil)
	calls := 0
	c.groups[1].proof = func(context.Context, api.NodeID, shard.Staleness) error {
		calls++
		return api.Errorf(api.CodeTooLarge, "too much")
	}
	if _, err := staleRead(t, c.servers["b"], false, "k"); !errors.Is(err, api.ErrTooLarge) || calls != 1 {
		t.Fatalf("after %d tries: %v", calls, err)
	}
}

// A replica that does not answer costs the read a try, not its whole time.
func TestAReplicaThatIsSilentIsLeftForAnother(t *testing.T) {
	c := newCluster(t, 1, nil)
	c.load("k", "v")
	c.groups[1].proof = func(ctx context.Context, node api.NodeID, _ shard.Staleness) error {
		if node == "b" {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	if item, err := staleRead(t, c.servers["b"], false, "k"); err != nil || string(item.Value) != "v" {
		t.Fatalf("%+v, %v", item, err)
	}
}

func TestStaleReadsOfSeveralShardsAndScans(t *testing.T) {
	c := newCluster(t, 3, nil)
	var keys [][]byte
	for i := range 60 {
		key := fmt.Sprintf("key-%02d", i)
		keys = append(keys, []byte(key))
		c.load(key, "v")
	}
	items, err := c.servers["b"].Read(t.Context(), Query{Keys: keys, MaxStaleness: time.Second, Here: true})
	if err != nil || len(items) != 60 {
		t.Fatal(len(items), err)
	}
	for i, item := range items {
		if !item.Found || string(item.Key) != string(keys[i]) {
			t.Fatalf("item %d: %+v", i, item)
		}
	}
	for id, g := range c.groups {
		if stale, _ := g.take(); !slices.Equal(stale, []api.NodeID{"b"}) {
			t.Fatalf("shard %d: %v answered", id, stale)
		}
	}
	n := 0
	for item, err := range c.servers["b"].Scan(t.Context(), api.Range{MaxStaleness: time.Second}) {
		if err != nil || string(item.Key) != string(keys[n]) {
			t.Fatalf("item %d: %+v, %v", n, item, err)
		}
		n++
	}
	for id, g := range c.groups {
		if stale, _ := g.take(); n != 60 || len(stale) == 0 || slices.ContainsFunc(stale, func(n api.NodeID) bool { return n != "b" }) {
			t.Fatalf("%d items; shard %d: %v answered", n, id, stale)
		}
	}
}

func TestQueriesThatMakeNoSenseAreRefused(t *testing.T) {
	s := newCluster(t, 1, nil).servers["a"]
	keys := [][]byte{[]byte("k")}
	for name, q := range map[string]Query{
		"here without a bound": {Keys: keys, Here: true},
		"a negative bound":     {Keys: keys, MaxStaleness: -1},
	} {
		if _, err := s.Read(t.Context(), q); !errors.Is(err, api.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, err := range s.Scan(t.Context(), api.Range{MaxStaleness: -1}) {
		if !errors.Is(err, api.ErrInvalid) {
			t.Errorf("scan: %v", err)
		}
	}
}
