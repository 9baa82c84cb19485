package raft

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/clock"
	"github.com/lightning-db/lightning/internal/testkit"
)

func TestAMajorityOfTheVotersJudgesAClock(t *testing.T) {
	const hour = int64(time.Hour / time.Millisecond)
	for _, c := range []struct {
		name      string
		offsets   map[string]int64
		needed    int
		verdict   clockVerdict
		successor string
	}{
		{"alone", nil, 1, clockAgrees, ""},
		{"nobody answered", nil, 2, clockUnknown, ""},
		{"one of two agrees", map[string]int64{"b": 5000}, 2, clockAgrees, "b"},
		{"just too far", map[string]int64{"b": 5001}, 2, clockIsOff, "b"},
		{"just too far behind", map[string]int64{"b": -5001}, 2, clockIsOff, "b"},
		{"ahead of both", map[string]int64{"b": -hour, "c": -hour}, 2, clockIsOff, "b"},
		{"a peer is off", map[string]int64{"b": hour, "c": 3}, 2, clockAgrees, "c"},
		{"no two agree", map[string]int64{"b": hour, "c": -hour}, 2, clockIsOff, ""},
		{"no two of those that answer agree", map[string]int64{"b": hour}, 2, clockIsOff, "b"},
		{"no three of five agree", map[string]int64{"b": hour, "c": hour, "d": -hour, "e": -hour}, 3, clockIsOff, ""},
		{"answers that agree, too few", map[string]int64{"b": 1}, 3, clockUnknown, "b"},
		{"two of five off alike", map[string]int64{"b": 0, "c": hour, "d": hour, "e": hour + 10}, 3, clockIsOff, "c"},
		{"an integer without its negative", map[string]int64{"b": math.MinInt64}, 2, clockIsOff, "b"},
	} {
		got := judgeClocks(c.offsets, 1, 2*c.needed-1, c.needed, 5*time.Second)
		if got.verdict != c.verdict || got.successor != c.successor {
			t.Errorf("%s: %+v, want %d, successor %q", c.name, got, c.verdict, c.successor)
		}
	}
}

// clockCluster has a clock for each node that moves only when told to.
func clockCluster(t *testing.T, ahead map[string]time.Duration) (*testCluster, map[string]*clock.Manual) {
	clocks := make(map[string]*clock.Manual)
	c := newTestCluster(t, 3, func(c *testCluster) {
		c.setting = func(n *testNode) {
			if clocks[n.name] == nil {
				clocks[n.name] = clock.NewManual(time.UnixMilli(1_790_000_000_000).Add(ahead[n.name]))
			}
			n.clock = clocks[n.name]
		}
	})
	return c, clocks
}

// elect lets n win an election.
func (c *testCluster) elect(n *testNode) {
	c.t.Helper()
	testkit.Eventually(c.t, patience, func() bool {
		leader := c.leader(7)
		if leader == n {
			return true
		}
		result, ok := leader.groups[7].current.Load().transfer(n.groups[7].Replica().String())
		return ok && <-result == nil
	}, "no transfer to %s", n.name)
}

func (n *testNode) term() api.Term {
	_, term := n.groups[7].Leader()
	return term
}

// TestALeaderWhoseClockIsOffProposesNoTime (R11)
func TestALeaderWhoseClockIsOffProposesNoTime(t *testing.T) {
	c, clocks := clockCluster(t, map[string]time.Duration{"n1": time.Hour})
	c.write(7, "a", "1")
	off := c.nodes["n1"]
	before := c.leader(7).term()
	c.elect(off)
	next := c.leader(7, "n2", "n3")
	testkit.Eventually(t, patience, func() bool { return next.term() >= before+2 },
		"the node whose clock is off did not win an election and give it away")
	c.write(7, "a", "2")
	if off.ticks.Load() != 0 || off.groups[7].Status().Elections != 0 {
		t.Fatalf("%d ticks with a wrong time, ready %d times", off.ticks.Load(), off.groups[7].Status().Elections)
	}

	clocks["n1"].Advance(-time.Hour)
	c.elect(off)
	c.leader(7, "n1")
	c.write(7, "a", "3", "n1")
	c.converge(7, "a", "3")
}

// TestALeaderWhoseClockIsSetWrongIsNotReadyAnyMore (R11)
func TestALeaderWhoseClockIsSetWrongIsNotReadyAnyMore(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			c, clocks := clockCluster(t, nil)
			c.write(7, "a", "1")
			leader := c.leader(7)
			ticks := leader.ticks.Load()
			clocks[leader.name].Advance(jump)
			testkit.Eventually(t, patience, func() bool { return !leader.groups[7].IsReadyLeader() }, "it stayed ready")
			if _, _, err := leader.groups[7].Propose([]byte("a=wrong")).Wait(t.Context()); !errors.Is(err, api.ErrNotLeader) {
				t.Fatalf("propose: %v", err)
			}
			if _, err := leader.groups[7].ReadIndex(t.Context()); !errors.Is(err, api.ErrNotLeader) {
				t.Fatalf("read: %v", err)
			}
			c.leader(7, names(c.others(leader))...)
			c.write(7, "a", "2")
			c.converge(7, "a", "2")
			if leader.ticks.Load() != ticks {
				t.Fatal("it made a tick of a wrong time")
			}
		})
	}
}

// TestALeadershipIsGivenAwayForAClockLessAndLessOften, until the clock is right.
func TestALeadershipIsGivenAwayForAClockLessAndLessOften(t *testing.T) {
	var d clockDoubts
	var given []uint64
	for now := uint64(0); now < 10*clockPatience; now++ {
		if d.mayGive(now) {
			given = append(given, now/clockPatience)
		}
	}
	if !slices.Equal(given, []uint64{0, 1, 3, 7}) {
		t.Fatalf("given away at %d times the patience", given)
	}
	for now := uint64(10 * clockPatience); d.patience < maxClockPatience; now += d.patience {
		d.mayGive(now)
	}
	if d.patience != maxClockPatience {
		t.Fatalf("patience %d, at most %d", d.patience, maxClockPatience)
	}
}

// TestNobodyLeadsWhileNoTwoClocksAgree (R11): there is no majority to be right, until one clock
// is set and its node or its peer finds out by itself. Until then the leadership, which is of no use to
// anybody, stays where it is, and the node that has it says why.
func TestNobodyLeadsWhileNoTwoClocksAgree(t *testing.T) {
	c, clocks := clockCluster(t, map[string]time.Duration{"n1": time.Hour, "n2": -time.Hour})
	var doubtful *testNode
	testkit.Eventually(t, patience, func() bool {
		for _, n := range c.nodes {
			if n.groups[7].ClockTrouble() != "" {
				doubtful = n
			}
		}
		return doubtful != nil
	}, "nobody complains of the clocks")
	term, since := doubtful.term(), doubtful.host.looks.Load()
	testkit.Eventually(t, patience, func() bool {
		if now := doubtful.term(); now != term {
			term, since = now, doubtful.host.looks.Load()
		}
		return doubtful.host.looks.Load()-since > 6*looksPerTimeout
	}, "the leadership is handed around")
	for _, n := range c.nodes {
		if n.ticks.Load() != 0 {
			t.Fatalf("%s made a tick", n.name)
		}
	}
	clocks["n1"].Advance(-time.Hour)
	c.write(7, "a", "1", "n1", "n3")
	if c.nodes["n2"].ticks.Load() != 0 {
		t.Fatal("the node whose clock is still off made a tick")
	}
}

func TestAMinorityThatIsAwayHasNoSayAboutClocks(t *testing.T) {
	c, _ := clockCluster(t, map[string]time.Duration{"n1": 4 * time.Second})
	c.write(7, "a", "1")
	c.isolate(c.nodes["n3"])
	c.leader(7, "n1", "n2")
	for _, name := range []string{"n1", "n2"} {
		c.elect(c.nodes[name])
		leader := c.leader(7, name)
		c.write(7, "a", name, name)
		i := leader.groups[7].current.Load()
		if round := i.askClocks(uint64(leader.term())); round.verdict != clockAgrees {
			t.Fatalf("%s: %+v", name, round)
		}
	}
}

// TestSilenceIsNoReasonToWithdraw: a leader that hears of no clock is not contradicted, but a new
// one would not begin.
func TestSilenceIsNoReasonToWithdraw(t *testing.T) {
	c, _ := clockCluster(t, nil)
	leader := c.leader(7)
	c.isolate(leader)
	if round := leader.groups[7].current.Load().askClocks(1); round.verdict != clockUnknown {
		t.Fatalf("%+v", round)
	}
}
