package scenarios

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/lightning-db/lightning/tests/cluster"
)

func mountTmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "lightning-test", dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

const ballast = "ballast"

// fill leaves at most spare bytes on the file system of dir, on which others write meanwhile.
func fill(t *testing.T, dir string, spare int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, ballast))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	cluster.Eventually(t, recovery, "the disk is full", func() error {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			return err
		}
		free := int64(fs.Bavail)*fs.Bsize - spare
		if free <= 0 {
			return nil
		}
		info, err := f.Stat()
		if err != nil {
			return err
		}
		return syscall.Fallocate(int(f.Fd()), 0, info.Size(), max(free, 1))
	})
}

func release(t *testing.T, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, ballast)); err != nil {
		t.Fatal(err)
	}
}

// TestFullDiskOfOneNodeStopsItAndNothingElse fills the disk of one node under writes: it ends with code 6 and
// says why, the other two go on, and with space again it comes back.
func TestFullDiskOfOneNodeStopsItAndNothingElse(t *testing.T) {
	requireRoot(t, "mount")
	disk := mountTmpfs(t, "1g")
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
	fill(t, disk, 4<<20)
	code := full.WaitExit(2 * recovery)
	text := lastLife(full)
	say(t, "full disk: exit code %d: %s", code, lastLine(text))
	checkStorageExit(t, code, text)
	before := l.PhaseAcked()
	cluster.Eventually(t, recovery, "the others go on", func() error { return atLeast(l.PhaseAcked()-before, 200) })
	release(t, disk)
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
	requireRoot(t, "mount")
	var disks []string
	for range 3 {
		disks = append(disks, mountTmpfs(t, "1g"))
	}
	c := cluster.Start(t, cluster.Options{LogDir: t.TempDir(), Dir: func(i int) string { return filepath.Join(disks[i], "node") }})
	l := startLoad(t, c, 8, 20_000, c.Nodes...)
	cluster.Eventually(t, recovery, "some writes", func() error { return atLeast(l.PhaseAcked(), 100) })
	for _, d := range disks {
		fill(t, d, 4<<20)
	}
	cluster.Eventually(t, 2*recovery, "a majority of nodes stops", func() error {
		if running := len(c.Running()); running > 1 {
			return fmt.Errorf("%d still run", running)
		}
		return nil
	})
	acked := l.stop()
	say(t, "%v", l.Begin(""))
	for _, n := range c.Nodes {
		if !n.Running() {
			text := lastLife(n)
			say(t, "%s: exit code %d: %s", n.Name, n.WaitExit(recovery), lastLine(text))
			checkStorageExit(t, n.WaitExit(recovery), text)
		}
	}
	for _, d := range disks {
		release(t, d)
	}
	c.StartAll(recovery)
	mustServe(t, "after the disks have space again", c.Nodes)
	verify(t, c.Nodes[0], acked)
}
