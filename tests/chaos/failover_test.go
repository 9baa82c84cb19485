package chaos

import (
	"flag"
	"slices"
	"testing"
	"time"

	"github.com/lightning-db/lightning/client"
	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
	"github.com/lightning-db/lightning/tests/workload"
)

var kills = flag.Int("chaos.kills", 3, "leaders to kill under 64 writers, for the time of a failover")

// TestAKilledLeaderIsReplacedUnderManyWriters kills the leader of most shards again and again and measures how long, by
// what 64 writers see, no write on its shards is acknowledged. No time decides but the limit of recovery.
func TestAKilledLeaderIsReplacedUnderManyWriters(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	var clients []*client.Client
	for range 8 { // a client for eight writers, as programs have
		clients = append(clients, newClient(t, c, client.Options{}))
	}
	w := &workload.Writers{Count: 64, Prefix: "kill", Shard: shardOf(c), Timeout: 5 * time.Second, Pause: 10 * time.Millisecond,
		Stores: func(writer int) []workload.Store {
			return []workload.Store{&workload.SDK{Client: clients[writer%len(clients)]}}
		}}
	var gaps []time.Duration
	w.Begin("steady")
	whileRunning(w.Run, func() {
		for range *kills {
			atLeast(t, "steady", 500*time.Millisecond, minAcked, w.PhaseAcked)
			gaps = append(gaps, killAndMeasure(t, c, w))
		}
	})
	verifyAcknowledged(t, c, w.Acked())
	slices.Sort(gaps)
	at := func(percent int) float64 { return gaps[min(len(gaps)-1, len(gaps)*percent/100)].Seconds() }
	report.Add("failover", "%d leaders killed under 64 writers: no acknowledgement on a shard of theirs for p50 %.2fs, p99 %.2fs, at most %.2fs; %d acknowledged, all read back",
		len(gaps), at(50), at(99), at(100), len(w.Acked()))
}

// killAndMeasure returns the longest time without an acknowledgement on any shard that the killed node led.
func killAndMeasure(t *testing.T, c *cluster.Cluster, w *workload.Writers) time.Duration {
	t.Helper()
	leader, shards := c.LeaderOfMost(recovery)
	w.Begin("leader killed")
	leader.Kill()
	for _, s := range shards {
		c.WaitLeaderMoves(s, leader, recovery)
		cluster.Eventually(t, recovery, "a write is acknowledged by the new leader", func() error { return w.Progressed(s) })
	}
	gaps := w.Begin("steady").Gaps
	longest := time.Duration(0)
	for _, s := range shards {
		longest = max(longest, gaps[s])
	}
	leader.Restart()
	return longest
}
