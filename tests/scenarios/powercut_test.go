package scenarios

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
	"github.com/lightning-db/lightning/tests/report"
	"github.com/lightning-db/lightning/tests/workload"
)

var (
	cutsOfOne = flag.Int("scenarios.cuts", 4, "power cuts of one node")
	cutsOfAll = flag.Int("scenarios.cuts-of-all", 3, "power cuts of all three nodes")
)

// poweredCluster is a cluster on disks whose power can be cut. Small thresholds make tables, checkpoints and cuts of the
// log part of what is interrupted.
func poweredCluster(t *testing.T) (*cluster.Cluster, []*cluster.LoopDisk) {
	t.Helper()
	var disks []*cluster.LoopDisk
	for range 3 {
		disks = append(disks, cluster.NewLoopDisk(t, 4<<30)) // a sparse file
	}
	return cluster.Start(t, cluster.Options{LogDir: t.TempDir(), Dir: func(i int) string { return filepath.Join(disks[i].Dir, "node") },
		Args: []string{"--raft-snapshot-threshold", "100", "--raft-trailing-logs", "50", "--raft-snapshot-interval", "300ms", "--memtable-bytes", "1048576"}}), disks
}

// betweenWrites is the pause of a writer: hundreds of cuts must not fill the disks, and all has to be read back.
const betweenWrites = 15 * time.Millisecond

// TestPowerCutOfAllNodesLosesNoAcknowledgedWrite takes from all disks at once what was not synced, again and again:
// what was acknowledged must have been on a majority of them, and every node must come back from what is left.
func TestPowerCutOfAllNodesLosesNoAcknowledgedWrite(t *testing.T) {
	t.Parallel() // much of it is waiting for disks and elections
	c, disks := poweredCluster(t)
	acked := make(map[string]string)
	for range *cutsOfAll {
		l := startPacedLoad(t, c, betweenWrites, 16, 400, c.Nodes...)
		cluster.Eventually(t, 2*recovery, "writes", func() error { return atLeast(l.PhaseAcked(), 300) })
		cutAll(c, disks)
		for key, value := range l.stop() {
			acked[key] = value
		}
		c.StartAll(recovery)
	}
	mustServe(t, "after the last cut", c.Nodes)
	missing := verify(t, c.Nodes[0], acked)
	report.Add("power cuts", "all three nodes, %d cuts under writes: %d acknowledged, %d lost", *cutsOfAll, len(acked), missing)
}

func cutAll(c *cluster.Cluster, disks []*cluster.LoopDisk) {
	for _, d := range disks {
		d.CutPower()
	}
	c.KillAll()
	for _, d := range disks {
		d.PowerOn()
	}
}

// TestPowerCutOfOneNodeLosesNoAcknowledgedWrite does it to the node that leads most, while the others go on. In the end
// only what each of them holds by itself is left to read.
func TestPowerCutOfOneNodeLosesNoAcknowledgedWrite(t *testing.T) {
	t.Parallel()
	c, disks := poweredCluster(t)
	l := startPacedLoad(t, c, betweenWrites, 16, 400, c.Nodes...)
	for range *cutsOfOne {
		n, _ := c.LeaderOfMost(recovery)
		before := l.PhaseAcked()
		disks[n.Index].CutPower()
		n.Kill()
		disks[n.Index].PowerOn()
		cluster.Eventually(t, 2*recovery, "the others go on", func() error { return atLeast(l.PhaseAcked()-before, 100) })
		n.Restart()
		before = l.PhaseAcked()
		cluster.Eventually(t, 2*recovery, "all go on", func() error { return atLeast(l.PhaseAcked()-before, 100) })
	}
	acked := l.stop()
	cutAll(c, disks)
	c.StartAll(recovery)
	mustServe(t, "after the last cut", c.Nodes)
	missing := verify(t, c.Nodes[0], acked)
	report.Add("power cuts", "the leader of most, %d cuts under writes: %d acknowledged, %d lost", *cutsOfOne, len(acked), missing)
}

// TestPowerCutOfNodesThatDoNotSyncLosesWrites is the positive control: the two tests above would notice.
func TestPowerCutOfNodesThatDoNotSyncLosesWrites(t *testing.T) {
	t.Parallel()
	c, disks := poweredCluster(t)
	for _, n := range c.Nodes {
		n.SkipSyncs()
	}
	l := startPacedLoad(t, c, betweenWrites, 16, 400, c.Nodes...)
	cluster.Eventually(t, 2*recovery, "writes", func() error { return atLeast(l.PhaseAcked(), 300) })
	cutAll(c, disks)
	acked := l.stop()
	for _, n := range c.Nodes {
		n.Run()
	}
	lost := 0
	cluster.Eventually(t, 2*recovery, "the nodes refuse what is left, or writes are missing", func() error {
		if refused := 3 - len(c.Running()); refused > 1 {
			lost = len(acked) // no majority, no data
			return nil
		}
		if lost = countMissing(t, c, acked); lost == 0 {
			return fmt.Errorf("nothing is missing")
		}
		return nil
	})
	report.Add("power cuts", "positive control, nodes that do not sync: %d acknowledged, %d lost by one cut of all", len(acked), lost)
}

// countMissing reads a sample through whoever answers; what cannot be read now is not counted.
func countMissing(t *testing.T, c *cluster.Cluster, acked map[string]string) (missing int) {
	t.Helper()
	for _, n := range c.Running() {
		r := workload.DialRESP(n.RESP, nil)
		left := 200
		for key := range acked { // map order is the sample
			if exists, err := r.Client.Exists(t.Context(), key).Result(); err == nil && exists == 0 {
				missing++
			}
			if left--; left == 0 {
				break
			}
		}
		r.Close()
		if missing > 0 {
			return missing
		}
	}
	return 0
}
