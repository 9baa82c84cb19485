package chaos

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/history"
	"github.com/lightning-db/lightning/tests/workload"
)

// fault is one way to break the cluster around the leader of most shards.
type fault struct {
	name string
	// moves: the leader cannot go on leading, so another must take over.
	moves  bool
	strike func(c *cluster.Cluster, leader, other *cluster.Node)
	// lasts is how long it stays; healing follows.
	lasts time.Duration
	heal  func(c *cluster.Cluster, leader *cluster.Node)
}

func healNetwork(c *cluster.Cluster, _ *cluster.Node) { c.Heal() }

var faults = []fault{
	{"leader killed", true, func(_ *cluster.Cluster, l, _ *cluster.Node) { l.Kill() },
		3 * time.Second, func(_ *cluster.Cluster, l *cluster.Node) { l.Restart() }},
	{"leader told to stop", true, func(_ *cluster.Cluster, l, _ *cluster.Node) { l.Stop() },
		2 * time.Second, func(_ *cluster.Cluster, l *cluster.Node) { l.Restart() }},
	{"leader paused", true, func(_ *cluster.Cluster, l, _ *cluster.Node) { l.Pause() },
		4 * time.Second, func(_ *cluster.Cluster, l *cluster.Node) { l.Resume() }},
	{"leader cut from both", true, func(c *cluster.Cluster, l, _ *cluster.Node) { c.Isolate(l) },
		4 * time.Second, healNetwork},
	{"leader heard by nobody", true, func(c *cluster.Cluster, l, _ *cluster.Node) {
		for _, o := range c.Others(l) {
			c.CutOneWay(l, o)
		}
	}, 4 * time.Second, healNetwork},
	{"leader hears nobody", true, func(c *cluster.Cluster, l, _ *cluster.Node) {
		for _, o := range c.Others(l) {
			c.CutOneWay(o, l)
		}
	}, 4 * time.Second, healNetwork},
	{"leader and one follower cut", false, func(c *cluster.Cluster, l, o *cluster.Node) { c.Cut(l, o) },
		3 * time.Second, healNetwork},
	{"leader to one follower cut", false, func(c *cluster.Cluster, l, o *cluster.Node) { c.CutOneWay(l, o) },
		3 * time.Second, healNetwork},
	{"all killed", false, func(c *cluster.Cluster, _, _ *cluster.Node) { c.KillAll() },
		0, func(c *cluster.Cluster, _ *cluster.Node) { c.StartAll(recovery) }},
	{"leader paused for a moment", false, func(_ *cluster.Cluster, l, _ *cluster.Node) { l.Pause() },
		400 * time.Millisecond, func(_ *cluster.Cluster, l *cluster.Node) { l.Resume() }},
}

// shortLogs makes flushes, cuts of the log and snapshots for followers part of what the faults interrupt.
var shortLogs = []string{"--raft-snapshot-threshold", "100", "--raft-trailing-logs", "30", "--raft-snapshot-interval", "300ms", "--memtable-bytes", "262144"}

// TestRegistersAreLinearizableUnderKillsPausesAndPartitions records reads, writes, deletes and conditional writes on few
// keys through all nodes and both protocols while each fault strikes the leader.
func TestRegistersAreLinearizableUnderKillsPausesAndPartitions(t *testing.T) {
	seed := newSeed(t)
	c := cluster.Start(t, cluster.Options{Netns: true, Args: shortLogs})
	rng := rand.New(rand.NewPCG(seed, 0))
	recorder := history.NewRecorder()
	w := &workload.Registers{Recorder: recorder, Keys: history.NewKeys("register"), Groups: 5, WorkersPerGroup: 4,
		Timeout: time.Second, Pause: 3 * time.Millisecond, Seed: seed,
		Stores: func(worker int) []workload.Store {
			if worker%2 == 0 {
				return grpcStores(t, c, nil)
			}
			return respStores(c, nil)
		}}
	moved, installed := 0, uint64(0)
	whileRunning(w.Run, func() {
		ok := func() int { return recorder.Count(history.OK) }
		atLeast(t, "steady", 2*time.Second, minAcked, ok)
		rounds(func(int) {
			for _, i := range rng.Perm(len(faults)) {
				moved += runFault(t, c, rng, faults[i], ok)
				installed = max(installed, snapshotsInstalled(t, c))
			}
		})
	})
	if installed == 0 {
		t.Error("no follower was so far behind that it needed a snapshot")
	}
	if moved == 0 {
		t.Error("no fault took the leadership away from anyone")
	}
	ops := recorder.Operations()
	report, err := history.Check(history.Register, ops, 30*time.Second)
	say(t, "%v; %d refused; %d faults moved a leader; up to %d followers' snapshots at a time", report, recorder.Count(history.Failed), moved, installed)
	if err != nil {
		t.Fatal(err)
	}
	if report.LargestKey > history.MaxOpsPerKey+100 || report.Concurrency > 8 {
		t.Errorf("the history is not of the shape that the checker is fit for")
	}
}

// snapshotsInstalled counts the snapshots that the running lives of the nodes have installed.
func snapshotsInstalled(t *testing.T, c *cluster.Cluster) uint64 {
	total := uint64(0)
	for _, n := range c.Nodes {
		status, err := n.Status(t.Context())
		if err != nil {
			continue // the next fault's wait for a leader fails if this lasts
		}
		for _, r := range status.Replicas {
			total += r.SnapshotsInstalled
		}
	}
	return total
}

// runFault strikes, waits, heals and waits again; it returns 1 if leadership was taken from a node.
func runFault(t *testing.T, c *cluster.Cluster, rng *rand.Rand, f fault, ok func() int) (moved int) {
	t.Helper()
	leader, shards := c.LeaderOfMost(recovery)
	others := c.Others(leader)
	before, start := ok(), time.Now()
	f.strike(c, leader, others[rng.IntN(len(others))])
	if f.moves {
		for _, s := range shards {
			c.WaitLeaderMoves(s, leader, recovery)
		}
		moved = 1
	}
	took := time.Since(start)
	if f.lasts > 0 {
		atLeast(t, f.name, max(0, f.lasts-took), minAcked/4, ok)
	}
	f.heal(c, leader)
	during := ok() - before
	c.WaitReady(recovery)
	atLeast(t, f.name+", healed", time.Second, minAcked/2, ok)
	detail := "leadership need not move"
	if f.moves {
		detail = "new leaders within " + took.Round(10*time.Millisecond).String()
	}
	say(t, "%-28s on %s, leader of %v: %d acknowledged while it lasted, %d with the second after; %s",
		f.name, leader.Name, shards, during, ok()-before, detail)
	return moved
}
