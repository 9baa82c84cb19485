package cachesim

import (
	"encoding/binary"
	"math"

	"github.com/lightning-db/lightning/engine/internal/cache"
	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/rowcache"
)

// EntryBytes is what an entry counts in a cache of bytes.
const EntryBytes = 8 << 10

// blocks is the engine's cache of blocks.
type blocks struct{ cache *cache.Part[uint32] }

func newBlocks(capacity, _ int) Policy {
	return blocks{cache.New[uint32](capacity * EntryBytes).Part(0)}
}

func (b blocks) Read(key uint32) bool {
	place := cache.Place{File: uint64(key) >> 10, Offset: uint64(key&1023) * EntryBytes}
	if _, hit := b.cache.Get(place); hit {
		return true
	}
	b.cache.Add(place, key, EntryBytes-cache.Overhead)
	return false
}

// rows is the engine's cache of rows.
type rows struct {
	cache *rowcache.Cache
	key   [16]byte
	value [84]byte
	to    []byte
}

// rowBytes is what one of the rows takes: its words, and a slot in a bucket. The buckets' stamps and free slots are more, so
// the cache never holds more rows than its capacity says (CS1), but fewer.
const rowBytes = 3*8 + 16 + 88 + 8

func newRows(capacity, _ int) Policy {
	return &rows{cache: rowcache.New(max(capacity*rowBytes, rowcache.MinBytes))}
}

func (r *rows) Read(key uint32) bool {
	binary.BigEndian.PutUint32(r.key[12:], key)
	q := rowcache.Query{Key: r.key[:], Hash: keyhash.Of(r.key[:]), Version: math.MaxUint64, Sequence: math.MaxUint64}
	var hit bool
	if r.to, hit = r.cache.Get(&q, r.to[:0]); hit {
		return true
	}
	r.cache.Fill(&q, &rowcache.Row{Version: 1, Sequence: 1, Value: r.value[:]})
	return false
}
