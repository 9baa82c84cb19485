package raft

import (
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestMain looks for goroutines that stay. The library keeps those of a transfer that is stuck.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/hashicorp/raft.(*Raft).leadershipTransfer"),
		goleak.IgnoreAnyFunction("github.com/hashicorp/raft.(*Raft).leaderLoop.func2"))
}

func TestCommittedCommandsReachEveryReplicaAndAreReadBack(t *testing.T) {
	c := newTestCluster(t, 3)
	for i := range 20 {
		c.write(7, fmt.Sprint("key", i), fmt.Sprint(i))
	}
	c.converge(7, "key19", "19")
	leader := c.leader(7)
	got, err := leader.read(within(t, patience), 7, "key3")
	if err != nil || got != "3" {
		t.Fatalf("read = %q, %v", got, err)
	}
	s := leader.groups[7].Status()
	if s.Role != "Leader" || !s.Ready || s.Leader != leader.groups[7].Replica().Node || len(s.Voters) != 3 || s.Applied == 0 {
		t.Fatalf("status = %+v", s)
	}
}

func TestSingleVoterNeedsNoProbe(t *testing.T) {
	c := newTestCluster(t, 1)
	c.write(7, "a", "1")
	if got, err := c.leader(7).read(within(t, patience), 7, "a"); err != nil || got != "1" {
		t.Fatalf("read = %q, %v", got, err)
	}
}

func TestALeaderThatIsCutOffServesNoReadWhileANewOneCommits(t *testing.T) {
	c := newTestCluster(t, 3)
	c.write(7, "x", "old")
	old := c.leader(7)
	var rest []string
	for _, o := range c.others(old) {
		rest = append(rest, o.name)
	}
	c.isolate(old)
	for range 5 {
		if got, err := old.read(within(t, 2*time.Second), 7, "x"); err == nil {
			t.Fatalf("the old leader answered %q without a majority", got)
		}
	}
	c.write(7, "x", "new", rest...)
	if got, err := old.read(within(t, 2*time.Second), 7, "x"); err == nil {
		t.Fatalf("the old leader answered %q after a new one committed", got)
	}
	c.rejoin(old)
	c.converge(7, "x", "new")
}

func TestEverythingAcknowledgedIsThereAfterARestartOfAll(t *testing.T) {
	c := newTestCluster(t, 3)
	for i := range 10 {
		c.write(7, fmt.Sprint("k", i), "v")
	}
	for _, name := range c.names {
		c.nodes[name].crash()
	}
	for _, name := range c.names {
		c.nodes[name].start()
	}
	for i := range 10 {
		key := fmt.Sprint("k", i)
		leader := c.leader(7)
		if got, err := leader.read(within(t, patience), 7, key); err != nil || got != "v" {
			t.Fatalf("%s = %q, %v", key, got, err)
		}
	}
}

func TestAFollowerBehindTheCutLogCatchesUpBySnapshotUnderWrites(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) {
		c.timing = Timing{SnapshotThreshold: 20, SnapshotInterval: 20 * time.Millisecond, TrailingLogs: 5}
	})
	c.write(7, "before", "1")
	lagging := c.others(c.leader(7))[0]
	lagging.crash()
	var rest []string
	for _, o := range c.others(lagging) {
		rest = append(rest, o.name)
	}
	for i := range 200 {
		c.write(7, fmt.Sprint("k", i%10), fmt.Sprint(i), rest...)
	}
	leader := c.leader(7, rest...)
	testkit.Eventually(t, patience, func() bool { return leader.groups[7].Status().FirstLog > 50 }, "the log was not cut")
	lagging.start()
	for i := range 100 {
		c.write(7, fmt.Sprint("k", i%10), fmt.Sprint(1000+i))
	}
	c.converge(7, "k9", "1099")
	// The machine shows what is in a snapshot before that is in place.
	testkit.Eventually(t, patience, func() bool { return lagging.groups[7].Status().SnapshotsInstalled > 0 }, "no snapshot was installed")
}

func TestClosingOneGroupLeavesTheOthersAlone(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) { c.groups = []GroupID{0, 1, 2} })
	for id := range GroupID(3) {
		c.write(id, "a", "1")
	}
	for _, name := range c.names {
		if err := c.nodes[name].groups[1].Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.write(0, "a", "2")
	c.write(2, "a", "2")
	c.converge(0, "a", "2")
	c.converge(2, "a", "2")
	if _, err := c.nodes["n1"].groups[1].ReadIndex(within(t, patience)); err == nil {
		t.Fatal("a closed group served a read")
	}
}
