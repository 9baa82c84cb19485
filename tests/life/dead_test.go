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

// gone fails if one of some directories is there.
func gone(names []string) error {
	for _, name := range names {
		if _, err := os.Stat(name); err == nil {
			return fmt.Errorf("%s is there", name)
		}
	}
	return nil
}

// wipe takes all replicas of shards from a node, and more of its data directory, and waits until it has new ones.
func (f *fleet) wipe(n *cluster.Node, more ...string) (healed time.Duration, count int) {
	f.t.Helper()
	if code := n.Stop(); code != 0 {
		f.t.Errorf("%s ended with code %d", n.Name, code)
	}
	lost := replicasOn(f.t, n)
	all := slices.Clone(lost)
	for _, name := range more {
		all = append(all, filepath.Join(n.Dir, name))
	}
	for _, name := range all {
		if err := os.RemoveAll(name); err != nil {
			f.t.Fatal(err)
		}
	}
	n.Restart()
	return f.whole("the wiped node has new replicas", func(*pb.ClusterStatusResponse) error {
		if len(replicasOn(f.t, n)) == 0 {
			return errors.New("it has none")
		}
		return errors.Join(gone(lost), n.Ready(f.t.Context()), f.notEven(4))
	}), len(lost)
}

// TestADeadNodeIsReplacedAndMayComeBack: what it held is made elsewhere after the limit, and deleted on it when it is back.
// Before and after that its replicas are taken from it, by themselves and with their log, and it gets new ones.
func TestADeadNodeIsReplacedAndMayComeBack(t *testing.T) {
	if !*dead {
		t.Skip("it takes most of a minute: make life runs it, or -life.dead")
	}
	f := newFleet(t, 4, cluster.Options{Nodes: 4, Args: []string{"--replace-dead-after", deadAfter.String()}})
	f.awaitEven(4)
	l := f.load(seedOf(t))
	n := f.withoutMap()
	first, _ := f.wipe(n)
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
	cluster.Eventually(t, recovery, "what it held before is deleted", func() error { return gone(held) })
	healed, wiped := f.wipe(n, "raft")
	gap, of := l.worst()
	say(t, "%d replicas of a dead node made elsewhere after %s; what a living one lost was made again %s and %s after it was up, %d replicas the second time; a shard (%d) did not serve for %s at most",
		len(held), round(replaced), round(first), round(healed), wiped, of, round(gap))
	l.judge()
}
