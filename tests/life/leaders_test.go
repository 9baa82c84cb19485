package life

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/lightning-db/lightning/tests/cluster"
)

var leadersFor = flag.Duration("life.leaders", 0, "for how long leaders are watched while clients work and nothing else happens")

// elected is how often a replica became ready to lead, as the logs of all nodes have it.
func (f *fleet) elected() (times int) {
	f.t.Helper()
	for _, n := range f.Nodes {
		log, err := os.ReadFile(n.Log)
		if err != nil {
			f.t.Fatal(err)
		}
		times += bytes.Count(log, []byte("leads raft group"))
	}
	return times
}

// TestLeadersOfManyShardsStayUnderLoad prints how many elections there are on -life.shards shards while nothing fails: at
// rest, and under load. There should be none.
func TestLeadersOfManyShardsStayUnderLoad(t *testing.T) {
	if *leadersFor == 0 {
		t.Skip("it measures: make life runs it, or -life.leaders")
	}
	var o cluster.Options
	if *heartbeat > 0 {
		o.Args = []string{"--heartbeat-timeout", heartbeat.String()}
	}
	f := newFleet(t, *shardCount, o)
	f.awaitEven(3)
	watch := func(what string) {
		before := f.elected()
		cluster.Wait(t.Context(), *leadersFor)
		say(t, "%d shards %s: %d elections in %s", f.shards, what, f.elected()-before, *leadersFor)
	}
	watch("at rest")
	l := f.load(seedOf(t))
	watch("under load")
	gap, of := l.worst()
	l.judge()
	say(t, "no answer of a shard (%d) for at most %s", of, fmt.Sprint(round(gap)))
}
