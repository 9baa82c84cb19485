package scenarios

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/tests/cluster"
)

// TestFullDiskOfOneNodeStopsItAndNothingElse fills the disk of one node under writes: it ends with code 6 and
// says why, the other two go on, and with space again it comes back.
func TestFullDiskOfOneNodeStopsItAndNothingElse(t *testing.T) {
	disk := cluster.MountTmpfs(t, "1g")
	logs := t.TempDir()
	c := cluster.Start(t, cluster.Options{LogDir: logs, Dir: func(i int) string {
		if i == 0 {
			return filepath.Join(disk, "node")
		}
		return filepath.Join(logs, fmt.Sprint("data-", i))
	}})
	full := c.Nodes[0]
	l := startLoad(t, c, 8, 20_000, c.Nodes...)
	cluster.Eventually(t, recovery, "some writes", func() error { return atLeast(l.PhaseAcked(), 100) })
	cluster.FillDisk(t, disk, 4<<20)
	code := full.WaitExit(2 * recovery)
	text := lastLife(full)
	say(t, "full disk: exit code %d: %s", code, lastLine(text))
	checkStorageExit(t, code, text)
	before := l.PhaseAcked()
	cluster.Eventually(t, recovery, "the others go on", func() error { return atLeast(l.PhaseAcked()-before, 200) })
	cluster.ReleaseDisk(t, disk)
	full.Restart()
	acked := l.stop()
	say(t, "%v", l.Begin(""))
	mustServe(t, "after the disk has space again", c.Nodes)
	verify(t, full, acked)
}

func checkStorageExit(t *testing.T, code int, text string) {
	t.Helper()
	if code != 6 {
		t.Errorf("exit code %d, want 6:\n%s", code, text)
	}
	if !strings.Contains(text, "no space left") {
		t.Errorf("the message does not say that there is no space left:\n%s", text)
	}
	if strings.Contains(text, "goroutine ") {
		t.Errorf("it panicked:\n%s", text)
	}
}

// TestFullDisksEverywhereLoseNothing fills all disks: writes are refused or unknown, never falsely
// acknowledged, and with space again everything that was acknowledged is there.
func TestFullDisksEverywhereLoseNothing(t *testing.T) {
	var disks []string
	for range 3 {
		disks = append(disks, cluster.MountTmpfs(t, "1g"))
	}
	c := cluster.Start(t, cluster.Options{LogDir: t.TempDir(), Dir: func(i int) string { return filepath.Join(disks[i], "node") }})
	l := startLoad(t, c, 8, 20_000, c.Nodes...)
	cluster.Eventually(t, recovery, "some writes", func() error { return atLeast(l.PhaseAcked(), 100) })
	for _, d := range disks {
		cluster.FillDisk(t, d, 4<<20)
	}
	cluster.Eventually(t, 2*recovery, "a majority of nodes stops", func() error {
		if running := len(c.Running()); running > 1 {
			return fmt.Errorf("%d still run", running)
		}
		return nil
	})
	acked := l.stop()
	say(t, "%v", l.Begin(""))
	for _, d := range disks {
		cluster.ReleaseDisk(t, d)
	}
	startThoseThatEnded(t, c)
	mustServe(t, "after the disks have space again", c.Nodes)
	verify(t, c.Nodes[0], acked)
}

// startThoseThatEnded does what a supervisor does until all nodes are ready. A node whose storage failed takes a
// few seconds to end, so one that still runs when the disks have space again may be about to.
func startThoseThatEnded(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	cluster.Eventually(t, recovery, "all nodes are ready with space again", func() error {
		for _, n := range c.Nodes {
			if !n.Running() {
				text := lastLife(n)
				code := n.WaitExit(recovery)
				say(t, "%s: exit code %d: %s", n.Name, code, lastLine(text))
				checkStorageExit(t, code, text)
				n.Run()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for _, n := range c.Nodes {
			if err := n.Ready(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}
