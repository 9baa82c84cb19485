package node

import (
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"strings"

	pb "github.com/lightning-db/lightning/api/lightningv1"
	"github.com/lightning-db/lightning/engine"
)

// byteSize is a number of bytes as people write it: 1GiB, 512MiB, 65536.
type byteSize int64

var byteUnits = []struct {
	suffix string
	bytes  float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"", 1}}

// Set implements pflag.Value.
func (s *byteSize) Set(text string) error {
	for _, unit := range byteUnits {
		digits, found := strings.CutSuffix(text, unit.suffix)
		if !found {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || n < 0 || n*unit.bytes >= math.MaxInt64 || math.IsNaN(n) {
			return fmt.Errorf("%q is not a size such as 1GiB or 512MiB", text)
		}
		*s = byteSize(n * unit.bytes)
		return nil
	}
	return nil
}

// String implements pflag.Value.
func (s *byteSize) String() string {
	for i := len(byteUnits) - 2; i >= 0; i-- {
		if unit := int64(byteUnits[i].bytes); *s != 0 && int64(*s)%unit == 0 {
			return strconv.FormatInt(int64(*s)/unit, 10) + byteUnits[i].suffix
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

// Type implements pflag.Value.
func (*byteSize) Type() string { return "size" }

// minMemoryLimit is what a node with three idle shards and some clients needs, twice over.
const minMemoryLimit = 128 << 20

// Shares of the memory limit. The collector is told less than the limit, because stacks of the system, the kernel's
// buffers of sockets and the pages of files that are being written count against a container, too.
const (
	collectorShare = 0.8
	engineShare    = 0.4
	// What requests may hold at most is more than what is left, together: they seldom do so by all protocols at
	// once, and what one protocol holds is mostly what the server counts, too.
	requestShare  = 0.5   // all requests that are being worked on
	commandShare  = 0.25  // long commands by the Redis protocol
	transferShare = 0.125 // uploads and downloads by gRPC
	replyShare    = 0.125 // long replies by the Redis protocol, and its MULTI blocks
)

// share is a part of the memory limit and at most usual, which is what is right without a limit.
func (c Config) share(part float64, usual int) int {
	if c.MemoryLimit == 0 {
		return usual
	}
	return min(usual, int(float64(c.MemoryLimit)*part))
}

// limitMemory tells the collector to keep the process below --memory-limit. Without the flag GOMEMLIMIT decides.
func (c Config) limitMemory() {
	if c.MemoryLimit > 0 {
		debug.SetMemoryLimit(c.collectorLimit())
	}
}

// collectorLimit leaves out the caches that the collector does not see. It stays at an eighth of the limit at least: caches
// that are as large as that by their own flag are more than the limit has room for.
func (c Config) collectorLimit() int64 {
	limit := float64(c.MemoryLimit) * collectorShare
	outside := float64(c.runtimeOptions().OutsideHeapBytes())
	return int64(max(limit-outside, limit/8))
}

// shardsExpected is how many shards a node of this cluster holds at least.
func (c Config) shardsExpected() int { return max(3, c.Shards, c.BootstrapExpect) }

// What the engine gives one store, if nothing is said.
const (
	maxMemtableBytes = 16 << 20
	maxCacheBytes    = 64 << 20
)

// runtimeOptions are what the engines of all replicas of this node share. Caches have what so many shards as a node of this cluster is
// expected to hold would have alone, and they and memtables at most half of the engines' share of the memory limit each. What is set by its own
// flag counts for each shard, limit or not.
func (c Config) runtimeOptions() engine.RuntimeOptions {
	shards := c.shardsExpected()
	o := engine.RuntimeOptions{StoreCount: shards, CacheBytes: int(c.CacheBytes) * shards}
	half := int(float64(c.MemoryLimit) * engineShare / 2)
	if o.CacheBytes == 0 {
		o.CacheBytes = maxCacheBytes * shards
		if c.MemoryLimit > 0 {
			o.CacheBytes = min(o.CacheBytes, half)
		}
	}
	if c.MemtableBytes == 0 {
		o.MemtableBytes = half
	}
	return o
}

// clearCaches drops what the engines of this node have cached, and says how much that was.
func (n *node) clearCaches() *pb.ClearCachesResponse {
	before := n.replicas.engine.Runtime.Metrics()
	n.replicas.engine.Runtime.ClearCaches()
	after := n.replicas.engine.Runtime.Metrics()
	freed := func(before, after int) uint64 { return uint64(max(before-after, 0)) } // readers fill them meanwhile
	r := &pb.ClearCachesResponse{
		NodeId: string(n.id), RowBytes: freed(before.RowBytes, after.RowBytes), BlockBytes: freed(before.BlockBytes, after.BlockBytes),
	}
	n.logger.Info("caches cleared", "row_bytes", r.RowBytes, "block_bytes", r.BlockBytes)
	return r
}

// engineOptions are the settings of each replica's engine. A memtable is small enough that one that fills and one that is written are within
// what all may hold together.
func (c Config) engineOptions() engine.Options {
	o := engine.Options{MemtableBytes: int(c.MemtableBytes)}
	if all := c.runtimeOptions().MemtableBytes; all > 0 {
		o.MemtableBytes = min(maxMemtableBytes, all/4)
	}
	return o
}
