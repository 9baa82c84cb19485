package raft

import (
	"fmt"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestALocalSnapshotDoesNotUndoAnInstall (R17): a replica that flushes for a snapshot of its own gets one from its
// leader meanwhile. The library remembered the one that ended last, and claimed less than the replica held.
func TestALocalSnapshotDoesNotUndoAnInstall(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) { c.timing = Timing{TrailingLogs: 1} })
	c.write(7, "k", "1")
	c.converge(7, "k", "1")
	odd := c.others(c.leader(7))[0]
	var rest []string
	for _, o := range c.others(odd) {
		rest = append(rest, o.name)
	}
	c.isolate(odd)
	for i := range 30 {
		c.write(7, "k", fmt.Sprint(i), rest...)
	}
	for _, name := range rest {
		n := c.nodes[name]
		testkit.Eventually(t, patience, func() bool { return n.machines[7].get("k") == "29" }, "%s has not applied", name)
		if err := n.groups[7].Snapshot(); err != nil {
			t.Fatal(err)
		}
	}
	g, m := odd.groups[7], odd.machines[7]
	entered, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	m.mu.Lock()
	m.onFlush = func() {
		once.Do(func() {
			close(entered)
			<-goOn
		})
	}
	m.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- g.Snapshot() }()
	<-entered
	c.rejoin(odd)
	testkit.Eventually(t, patience, func() bool {
		index, err := g.snapshotIndex()
		return err == nil && g.Status().SnapshotsInstalled > 0 && index == uint64(g.Status().Durable)
	}, "nothing was installed")
	close(goOn)
	if err := <-ended; err == nil {
		t.Error("the local snapshot ended well")
	}
	if claims, holds := g.current.Load().raft.LastIndex(), uint64(g.Status().Durable); claims < holds {
		t.Errorf("the library claims %d entries, the state machine holds %d", claims, holds)
	}
	c.write(7, "k", "end")
	c.converge(7, "k", "end")
	if err := g.Snapshot(); err != nil {
		t.Errorf("a later snapshot: %v", err)
	}
}
