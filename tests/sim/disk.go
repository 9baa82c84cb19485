package sim

import (
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lightning-db/lightning/internal/vfs"
)

// Disk is the disk of one node. It survives the node, in what its crashes left of it.
type Disk struct {
	mu    sync.Mutex
	rng   *rand.Rand
	mem   *vfs.Mem
	delay time.Duration // of each sync, one half to one and a half times
	// stalled is not nil while the disk does nothing; it is closed when it goes on.
	stalled chan struct{}
	// full refuses what needs space; broken fails every sync and loses what it was to make durable.
	full, broken bool
	// lies lets syncs of the Raft log succeed although nothing is durable: the positive control.
	lies bool
	// hasty lets these syncs return before they are done, as if acknowledgements did not wait for them.
	hasty bool
	late  sync.WaitGroup // syncs that returned and are not done
}

// NewDisk makes an empty disk.
func NewDisk(rng *rand.Rand) *Disk { return &Disk{rng: rng, mem: vfs.NewMem()} }

// FS is the disk as the node sees it until the next crash.
func (d *Disk) FS() vfs.FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return diskFS{FS: vfs.NewFault(d.mem, d), disk: d}
}

// Inject implements vfs.Injector.
func (d *Disk) Inject(op vfs.Op, _ string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.full && op&(vfs.OpCreate|vfs.OpMkdirAll) != 0:
		return syscall.ENOSPC
	case d.full && op == vfs.OpWrite:
		return &vfs.ShortWrite{Bytes: d.rng.IntN(5000), Err: syscall.ENOSPC}
	case d.broken && op&(vfs.OpSync|vfs.OpSyncDir) != 0:
		return syscall.EIO
	}
	return nil
}

// Fill leaves no space on the disk until Repair.
func (d *Disk) Fill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = true
}

// Break makes every sync fail until Repair.
func (d *Disk) Break() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.broken = true
}

// Repair ends Fill and Break.
func (d *Disk) Repair() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full, d.broken = false, false
}

// failing reports whether nobody can expect to start on this disk.
func (d *Disk) failing() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.full || d.broken
}

// Crash leaves what a loss of power would leave. What still uses the file system of before writes into
// the void.
func (d *Disk) Crash(keep vfs.Keep) {
	d.mu.Lock()
	defer d.mu.Unlock()
	block := 4096
	if d.rng.IntN(2) == 0 {
		block = 512
	}
	d.mem = d.mem.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Rand: d.rng, BlockBytes: block})
}

// Slow sets how long a sync takes, about.
func (d *Disk) Slow(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// Stall lets every sync wait until Resume.
func (d *Disk) Stall() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stalled == nil {
		d.stalled = make(chan struct{})
	}
}

// Resume ends a stall.
func (d *Disk) Resume() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stalled != nil {
		close(d.stalled)
		d.stalled = nil
	}
}

// beforeSync takes the time that a sync of the Raft log takes, which is what answers wait for. Others take
// none: the engine and the map sync while they hold a mutex, and no time passes in a bubble
// while somebody waits for one.
func (d *Disk) beforeSync() {
	d.mu.Lock()
	stalled, delay := d.stalled, d.delay
	if delay > 0 {
		delay = delay/2 + time.Duration(d.rng.Int64N(int64(delay)))
	}
	d.mu.Unlock()
	if delay > 0 {
		pass(delay)
	}
	if stalled != nil {
		<-stalled
	}
}

// lie makes all syncs of the Raft log from now on succeed and do nothing.
func (d *Disk) lie() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lies = true
}

// haste makes all syncs of the Raft log from now on return at once and be done a little later.
func (d *Disk) haste() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hasty = true
}

// diskFS is the disk during one life of its node.
type diskFS struct {
	vfs.FS
	disk *Disk
}

// Create implements vfs.FS.
func (f diskFS) Create(name string) (vfs.File, error) {
	file, err := f.FS.Create(name)
	if err != nil {
		return nil, err
	}
	return diskFile{File: file, disk: f.disk, log: strings.HasPrefix(name, "raft/")}, nil
}

// Update implements vfs.FS.
func (f diskFS) Update(name string) (vfs.UpdatedFile, error) {
	file, err := f.FS.Update(name)
	if err != nil {
		return nil, err
	}
	return updatedFile{UpdatedFile: file, disk: f.disk, log: strings.HasPrefix(name, "raft/")}, nil
}

type diskFile struct {
	vfs.File
	disk *Disk
	log  bool // of Raft
}

type updatedFile struct {
	vfs.UpdatedFile
	disk *Disk
	log  bool // of Raft
}

// SyncData implements vfs.UpdatedFile.
func (f updatedFile) SyncData() error {
	if !f.log {
		return f.UpdatedFile.SyncData()
	}
	return f.disk.syncLog(f.UpdatedFile.SyncData)
}

// Sync implements vfs.File.
func (f diskFile) Sync() error {
	if !f.log {
		return f.File.Sync()
	}
	return f.disk.syncLog(f.File.Sync)
}

// syncLog syncs a file of the Raft log, or pretends to.
func (d *Disk) syncLog(sync func() error) error {
	d.mu.Lock()
	lies, hasty := d.lies, d.hasty
	d.mu.Unlock()
	if hasty {
		d.late.Go(func() {
			d.beforeSync()
			_ = sync() // it says that it did long ago
		})
		return nil
	}
	d.beforeSync()
	if lies {
		return nil
	}
	return sync()
}
