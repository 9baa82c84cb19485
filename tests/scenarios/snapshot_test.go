package scenarios

import (
	"context"
	"fmt"
	"testing"
	"time"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/tests/cluster"
)

// TestFollowerBehindTheLogCatchesUpBySnapshot stops a follower until its peers have cut their logs past it,
// starts it under writes, and then makes it the only node that can lead, so that reads show what it holds.
func TestFollowerBehindTheLogCatchesUpBySnapshot(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Args: []string{"--shards", "1",
		"--raft-snapshot-threshold", "200", "--raft-trailing-logs", "50", "--raft-snapshot-interval", "500ms"}})
	leader, shards := c.LeaderOfMost(recovery)
	behind, other := c.Others(leader)[0], c.Others(leader)[1]
	l := startLoad(t, c, 8, 100, leader, other)
	cluster.Eventually(t, recovery, "a few writes before the stop", func() error { return atLeast(l.PhaseAcked(), 200) })
	stopped := replica(t, behind, shards[0])
	behind.Kill()
	cluster.Eventually(t, 2*recovery, "the logs are cut past the stopped follower", func() error {
		for _, n := range []*cluster.Node{leader, other} {
			if r := replica(t, n, shards[0]); r.FirstLogIndex <= stopped.LastLogIndex+100 {
				return fmt.Errorf("%s has its log from %d to %d; the follower stopped at %d", n.Name, r.FirstLogIndex, r.LastLogIndex, stopped.LastLogIndex)
			}
		}
		return nil
	})
	ackedBefore := l.PhaseAcked()
	start := time.Now()
	behind.Restart()
	var now *pb.ReplicaStatus
	cluster.Eventually(t, recovery, "the follower installs a snapshot and catches up", func() error {
		now = replica(t, behind, shards[0])
		lead := replica(t, leader, shards[0])
		if now.SnapshotsInstalled == 0 || now.AppliedIndex+50 < lead.CommitIndex {
			return fmt.Errorf("%d snapshots, applied %d of %d", now.SnapshotsInstalled, now.AppliedIndex, lead.CommitIndex)
		}
		return nil
	})
	say(t, "stopped at index %d, caught up to %d after %v by %d snapshot(s), with %d writes acknowledged meanwhile", stopped.LastLogIndex,
		now.AppliedIndex, time.Since(start).Round(time.Millisecond), now.SnapshotsInstalled, l.PhaseAcked()-ackedBefore)
	if l.PhaseAcked() == ackedBefore {
		t.Error("no write was acknowledged while it caught up")
	}
	makeOnlyCandidate(t, c, l, behind, shards[0])
	acked := l.stop()
	verify(t, behind, acked)
}

// makeOnlyCandidate makes n the leader of shard: first n and the leader alone acknowledge writes, then the leader
// is killed and the third comes back, whose log is older, so that only n can win.
func makeOnlyCandidate(t *testing.T, c *cluster.Cluster, l *load, n *cluster.Node, shard uint64) {
	t.Helper()
	var leader *cluster.Node
	cluster.Eventually(t, recovery, "a leader", func() error {
		if leader = c.Leaders(t.Context())[shard]; leader == nil {
			return fmt.Errorf("none")
		}
		return nil
	})
	if leader == n {
		return
	}
	for _, third := range c.Others(n) {
		if third != leader {
			third.Kill()
			before := l.PhaseAcked()
			cluster.Eventually(t, recovery, "writes by the leader and the one that caught up", func() error { return atLeast(l.PhaseAcked()-before, 50) })
			leader.Kill()
			third.Run()
		}
	}
	cluster.Eventually(t, recovery, n.Name+" leads", func() error {
		if now := c.Leaders(t.Context())[shard]; now != n {
			return fmt.Errorf("it does not")
		}
		return nil
	})
}

func atLeast(got, want int) error {
	if got < want {
		return fmt.Errorf("%d of %d", got, want)
	}
	return nil
}

func replica(t *testing.T, n *cluster.Node, shard uint64) *pb.ReplicaStatus {
	t.Helper()
	var out *pb.ReplicaStatus
	cluster.Eventually(t, recovery, "status of "+n.Name, func() error {
		status, err := n.Status(context.Background())
		for _, r := range status.GetReplicas() {
			if r.ShardId == shard {
				out = r
				return nil
			}
		}
		return fmt.Errorf("no replica of shard %d: %w", shard, err)
	})
	return out
}
