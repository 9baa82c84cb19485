package raft

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

func sixteen(c *testCluster) {
	c.groups = nil
	for id := range GroupID(16) {
		c.groups = append(c.groups, id)
	}
}

// led counts the groups that n leads and is ready for.
func (n *testNode) led() (count int) {
	for _, g := range n.groups {
		if g.IsReadyLeader() {
			count++
		}
	}
	return count
}

func TestANodeHandsAllItsGroupsOverAtOnceAndGoesOnServing(t *testing.T) {
	c := newTestCluster(t, 3, sixteen)
	for id := range GroupID(16) {
		c.write(id, "a", "1")
	}
	var n *testNode
	testkit.Eventually(t, patience, func() bool {
		for _, name := range c.names {
			if c.nodes[name].led() > 16/3 {
				n = c.nodes[name]
			}
		}
		return n != nil
	}, "no node leads a third of the groups")
	if err := n.host.HandOver(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	for id, g := range n.groups {
		if leader, _ := g.Leader(); leader == "" || leader == g.Replica().Node {
			t.Errorf("group %s is led by %q", id, leader)
		}
		c.write(id, "a", "2", names(c.others(n))...)
		testkit.Eventually(t, patience, func() bool { return n.machines[id].get("a") == "2" }, "group %s does not go on here", id)
	}
}

func TestAHandOverWithoutAPeerEndsWithItsContextAndLeavesALeader(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	leader := c.leader(7)
	for _, o := range c.others(leader) {
		o.crash()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := leader.host.HandOver(ctx); err == nil && leader.groups[7].current.Load().raft.State().String() == "Leader" {
		t.Fatal("handed over to nobody")
	}
	c.others(leader)[0].start()
	c.write(7, "a", "2")
}

func TestTheOnlyVoterKeepsItsGroups(t *testing.T) {
	c := newTestCluster(t, 1)
	c.write(7, "a", "1")
	if err := c.leader(7).host.HandOver(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	c.write(7, "a", "2")
}

// TestALeaderThatATransferWedgedTakesProposalsAgain: two transfers to a follower that is away leave the
// library waiting for an answer that never comes, and refusing every proposal meanwhile.
func TestALeaderThatATransferWedgedTakesProposalsAgain(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	leader := c.leader(7)
	away, other := c.others(leader)[0], c.others(leader)[1]
	replica := away.groups[7].Replica().String()
	away.crash()
	c.write(7, "a", "2", leader.name) // away lags now, so a transfer waits for it
	i := leader.groups[7].current.Load()
	testkit.Eventually(t, patience, func() bool { return !leader.host.mux.Connected(api.NodeID(away.name)) }, "still connected")
	// The first transfer leaves a request that nobody takes, the next one waits behind it for ever, unless the library
	// was just trying to reach the follower and took the first. So there are more until one is stuck; the library
	// refuses another while it works on one.
	testkit.Eventually(t, patience, func() bool {
		if leader.groups[7].current.Load() != i {
			return true
		}
		// A transfer also ends well when the restart takes the leadership away.
		if result, ok := i.transfer(replica); ok && <-result == nil && i.raft.State() == hraft.Leader {
			t.Fatal("transferred to a replica that is away")
		}
		return false
	}, "the group does not restart")
	c.write(7, "a", "3", leader.name, other.name)
	away.start()
	c.converge(7, "a", "3")
}

func TestLeadershipReturnsToThePreferredNode(t *testing.T) {
	c := newTestCluster(t, 3, sixteen, func(c *testCluster) {
		c.preferred = func(id GroupID) string { return []string{"n1", "n2", "n3"}[id%3] }
	})
	atHome := func() bool {
		for _, n := range c.nodes {
			for id, g := range n.groups {
				if g.Preferred() != (c.preferred(id) == n.name) || g.IsReadyLeader() != g.Preferred() {
					return false
				}
			}
		}
		return true
	}
	testkit.Eventually(t, 2*patience, atHome, "the groups are not led where they should be")
	n := c.nodes["n2"]
	n.stop()
	for id := range GroupID(16) {
		c.write(id, "a", "1", "n1", "n3")
	}
	n.start()
	testkit.Eventually(t, 2*patience, atHome, "the groups did not come back")
	if s := n.groups[1].Status(); !s.Preferred || !s.Ready {
		t.Fatalf("%+v", s)
	}
}

// TestAPreferredNodeThatDoesNotKeepAGroupGetsItBackEverLater makes no transfer: it drives what one replica
// remembers.
func TestAPreferredNodeThatDoesNotKeepAGroupGetsItBackEverLater(t *testing.T) {
	h := &Host{opts: HostOptions{}.withDefaults()}
	i := &instance{group: &Group{host: h}}
	other := api.NodeID("other")
	i.group.preferred.Store(&other)
	var l leadership
	i.startLooking(&l)
	if l.look == nil || i.group.spread.patience != spreadPatience {
		t.Fatalf("begins with %+v", i.group.spread)
	}
	last := spreadPatience
	for range 20 {
		i.group.spread.given = h.looks.Add(1)
		h.looks.Add(looksPerTimeout) // and soon it leads again
		i.startLooking(&l)
		if got := i.group.spread.patience; got != min(2*last, maxSpreadPatience) {
			t.Fatalf("patience went from %d to %d", last, got)
		}
		last = i.group.spread.patience
	}
	h.looks.Add(5 * looksPerTimeout * maxSpreadPatience) // it was kept for long
	i.startLooking(&l)
	if i.group.spread.patience != spreadPatience {
		t.Fatalf("patience is still %d", i.group.spread.patience)
	}
}

func TestADiskThatStallsForLongFailsTheGroup(t *testing.T) {
	var f faults
	c := newTestCluster(t, 3, f.configure, func(c *testCluster) { c.stall = 2 * time.Second })
	c.write(7, "a", "1")
	leader := c.leader(7)
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	t.Cleanup(free) // before the nodes are stopped
	f.stall = release
	f.start(leader, "stall")
	leader.groups[7].Propose([]byte("a=2"))
	testkit.Eventually(t, patience, func() bool { return len(leader.failures()) == 1 }, "no failure reported")
	var stalled *StalledError
	if err := leader.failures()[0]; !errors.As(err, &stalled) || stalled.Group != 7 {
		t.Fatalf("failed with %v", err)
	}
	if _, err := leader.groups[7].ReadIndex(within(t, patience)); !errors.Is(err, api.ErrStoreFailed) {
		t.Fatalf("read on a stalled disk: %v", err)
	}
	c.write(7, "a", "3", names(c.others(leader))...)
}

func TestAWriteIsSlowAndThenStuckByTheLooksItSees(t *testing.T) {
	stuck := 0
	w := writes{slow: 10, stuck: 40, onStuck: func() { stuck++ }}
	now := uint64(100)
	look := func(times int) {
		for range times {
			now++
			w.look(now)
		}
	}
	look(1)
	_ = w.run(func() error {
		look(10)
		if w.stalled.Load() {
			t.Error("slow after 10 looks")
		}
		look(1)
		if !w.stalled.Load() {
			t.Error("not slow after 11 looks")
		}
		_ = w.run(func() error { return nil })
		if !w.stalled.Load() {
			t.Error("another write ended, and this one is not slow any more")
		}
		look(29)
		if stuck != 0 {
			t.Error("stuck after 40 looks")
		}
		look(1)
		return nil
	})
	if w.stalled.Load() || stuck != 1 {
		t.Errorf("after the end: stalled %t, stuck %d times", w.stalled.Load(), stuck)
	}
	look(100)
	if w.stalled.Load() || stuck != 1 {
		t.Errorf("without a write: stalled %t, stuck %d times", w.stalled.Load(), stuck)
	}
}
