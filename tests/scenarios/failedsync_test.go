package scenarios

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
)

// syncSite is one kind of file or directory that a node syncs.
type syncSite struct {
	name string
	// paths lists those under a data directory, also such as will be made.
	paths func(dir string) []string
	// meta: of the group that is idle but for elections.
	meta bool
}

var syncSites = []syncSite{
	{"log of the meta group", matching("raft/0-*.db"), true},
	{"log of the shards", matching("raft/[1-9]*-*.db", "*log", "*log/*", "raft/*log", "raft/*log/*"), false},
	{"tables", tablesToCome, false},
	{"manifest", manifestsToCome, false},
	{"directory of tables", matching("shards/*/engine-*"), false},
}

func matching(patterns ...string) func(string) []string {
	return func(dir string) (out []string) {
		for _, p := range patterns {
			found, _ := filepath.Glob(filepath.Join(dir, p))
			out = append(out, found...)
		}
		return out
	}
}

// tablesToCome names the tables that a node makes next: their numbers increase.
func tablesToCome(dir string) (out []string) {
	for _, engine := range matching("shards/*/engine-*")(dir) {
		for number := range 400 {
			out = append(out, filepath.Join(engine, fmt.Sprintf("%06d.table", number+1)))
		}
	}
	return out
}

// manifestsToCome names the file that becomes the manifest when it is renamed.
func manifestsToCome(dir string) (out []string) {
	for _, engine := range matching("shards/*/engine-*")(dir) {
		out = append(out, filepath.Join(engine, "MANIFEST"), filepath.Join(engine, "MANIFEST.tmp"))
	}
	return out
}

// smallTables makes a node write tables and cut its log every few writes.
var smallTables = []string{"--shards", "1", "--raft-snapshot-threshold", "20", "--raft-trailing-logs", "10", "--raft-snapshot-interval", "200ms", "--memtable-bytes", "65536"}

// TestNothingIsAcknowledgedAfterAFailedSync fails each kind of sync of a node that is alone, and then takes from its disk
// what was not synced: it ended by itself with the code for a failed disk, and everything that it acknowledged is there.
func TestNothingIsAcknowledgedAfterAFailedSync(t *testing.T) {
	for _, site := range syncSites {
		if site.meta {
			continue // nothing makes a node that is alone write it
		}
		t.Run(strings.ReplaceAll(site.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			disk := cluster.NewLoopDisk(t, 1<<30)
			c := cluster.Start(t, cluster.Options{Nodes: 1, LogDir: t.TempDir(), Args: smallTables,
				Dir: func(int) string { return filepath.Join(disk.Dir, "node") }})
			n := c.Nodes[0]
			l := startLoad(t, c, 4, 1000, n)
			cluster.Eventually(t, recovery, "some writes", func() error { return atLeast(l.PhaseAcked(), 100) })
			failSync(t, n, site, func() {})
			acked := l.stop()
			disk.CutPower()
			disk.PowerOn()
			n.Restart()
			missing := verify(t, n, acked)
			report.Add("failed syncs", "%s, a node alone: ends with code %d; %d acknowledged, %d lost by the power cut after it",
				site.name, exitStorage, len(acked), missing)
		})
	}
}

const exitStorage = 6

// failSync makes the next sync of a site fail, and all later ones, and waits for the node's end.
// What provoke does makes the node sync there.
func failSync(t *testing.T, n *cluster.Node, site syncSite, provoke func()) {
	t.Helper()
	paths := site.paths(n.Dir)
	if len(paths) == 0 {
		t.Fatalf("%s has no %s:\n%s", n.Name, site.name, tree(n.Dir))
	}
	in := n.FailSyncs(paths...)
	defer in.End()
	provoke()
	code := n.WaitExit(2 * recovery)
	text := lastLife(n)
	if in.Hits() == 0 {
		t.Error("no sync failed")
	}
	if code != exitStorage || !strings.Contains(text, "input/output error") || strings.Contains(text, "goroutine ") {
		t.Errorf("exit code %d, want %d and a message with the disk's error:\n%s", code, exitStorage, text[max(0, len(text)-3000):])
	}
	say(t, "%s: %s", site.name, lastLine(text))
}

func tree(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, _ os.DirEntry, _ error) error { _, err := fmt.Fprintln(&b, path); return err })
	return b.String()
}

// TestClusterGoesOnWhenSyncsOfOneNodeFail does it to one node of three after the other.
func TestClusterGoesOnWhenSyncsOfOneNodeFail(t *testing.T) {
	cluster.RequireRoot(t, "strace")
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Args: smallTables})
	l := startLoad(t, c, 6, 1000, c.Nodes...)
	for _, site := range syncSites {
		cluster.Eventually(t, recovery, "writes", func() error { return atLeast(l.PhaseAcked(), 100) })
		n, _ := c.LeaderOfMost(recovery)
		if site.meta {
			failSyncOfElection(t, c, site)
			continue
		}
		failSync(t, n, site, func() {})
		before := l.PhaseAcked()
		cluster.Eventually(t, recovery, "the others go on", func() error { return atLeast(l.PhaseAcked()-before, 100) })
		n.Restart()
	}
	acked := l.stop()
	missing := verify(t, c.Nodes[0], acked)
	report.Add("failed syncs", "each site of the leader of three nodes: the others go on; %d acknowledged, %d lost", len(acked), missing)
}

// failSyncOfElection makes elections in the meta group, for which every node writes its vote: it pauses each node in turn,
// because nobody says from outside which one leads that group.
func failSyncOfElection(t *testing.T, c *cluster.Cluster, site syncSite) {
	t.Helper()
	n := c.Nodes[0]
	failSync(t, n, site, func() {
		for i := 0; i < 9 && n.Running(); i++ {
			paused := c.Nodes[i%3]
			paused.Pause()
			cluster.Wait(t.Context(), 2*time.Second)
			paused.Resume()
		}
	})
	n.Restart()
}
