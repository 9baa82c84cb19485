package sim

import (
	"math/rand/v2"
	"strings"
	"sync"
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
	// lies lets syncs of the Raft log succeed although nothing is durable: the positive control.
	lies bool
}

// NewDisk makes an empty disk.
func NewDisk(rng *rand.Rand) *Disk { return &Disk{rng: rng, mem: vfs.NewMem()} }

// FS is the disk as the node sees it until the next crash.
func (d *Disk) FS() vfs.FS {
	d.mu.Lock()
	defer d.mu.Unlock()
	return diskFS{FS: d.mem, disk: d}
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

func (d *Disk) lying() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lies
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
	if f.log {
		f.disk.beforeSync()
		if f.disk.lying() {
			return nil
		}
	}
	return f.UpdatedFile.SyncData()
}

// Sync implements vfs.File.
func (f diskFile) Sync() error {
	if f.log {
		f.disk.beforeSync()
		if f.disk.lying() {
			return nil
		}
	}
	return f.File.Sync()
}
