package life

import (
	"flag"
	"fmt"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
)

var (
	rounds     = flag.Int("life.rounds", 1, "how often three nodes grow to five and shrink again")
	shardCount = flag.Int("life.shards", 3, "shards of the cluster that grows and shrinks")
	heartbeat  = flag.Duration("life.heartbeat", 0, "--heartbeat-timeout of its nodes, for machines that are too busy for the default")
	replacing  = flag.Bool("life.replace", false, "have a new node take the name of a dead one in each round")
)

// serveAgain is the longest time that a shard may not serve, whatever was killed.
const serveAgain = 30 * time.Second

// TestAClusterGrowsHealsAndShrinksUnderKillsAndLosesNothing goes from three nodes to five, replaces one of them by a new one with
// its name, and goes back to three, while 32 clients work and the master and those who get replicas are killed.
func TestAClusterGrowsHealsAndShrinksUnderKillsAndLosesNothing(t *testing.T) {
	var o cluster.Options
	if *heartbeat > 0 {
		o.Args = []string{"--heartbeat-timeout", heartbeat.String()}
	}
	f := newFleet(t, *shardCount, o)
	l := f.load(seedOf(t))
	var worst time.Duration
	served := func() string {
		gap, of := l.worst()
		worst = max(worst, gap)
		if gap > serveAgain {
			t.Errorf("shard %d did not serve for %s", of, round(gap))
		}
		return fmt.Sprintf("%s (shard %d)", round(gap), of)
	}
	for i := range *rounds {
		began := time.Now()
		added := f.Add(2)
		f.killOne(5, theMaster)
		f.killOne(5, aMover)
		f.awaitEven(5)
		grown := time.Since(began)
		say(t, "round %d grown: %s", i+1, f.balance())
		gap := served()
		replaced := "no node replaced"
		if *replacing {
			began = time.Now()
			f.replace(added[0])
			f.killOne(5, theMaster)
			f.awaitEven(5)
			replaced = "a node replaced in " + round(time.Since(began)).String()
			gap += ", " + served()
		}
		shrunk := f.retire(added, 3, theMaster, aMover)
		gap += ", " + served()
		say(t, "round %d shrunk: %s", i+1, f.balance())
		say(t, "round %d on %d shards: even on 5 nodes after %s, %s, on 3 nodes after %s; no answer of a shard for at most %s; %d kills so far",
			i+1, f.shards, round(grown), replaced, round(shrunk), gap, f.killed)
		if i == 0 {
			f.refused(added[1])
		}
	}
	l.judge()
	report.Add("life", "3 to 5 to 3 nodes, %d rounds on %d shards, %d nodes killed: every shard served again after %s at most", *rounds, f.shards, f.killed, round(worst))
}
