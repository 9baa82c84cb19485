package scenarios

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"

	"github.com/lightning-db/lightning/tests/cluster"
)

// loopDisk is an ext4 file system in a file, whose power can be cut.
type loopDisk struct {
	image, dir string
}

func newLoopDisk(t *testing.T) *loopDisk {
	t.Helper()
	base := t.TempDir()
	d := &loopDisk{image: filepath.Join(base, "image"), dir: filepath.Join(base, "mount")}
	if err := os.Mkdir(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, 512<<20); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "mkfs.ext4", "-q", "-F", d.image)
	d.mount(t)
	t.Cleanup(func() { d.unmount(t) })
	return d
}

func mustRun(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}

func (d *loopDisk) mount(t *testing.T)   { t.Helper(); mustRun(t, "mount", "-o", "loop", d.image, d.dir) }
func (d *loopDisk) unmount(t *testing.T) { t.Helper(); mustRun(t, "umount", d.dir) }

// cut makes the file system forget, from one moment to the next, everything that was not synced, and refuse
// everything after it, as a loss of power does.
func (d *loopDisk) cut(t *testing.T) {
	t.Helper()
	const (
		ext4Shutdown    = 0x8004587d // _IOR('X', 125, __u32)
		withoutLogFlush = 2
	)
	f, err := os.Open(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	how := uint32(withoutLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		t.Fatalf("cut the power of %s: %v", d.dir, errno)
	}
}

// TestPowerCutOfAllNodesLosesNoAcknowledgedWrite takes from all disks at once what was not synced, again and again:
// what was acknowledged must have been on a majority of them, and every node must come back from what is left.
func TestPowerCutOfAllNodesLosesNoAcknowledgedWrite(t *testing.T) {
	requireRoot(t, "mount")
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Skip("mkfs.ext4 is not installed")
	}
	var disks []*loopDisk
	for range 3 {
		disks = append(disks, newLoopDisk(t))
	}
	// Small thresholds, so that tables, checkpoints and cuts of the log are among what is interrupted.
	c := cluster.Start(t, cluster.Options{LogDir: t.TempDir(), Dir: func(i int) string { return filepath.Join(disks[i].dir, "node") },
		Args: []string{"--raft-snapshot-threshold", "100", "--raft-trailing-logs", "50", "--raft-snapshot-interval", "300ms", "--memtable-bytes", "1048576"}})
	acked := make(map[string]string)
	const rounds = 5
	for range rounds {
		l := startLoad(t, c, 16, 1000, c.Nodes...)
		cluster.Eventually(t, 2*recovery, "writes", func() error { return atLeast(l.PhaseAcked(), 300) })
		for _, d := range disks {
			d.cut(t)
		}
		c.KillAll()
		for key, value := range l.stop() {
			acked[key] = value
		}
		for _, d := range disks {
			d.unmount(t)
			d.mount(t)
		}
		c.StartAll(recovery)
	}
	say(t, "the power of all three disks was cut %d times under writes", rounds)
	mustServe(t, "after the last cut", c.Nodes)
	verify(t, c.Nodes[0], acked)
}
