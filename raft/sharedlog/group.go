package sharedlog

import (
	"fmt"
	"slices"
	"sync"

	hraft "github.com/hashicorp/raft"
)

// location is where an entry is.
type location struct {
	segment uint32 // sequence
	offset  uint32
	length  uint32 // of the payload
	term    uint64
}

// key names a replica.
type key struct{ group, incarnation uint64 }

// String implements fmt.Stringer.
func (k key) String() string { return fmt.Sprintf("%d#%d", k.group, k.incarnation) }

// stableValue is the value of a key and where it is.
type stableValue struct {
	value []byte
	at    location
}

// group is the state of one replica's log: everything but the entries' data, most of which is
// only on disk.
type group struct {
	// Set when it is made, never written again.
	key key

	// Owned by the writer: the range as it will be when what is being written is durable.
	next span
	// evidence are the records that prove its damage. They stay where they are until it is dropped: it
	// would be taken for whole without them.
	evidence []location

	// mu is a leaf. What it guards is written by the writer only, but for early and onDurable, and it
	// needs mu only to write.
	mu sync.RWMutex
	// first is the index of locations[0], 0 when there are none.
	first     uint64
	locations []location
	bytes     int64 // of the records at locations
	// cached are the newest entries, the last of them the last of locations.
	cached []hraft.Log
	// early are the entries behind the last of locations that are not durable yet. The view adds them.
	early     []hraft.Log
	onDurable func(through uint64, err error)

	stable  map[string]stableValue
	created location
	open    bool
	damage  error // why it may not be opened
}

// span is the range of indexes of a log, both 0 when it is empty.
type span struct{ first, last uint64 }

func (s span) empty() bool { return s.last == 0 }

// cutPrefix is the range without the indexes up to through.
func (s span) cutPrefix(through uint64) span {
	if s.empty() || through >= s.last {
		return span{}
	}
	return span{max(s.first, through+1), s.last}
}

// cutSuffix is the range without the indexes from start on.
func (s span) cutSuffix(start uint64) span {
	if s.empty() || start <= s.first {
		return span{}
	}
	return span{s.first, min(s.last, start-1)}
}

func newGroup(k key) *group { return &group{key: k, stable: make(map[string]stableValue)} }

// spanLocked is the range of what is durable.
func (g *group) spanLocked() span {
	if len(g.locations) == 0 {
		return span{}
	}
	return span{g.first, g.first + uint64(len(g.locations)) - 1}
}

// heldLocked is the range of what is stored, durable or not.
func (g *group) heldLocked() span {
	held := g.spanLocked()
	if n := len(g.early); n > 0 {
		held.last = g.early[n-1].Index
		if held.first == 0 {
			held.first = g.early[0].Index
		}
	}
	return held
}

// locationLocked finds an entry.
func (g *group) locationLocked(index uint64) (location, bool) {
	if index < g.first || index-g.first >= uint64(len(g.locations)) {
		return location{}, false
	}
	return g.locations[index-g.first], true
}

// cachedLocked copies an entry that is in memory.
func (g *group) cachedLocked(index uint64, out *hraft.Log) bool {
	fromEnd := g.first + uint64(len(g.locations)) - index // 1 is the last
	if index < g.first || fromEnd == 0 || fromEnd > uint64(len(g.cached)) {
		return false
	}
	*out = g.cached[uint64(len(g.cached))-fromEnd]
	return true
}

// cutLocked keeps the range keep of what is there, which is a prefix or suffix of it, and returns
// the locations that go and the bytes that the cache gets rid of.
func (g *group) cutLocked(keep span) (gone []location, freed int) {
	defer func() { g.bytes -= recordsBytes(gone) }()
	have := g.spanLocked()
	switch {
	case keep == have:
		return nil, 0
	case keep.empty():
		gone, freed = g.locations, cacheBytesOf(g.cached)
		g.first, g.locations, g.cached = 0, nil, nil
	case keep.first > have.first:
		n := keep.first - have.first
		gone, g.locations = g.locations[:n], g.locations[n:]
		if len(gone) > len(g.locations) { // do not keep an array for the sake of its end
			g.locations = slices.Clone(g.locations)
		}
		g.first = keep.first
		freed = g.evictLocked(max(len(g.cached)-len(g.locations), 0))
	default:
		n := int(have.last - keep.last)
		cut := len(g.locations) - n
		gone = slices.Clone(g.locations[cut:])
		g.locations = g.locations[:cut]
		c := max(len(g.cached)-n, 0)
		freed = cacheBytesOf(g.cached[c:])
		clear(g.cached[c:])
		g.cached = g.cached[:c]
	}
	return gone, freed
}

// evictLocked forgets the n oldest cached entries and returns their bytes.
func (g *group) evictLocked(n int) int {
	freed := cacheBytesOf(g.cached[:n])
	clear(g.cached[:n]) // the slice keeps its array; the data must not stay with it
	if g.cached = g.cached[n:]; len(g.cached) == 0 {
		g.cached = nil
	}
	return freed
}

// appendLocked adds entries behind the last and returns the bytes that the cache takes.
func (g *group) appendLocked(entries []*hraft.Log, at []location) (taken int) {
	if len(g.locations) == 0 {
		g.first = entries[0].Index
	}
	g.locations = append(g.locations, at...)
	g.bytes += recordsBytes(at)
	start := len(g.cached)
	for _, e := range entries {
		// A copy: the entry is part of something larger that must not stay with it.
		g.cached = append(g.cached, *e)
	}
	return cacheBytesOf(g.cached[start:])
}

// recordsBytes is what the records at some locations take on disk.
func recordsBytes(at []location) int64 {
	total := int64(0)
	for i := range at {
		total += recordBytes(int(at[i].length))
	}
	return total
}

// cacheOverhead is what an entry costs besides its data.
const cacheOverhead = 120

func cacheBytesOf(entries []hraft.Log) int {
	total := len(entries) * cacheOverhead
	for i := range entries {
		total += len(entries[i].Data)
	}
	return total
}
