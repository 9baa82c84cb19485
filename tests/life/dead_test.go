package life

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/tests/cluster"
)

var dead = flag.Bool("life.dead", false, "have a node die, come back, and lose what it holds")

// deadAfter is the limit of these clusters. Nothing fails if a machine is slower than that: more is replaced then.
const deadAfter = 5 * time.Second

// whole waits until every shard has three replicas that answer and nothing is to be done. A node may be dead.
func (f *fleet) whole(what string, also func(*pb.ClusterStatusResponse) error) time.Duration {
	f.t.Helper()
	began := time.Now()
	cluster.Eventually(f.t, evenWithin, what, func() error {
		s, err := f.status()
		if err != nil {
			return err
		}
		if len(s.UnderReplicated)+len(s.Silent)+len(s.Moving)+len(s.Planned) > 0 {
			return fmt.Errorf("not yet: %s", brief(s))
		}
		if err := also(s); err != nil {
			return fmt.Errorf("%w: %s", err, brief(s))
		}
		return nil
	})
	return time.Since(began)
}

// holds is how many replicas the master sees on a node.
func holds(s *pb.ClusterStatusResponse, name string) uint32 {
	at := slices.IndexFunc(s.Nodes, func(n *pb.NodeSummary) bool { return n.Name == name })
	if at < 0 {
		return 0
	}
	return s.Nodes[at].Replicas
}

// replicasOn are the replicas in the data directory of a node.
func replicasOn(t *testing.T, n *cluster.Node) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(n.Dir, "shards", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// withoutMap is a node that holds no replica of the cluster map.
func (f *fleet) withoutMap() (found *cluster.Node) {
	f.t.Helper()
	cluster.Eventually(f.t, recovery, "a node without the map", func() error {
		s, err := f.status()
		if err != nil {
			return err
		}
		for _, n := range s.Nodes {
			if at := slices.IndexFunc(f.Nodes, func(x *cluster.Node) bool { return x.Name == n.Name }); at >= 0 && !n.HoldsMap {
				found = f.Nodes[at]
				return nil
			}
		}
		return fmt.Errorf("all hold it: %s", brief(s))
	})
	return found
}

// TestADeadNodeIsReplacedAndMayComeBack: what it held is made elsewhere after the limit, and deleted on it when it is back.
// Then what it holds is taken from it while it lives, and it gets new replicas.
func TestADeadNodeIsReplacedAndMayComeBack(t *testing.T) {
	if !*dead {
		t.Skip("it takes most of a minute: make life runs it, or -life.dead")
	}
	f := newFleet(t, 4, cluster.Options{Nodes: 4, Args: []string{"--replace-dead-after", deadAfter.String()}})
	f.awaitEven(4)
	l := f.load(seedOf(t))
	n := f.withoutMap()
	held := replicasOn(t, n)
	n.Kill()
	replaced := f.whole("the dead node holds nothing", func(s *pb.ClusterStatusResponse) error {
		if count := holds(s, n.Name); count > 0 {
			return fmt.Errorf("it holds %d", count)
		}
		return nil
	})
	n.Restart()
	f.awaitEven(4)
	cluster.Eventually(t, recovery, "what it held before is deleted", func() error {
		for _, name := range held {
			if _, err := os.Stat(name); err == nil {
				return fmt.Errorf("%s is there", name)
			}
		}
		return nil
	})
	// All of its replicas are newer than the shards now, so that it knows that something is gone.
	if code := n.Stop(); code != 0 {
		t.Errorf("%s ended with code %d", n.Name, code)
	}
	wiped := replicasOn(t, n)
	for _, name := range append(wiped, filepath.Join(n.Dir, "raft")) {
		if err := os.RemoveAll(name); err != nil {
			t.Fatal(err)
		}
	}
	n.Restart()
	healed := f.whole("the wiped node is whole", func(*pb.ClusterStatusResponse) error {
		for _, name := range wiped {
			if _, err := os.Stat(name); err == nil {
				return fmt.Errorf("%s is there again", name)
			}
		}
		if len(replicasOn(t, n)) == 0 {
			return errors.New("it has no new replica")
		}
		if err := n.Ready(t.Context()); err != nil {
			return err
		}
		return f.notEven(4)
	})
	gap, of := l.worst()
	say(t, "%d replicas of a dead node made elsewhere after %s, %d of a wiped one %s after it was up; a shard (%d) did not serve for %s at most",
		len(held), round(replaced), len(wiped), round(healed), of, round(gap))
	l.judge()
}
