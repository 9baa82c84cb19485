package raft

import (
	"errors"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

func TestAHintShortensTheTimeoutsForAWhile(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	leader := c.leader(7)
	follower := c.others(leader)[0]
	g := follower.groups[7]
	testkit.Eventually(t, patience, func() bool { node, _ := g.Leader(); return node == leader.groups[7].Replica().Node })
	heartbeat := func() time.Duration { return g.current.Load().raft.ReloadableConfig().HeartbeatTimeout }
	usual := heartbeat()
	follower.host.Suspect("somebody-else")
	follower.host.Suspect(leader.groups[7].Replica().Node)
	testkit.Eventually(t, patience, func() bool { return heartbeat() == usual/2 }, "the hint had no effect")
	_, term := g.Leader()
	testkit.Eventually(t, patience, func() bool { return heartbeat() == usual }, "the hint lasts")
	if node, now := g.Leader(); node != leader.groups[7].Replica().Node || now != term {
		t.Fatal("a wrong hint cost the leader its office")
	}
}

func TestAClosingHostGivesItsLeadershipsAway(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "a", "1")
	leader := c.leader(7)
	_, term := leader.groups[7].Leader()
	leader.stop()
	next := c.leader(7, names(c.others(leader))...)
	if _, now := next.groups[7].Leader(); now != term+1 {
		t.Fatalf("term went from %d to %d: there was an election without a transfer", term, now)
	}
	leader.start()
	c.write(7, "a", "2")
	c.converge(7, "a", "2")
}

func TestATransferOfWhatIsNotLedSaysWhoLeads(t *testing.T) {
	c := newTestCluster(t, 3)
	leader := c.leader(7)
	follower := c.others(leader)[0]
	testkit.Eventually(t, patience, func() bool { node, _ := follower.groups[7].Leader(); return node != "" })
	err := follower.groups[7].TransferLeadership(within(t, patience))
	var e *api.Error
	if !errors.As(err, &e) || e.Code != api.CodeNotLeader || e.Leader != leader.groups[7].Replica().Node {
		t.Fatalf("transfer: %v", err)
	}
	if err := leader.groups[7].TransferLeadership(within(t, patience)); err != nil {
		t.Fatalf("transfer: %v", err)
	}
	c.leader(7, names(c.others(leader))...)
}

func TestEachElectionIsAnnouncedOnceReady(t *testing.T) {
	c := newTestCluster(t, 3)
	leader := c.leader(7)
	_, term := leader.groups[7].Leader()
	testkit.Eventually(t, patience, func() bool {
		leader.mu.Lock()
		defer leader.mu.Unlock()
		return leader.ready[7] == term
	}, "term %d was not announced", term)
	if leader.machines[7].get("tick") != leader.name {
		t.Fatal("announced before its tick was applied")
	}
}

func TestAGroupStartsOnceAtATime(t *testing.T) {
	c := newTestCluster(t, 1)
	n := c.nodes["n1"]
	if err := n.startGroup(7); err == nil {
		t.Fatal("started twice")
	}
	if err := n.groups[7].Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.startGroup(7); err != nil {
		t.Fatalf("start again: %v", err)
	}
	c.write(7, "a", "1")
}
