package engine

import (
	"fmt"
	"strings"
	"time"
)

// Profile names a set of options for a purpose. Balanced, the first one, is the defaults with a log.
type Profile uint8

// The profiles. docs/engine.md has them side by side.
const (
	// Balanced is for most: what was acknowledged is on the disk, memory is about 130 MiB.
	Balanced Profile = iota
	// ReadOptimized has large caches and few tables to look into, and pays with writing more.
	ReadOptimized
	// WriteOptimized gathers much in memory and puts compactions off, and pays with memory and with reads that look into more
	// tables. When the machine dies, the batches of the last 100 ms may be lost.
	WriteOptimized
	// LowMemory keeps within LowMemoryBytes.
	LowMemory
	// Development starts at once and is small. When the machine dies, what it had not written by itself is lost.
	Development
	// MaxDurability waits for the disk with every batch, checks all of it once a day, and keeps tables small, so that damage takes
	// little with it.
	MaxDurability
)

// LowMemoryBytes is what a store with the options of LowMemory keeps in memory, whatever is written to it and read: memtables, caches,
// the buffers of flushes, compactions and the log, for batches of up to 1 MiB. Beside it are the index and the filter of each table,
// about 2 bytes for a key of the store, and what the caller holds.
const LowMemoryBytes = 32 << 20

// profileNames are the names of the profiles, by their values.
var profileNames = []string{"balanced", "read-optimized", "write-optimized", "low-memory", "development", "max-durability"}

// Profiles lists all profiles.
func Profiles() []Profile {
	all := make([]Profile, len(profileNames))
	for i := range all {
		all[i] = Profile(i)
	}
	return all
}

// String is the profile's name, as ParseProfile takes it.
func (p Profile) String() string {
	if int(p) >= len(profileNames) {
		return fmt.Sprintf("profile(%d)", uint8(p))
	}
	return profileNames[p]
}

// ParseProfile finds a profile by its name.
func ParseProfile(name string) (Profile, error) {
	for i, n := range profileNames {
		if n == name {
			return Profile(i), nil
		}
	}
	return 0, fmt.Errorf("there is no profile %q, only %s", name, strings.Join(profileNames, ", "))
}

// Options are the settings of a profile, to be changed where another value is better. Every profile reads what any other has
// written.
func (p Profile) Options() Options {
	switch p {
	case ReadOptimized:
		return Options{
			Log: LogAlways, CacheBytes: 256 << 20, BlockBytes: 8 << 10,
			CompactCount: 2, StopCount: 8, LevelBytes: 128 << 20, TableBytes: 32 << 20,
		}
	case WriteOptimized:
		return Options{
			Log: LogInterval, LogSyncInterval: 100 * time.Millisecond, MemtableBytes: 64 << 20, CacheBytes: 32 << 20,
			CompactCount: 8, StopCount: 24, LevelBytes: 512 << 20, TableBytes: 64 << 20,
		}
	case LowMemory:
		return Options{
			Log: LogAlways, MemtableBytes: 1 << 20, CacheBytes: 2 << 20, BlockBytes: 4 << 10, TableBytes: 2 << 20,
			LevelBytes: 8 << 20, LogSegmentBytes: 1 << 20, CompactionCount: 1,
		}
	case Development:
		return Options{
			Log: LogNever, MemtableBytes: 4 << 20, CacheBytes: 16 << 20, TableBytes: 4 << 20, LevelBytes: 16 << 20,
		}
	case MaxDurability:
		return Options{
			Log: LogAlways, MemtableBytes: 4 << 20, TableBytes: 4 << 20, LevelBytes: 32 << 20,
			ScrubBytesPerSecond: 8 << 20, ScrubInterval: 24 * time.Hour,
		}
	}
	return Options{Log: LogAlways}
}
