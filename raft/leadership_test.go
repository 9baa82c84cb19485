package raft

import (
	"errors"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/testkit"
)

// TestAHintAboutALeaderThatLivesChangesNothing: neither its office nor anybody's timeouts.
func TestAHintAboutALeaderThatLivesChangesNothing(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) { c.timing.HeartbeatTimeout = time.Second }) // a busy machine stops for a while
	c.write(7, "a", "1")
	leader := c.leader(7)
	follower := c.others(leader)[0]
	g := follower.groups[7]
	testkit.Eventually(t, patience, func() bool { node, _ := g.Leader(); return node == leader.groups[7].Replica().Node })
	_, term := g.Leader()
	follower.host.Suspect("somebody-else")
	if g.suspected.Load() != nil {
		t.Fatal("suspected somebody who does not lead")
	}
	follower.host.Suspect(leader.groups[7].Replica().Node)
	until := g.suspected.Load().until
	testkit.Eventually(t, patience, func() bool { return follower.host.looks.Load() > until }, "the host does not look")
	if node, now := g.Leader(); node != leader.groups[7].Replica().Node || now != term {
		t.Fatal("a wrong hint cost the leader its office")
	}
}

func TestASilentLeaderIsNoticedOnceAtTheLimit(t *testing.T) {
	var s silence
	heard := time.Unix(1, 0)
	looks := func(limit int) (noticed []int) {
		for n := range 100 {
			if s.look(heard, limit) {
				noticed = append(noticed, n)
			}
		}
		return noticed
	}
	if got := looks(silenceLimit); len(got) != 1 || got[0] != silenceLimit {
		t.Errorf("noticed at looks %v, want only %d", got, silenceLimit)
	}
	heard = heard.Add(time.Second)
	lease := Timing{}.withDefaults().leaseLooks()
	if got := looks(lease); len(got) != 1 || got[0] != lease || lease >= silenceLimit {
		t.Errorf("a suspect is noticed at looks %v, want only %d", got, lease)
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
