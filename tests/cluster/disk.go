package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// RequireRoot skips the test, or fails it where LIGHTNING_REQUIRE_NETNS=1 promises root and the tools.
func RequireRoot(t testing.TB, tools ...string) {
	t.Helper()
	err := missing(tools)
	switch {
	case err == nil:
	case os.Getenv("LIGHTNING_REQUIRE_NETNS") == "1":
		t.Fatalf("LIGHTNING_REQUIRE_NETNS=1, but %v", err)
	default:
		t.Skipf("skipped: %v (LIGHTNING_REQUIRE_NETNS=1 makes this a failure)", err)
	}
}

func missing(tools []string) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%v need root", tools)
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return err
		}
	}
	return nil
}

// LoopDisk is an ext4 file system in a file, whose power can be cut.
type LoopDisk struct {
	Dir   string // where it is mounted
	image string
	t     testing.TB
}

// NewLoopDisk makes and mounts an empty disk, which goes when the test ends.
func NewLoopDisk(t testing.TB, sizeBytes int64) *LoopDisk {
	t.Helper()
	RequireRoot(t, "mount", "mkfs.ext4", "losetup")
	base := t.TempDir()
	d := &LoopDisk{image: filepath.Join(base, "image"), Dir: filepath.Join(base, "mount"), t: t}
	if err := os.Mkdir(d.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, sizeBytes); err != nil {
		t.Fatal(err)
	}
	// Nodes in network namespaces have mount namespaces of their own. What is unmounted below a shared mount goes from
	// those, too; else they would keep the file system, without power, in use.
	d.must("mount", "--bind", base, base)
	t.Cleanup(func() { unmount(t, base) })
	d.must("mount", "--make-shared", base)
	d.must("mkfs.ext4", "-q", "-F", d.image)
	d.mount()
	t.Cleanup(func() { unmount(t, d.Dir) })
	return d
}

func (d *LoopDisk) must(command ...string) {
	d.t.Helper()
	if err := run("", command...); err != nil {
		d.t.Fatal(err)
	}
}

func (d *LoopDisk) mount() { d.t.Helper(); d.must("mount", "-o", "loop", d.image, d.Dir) }

// unmount retries: who looked at the mount a moment ago keeps it busy.
func unmount(t testing.TB, dir string) {
	t.Helper()
	Eventually(t, time.Minute, "unmount", func() error { return run("", "umount", dir) })
}

// CutPower makes the file system forget, from one moment to the next, everything that was not synced, and refuse
// everything after it, as a loss of power does.
func (d *LoopDisk) CutPower() {
	d.t.Helper()
	const (
		ext4Shutdown    = 0x8004587d // _IOR('X', 125, __u32)
		withoutLogFlush = 2
	)
	f, err := os.Open(d.Dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	how := uint32(withoutLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		d.t.Fatalf("cut the power of %s: %v", d.Dir, errno)
	}
}

// PowerOn mounts the disk again as the cut left it. No process may use it. Another mount namespace may hold the file system for a moment longer;
// until its device is gone, mounting the image would give the one without power again.
func (d *LoopDisk) PowerOn() {
	d.t.Helper()
	unmount(d.t, d.Dir)
	Eventually(d.t, time.Minute, "the device of the disk is gone", func() error {
		out, err := exec.Command("losetup", "-j", d.image).Output()
		if err == nil && len(out) > 0 {
			return fmt.Errorf("%s", out)
		}
		return err
	})
	d.mount()
}

// MountTmpfs mounts a small file system in memory, which can be filled, and returns its directory.
func MountTmpfs(t testing.TB, size string) string {
	t.Helper()
	RequireRoot(t, "mount")
	dir := t.TempDir()
	if err := run("", "mount", "-t", "tmpfs", "-o", "size="+size, "lightning-test", dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

const ballast = "ballast"

// FillDisk leaves at most spareBytes on the file system of dir, on which others write meanwhile.
func FillDisk(t testing.TB, dir string, spareBytes int64) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, ballast))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	Eventually(t, 30*time.Second, "the disk is full", func() error {
		var fs syscall.Statfs_t
		if err := syscall.Statfs(dir, &fs); err != nil {
			return err
		}
		free := int64(fs.Bavail)*fs.Bsize - spareBytes
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

// ReleaseDisk gives back what FillDisk took.
func ReleaseDisk(t testing.TB, dir string) {
	t.Helper()
	if err := os.Remove(filepath.Join(dir, ballast)); err != nil {
		t.Fatal(err)
	}
}
