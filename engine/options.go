package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/lightning-db/lightning/engine/internal/rowcache"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/internal/vfs"
)

// Limits of one row and one batch. They bound what one allocation, one block and one memtable
// can cost; the callers' own limits are lower.
const (
	// MaxKeyBytes leaves room for an escaped 64 KiB user key with its prefixes.
	MaxKeyBytes = 256 << 10
	// MaxValueBytes is the largest value that the store may ever hold in one row. It leaves room for the
	// header that callers put before a value of 64 MiB.
	MaxValueBytes = 64<<20 + 4<<10
	// MaxBatchBytes bounds one atomic step: it is held in memory whole, twice for a moment.
	MaxBatchBytes = 128 << 20
)

// Compression is a way to compress the blocks of tables.
type Compression uint8

// The ways to compress. Tables of all of them can lie side by side.
const (
	// CompressionAdaptive is S2, and on the last level, where most of the data is and stays, Zstd where samples say that it saves
	// an eighth more: a quarter to a third on text and documents. Reading a block that is not in the cache then takes two to three times as long.
	CompressionAdaptive Compression = iota
	// CompressionNone is none.
	CompressionNone
	// CompressionS2 is S2 on all levels.
	CompressionS2
	// CompressionZstd is Zstd on all levels: the least space for the most work.
	CompressionZstd
)

// of is what a table is written with.
func (c Compression) of(lastLevel bool) table.Compression {
	switch {
	case c == CompressionNone:
		return table.None
	case c == CompressionZstd:
		return table.Zstd
	case c == CompressionAdaptive && lastLevel:
		return table.Dense
	}
	return table.S2
}

// Options are the settings of one store. The zero value is usable. Nothing in it may change
// while the store is open; everything may change between two openings.
type Options struct {
	// FS is where all files live. Default: the machine's file system.
	FS vfs.FS

	// MemtableBytes is how much is gathered in memory before it is written as one table; at most
	// three such memtables exist (one filling, two being written). Default 16 MiB: large enough
	// that a table is near TableBytes, so that each level-0 table costs one sequential write of
	// about 0.1 s, and small enough that a dozen shards on a node need less than 600 MiB at
	// worst. Bounds 64 KiB to 1 GiB. A batch larger than this gets a memtable of its own.
	MemtableBytes int

	// CacheBytes bounds the cache of uncompressed blocks. Default 64 MiB, negative for none.
	CacheBytes int

	// RowCacheBytes is the part of CacheBytes that is not for blocks but for single rows of up to 4 KiB, as point reads found
	// them in tables: a row in it is found without a lock, an allocation or a look into blocks, and is worth a block of its
	// neighbours if those are not read. Default 0: five eighths of CacheBytes at first, and then whatever saves more reads and searches, between
	// a sixteenth and seven eighths. Otherwise it stays: negative for none, at most CacheBytes. Less than 64 KiB are none.
	RowCacheBytes int

	adaptive bool // no RowCacheBytes were given

	// Runtime is what the store shares with others: caches, memory, background work. CacheBytes then counts for nothing, and
	// RowCacheBytes only if it is negative. Default nil: a cache of its own.
	Runtime *Runtime

	// BlockBytes is where a data block is cut, before compression. Default 8 KiB: halves the
	// index of 4 KiB blocks at little cost to point reads. Bounds 1 KiB to 64 KiB. A larger
	// value gets a block of its own.
	BlockBytes int

	// ApartBytes is from which length on values stand apart from their keys: a read of one reads no others, and who asks for keys
	// reads none. Values of less than half of BlockBytes stay with their keys nevertheless where that compresses them better by an eighth. Default 512:
	// the least of which reading one alone saves more than reading its neighbours in vain costs. Negative for never. Bounds 16 to 64 MiB.
	ApartBytes int

	// Compression says how blocks of tables are compressed, before they are written; those in the cache are not. Default
	// CompressionAdaptive. A block that would not get an eighth smaller is never compressed.
	Compression Compression

	// TableBytes is where compaction cuts tables. Default 16 MiB: a compaction step then moves
	// about 200 MiB at most, and a store of 100 GiB has 6,400 open files. Bounds 64 KiB to 256 MiB.
	TableBytes int

	// LevelBytes is the size of level 1; each further level is ten times larger. Default four memtables, so that emptying
	// level 0 rewrites about as much as it adds, and a store that is not larger has no second level to write to; at least 64 MiB.
	LevelBytes int

	// CompactCount is the number of level-0 tables that starts a compaction. While rows wait in memory,
	// so that more tables will come, it is put off to midway between here and StopCount: fewer and
	// larger merges write less. Default 4.
	CompactCount int

	// StopCount is the number of level-0 tables at which flushes, and soon Apply, wait for
	// compaction: every read looks into each of them. Default 12, at least CompactCount + 1.
	StopCount int

	// CompactionCount is how many compactions may run at once, of keys that do not overlap. Default 2: one for level 0, which writers
	// wait for, and one for the levels below. Bounds 1 to 16.
	CompactionCount int

	// RetainVersions keeps every version of a key that a read at Horizon().Version or above can
	// see. Without it (the default, for embedded use) only the newest row of each key and what
	// open snapshots see is kept, versions must not decrease, and a read below the newest
	// version fails with ErrSnapshotTooOld.
	RetainVersions bool

	// ReadOnly opens a store without making, writing or removing a file: what a log has is repeated into memory only, and
	// whatever would write returns ErrReadOnly. The directory must hold a store (ErrNoStore). Many may read at a time;
	// they and a writer keep each other out by LOCK. A directory without that file, as a checkpoint before its first opening
	// has none, is read without a lock.
	ReadOnly bool

	// Log says whether batches are written to a log, so that they need not wait for a flush to be durable, and when it is
	// synced. Default LogOff: who replicates has a log already.
	Log LogMode

	// LogSyncInterval is how often the log is synced when Log is LogInterval. Default 100 ms: ten syncs a
	// second cost a disk next to nothing. Bounds 1 ms to 1 h.
	LogSyncInterval time.Duration

	// LogSegmentBytes is where a file of the log ends and the next one begins; at most about eight of them exist, as a
	// flush is due when a memtable is full or has twice its size in the log. Default MemtableBytes, at most 64 MiB: a flush then
	// sets one free to be used again. Bounds 64 KiB to 1 GiB.
	LogSegmentBytes int

	// ScrubBytesPerSecond has the whole store read and checked in the background, no faster than this: see Scrub. Default 0: off,
	// as reads and compactions check what they use, and only the owner knows what the disk has to spare. Not with ReadOnly.
	ScrubBytesPerSecond int

	// ScrubInterval is the time from the beginning of one such scrub to that of the next; the first is at Open. Default 24 h.
	// Bounds 1 s to 1 year.
	ScrubInterval time.Duration

	// Families makes a store of column families: every key is in one of them (CreateFamily), and Batch.Put and Tx.Put without a
	// family are refused. A store is made with families or without, for good: Open refuses the other setting with ErrFamilies.
	Families bool

	// Clock is the time by which rows with an expiry are absent: at once for reads, and in time for the disk. It is for a store
	// that is used alone. Without one, the default, expired rows are shown, and dropped by the horizon that batches carry.
	// SystemClock is the machine's. A clock that goes back makes the store's time stand until it is where it was.
	Clock Clock

	// Logger receives what an operator may want to know, never keys or values. Default: silence.
	Logger *slog.Logger

	// Events is told what the store does: see EventKind. It is called on a goroutine of its own, one event after another, without
	// any lock, so it may call every method of the store but Close, which waits for it. While it is busy, 1,024
	// events wait; more are counted in Metrics().EventsDropped and gone, for the store waits for nobody who only watches.
	// So a begin may lack its end. Default: none.
	Events func(Event)

	// OnFailure is called once, with the cause, when the store refuses further writes. It runs
	// on the goroutine that noticed, without locks; it must return soon and not call Close.
	OnFailure func(error)
}

func (o Options) withDefaults() Options {
	setDefault(&o.MemtableBytes, 16<<20)
	setDefault(&o.CacheBytes, 64<<20)
	o.adaptive = o.adaptive || o.RowCacheBytes == 0
	setDefault(&o.RowCacheBytes, max(o.CacheBytes, 0)/8*5)
	setDefault(&o.BlockBytes, 8<<10)
	setDefault(&o.ApartBytes, 512)
	setDefault(&o.TableBytes, 16<<20)
	setDefault(&o.LevelBytes, max(64<<20, 4*o.MemtableBytes))
	setDefault(&o.CompactCount, 4)
	setDefault(&o.CompactionCount, 2)
	setDefault(&o.StopCount, max(12, o.CompactCount+1))
	setDefault(&o.LogSegmentBytes, min(o.MemtableBytes, 64<<20))
	if o.LogSyncInterval == 0 {
		o.LogSyncInterval = 100 * time.Millisecond
	}
	if o.ScrubInterval == 0 {
		o.ScrubInterval = 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnFailure == nil {
		o.OnFailure = func(error) {}
	}
	return o
}

// OutsideHeapBytes is how much of the caches of such a store, without a Runtime, lies outside Go's heap at most. The collector
// does not see it: who gives that a limit (debug.SetMemoryLimit) takes it off.
func (o Options) OutsideHeapBytes() int {
	o = o.withDefaults()
	return RuntimeOptions{CacheBytes: o.CacheBytes, RowCacheBytes: max(-1, o.RowCacheBytes), adaptive: o.adaptive}.OutsideHeapBytes()
}

// rowCacheBytes is what the cache of rows gets. What it is too small for is left to blocks.
func (o Options) rowCacheBytes() int {
	if o.RowCacheBytes < rowcache.MinBytes {
		return 0
	}
	return o.RowCacheBytes
}

func setDefault(field *int, value int) {
	if *field == 0 {
		*field = value
	}
}

// Validate reports every setting that is out of its bounds.
func (o Options) Validate() error {
	o = o.withDefaults()
	return errors.Join(
		within("MemtableBytes", o.MemtableBytes, 64<<10, 1<<30),
		within("RowCacheBytes", o.RowCacheBytes, math.MinInt, max(o.CacheBytes, 0)),
		within("BlockBytes", o.BlockBytes, 1<<10, 64<<10),
		within("ApartBytes", max(o.ApartBytes, -1), apartLeast(o.ApartBytes), 64<<20),
		within("Compression", int(o.Compression), int(CompressionAdaptive), int(CompressionZstd)),
		within("TableBytes", o.TableBytes, 64<<10, 256<<20),
		within("LevelBytes", o.LevelBytes, 64<<10, 1<<40),
		within("CompactCount", o.CompactCount, 1, 64),
		within("CompactionCount", o.CompactionCount, 1, 16),
		within("StopCount", o.StopCount, o.CompactCount+1, 128),
		within("Log", int(o.Log), int(LogOff), int(LogNever)),
		within("LogSyncInterval in milliseconds", int(o.LogSyncInterval.Milliseconds()), 1, 3_600_000),
		within("LogSegmentBytes", o.LogSegmentBytes, 64<<10, 1<<30),
		within("ScrubBytesPerSecond", o.ScrubBytesPerSecond, 0, 1<<40),
		within("ScrubInterval in seconds", int(o.ScrubInterval.Seconds()), 1, 366*24*3600),
	)
}

// apartLeast allows every negative number.
func apartLeast(bytes int) int {
	if bytes < 0 {
		return -1
	}
	return 16
}

func within(name string, value, least, most int) error {
	if value < least || value > most {
		return fmt.Errorf("engine options: %s is %d, must be between %d and %d", name, value, least, most)
	}
	return nil
}
