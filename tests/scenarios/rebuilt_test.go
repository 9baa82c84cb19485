package scenarios

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// TestAFencedReplicaComesBackByItself fences the replicas of a stopped node, as they fence themselves when
// their states differ, by the file that keeps them so over a restart. The node fetches what the others hold,
// while they serve, and counts again: without one of the others the cluster goes on.
func TestAFencedReplicaComesBackByItself(t *testing.T) {
	c := cluster.Start(t, cluster.Options{})
	l := startLoad(t, c, 4, 0, c.Nodes...)
	fenced := c.Nodes[1]
	fenced.Stop()
	replicas, err := filepath.Glob(filepath.Join(fenced.Dir, "shards", "*-*"))
	if err != nil || len(replicas) == 0 {
		t.Fatalf("%d replicas in %s, %v", len(replicas), fenced.Dir, err)
	}
	for _, dir := range replicas {
		if err := os.WriteFile(filepath.Join(dir, "FENCED"), []byte("by a test\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	fenced.Run()
	fenced.WaitReady(2 * time.Minute)
	say(t, "%d fenced replicas were rebuilt within %v", len(replicas), time.Since(start).Round(time.Millisecond))
	for _, dir := range replicas {
		if _, err := os.Stat(filepath.Join(dir, "FENCED")); !os.IsNotExist(err) {
			t.Errorf("%s is still fenced: %v", dir, err)
		}
	}
	c.Nodes[0].Kill()
	mustServe(t, "without one that was never fenced", c.Others(c.Nodes[0]))
	acked := l.stop()
	verify(t, fenced, acked)
}
