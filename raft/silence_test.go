package raft

import (
	"testing"
	"time"
)

// Timers that never fire leave elections to the looks, which the test counts.
func TestThePreferredReplicaOfANewGroupStandsFirst(t *testing.T) {
	c := newTestCluster(t, 3, func(c *testCluster) {
		c.timing.HeartbeatTimeout, c.stall = 10*time.Minute, time.Hour
		c.preferred = func(GroupID) string { return "n2" }
	})
	for _, name := range []string{"n1", "n3"} {
		g := c.nodes[name].groups[7]
		for range 10 * looksPerTimeout {
			g.listen(0)
		}
		if g.silence.hinted {
			t.Fatalf("%s, which is not the preferred replica, stood before its timer said so", name)
		}
	}
	preferred := c.nodes["n2"].groups[7]
	for range firstLooks {
		preferred.listen(0)
	}
	if leader := c.leader(7); leader.name != "n2" {
		t.Fatalf("%s leads", leader.name)
	}
}
