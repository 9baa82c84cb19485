package memtable

import "sync/atomic"

const (
	// A node chunk is 64 KiB: an idle store's memtable costs little, a full one has some tens.
	nodeChunkBits  = 14
	nodeChunkWords = 1 << nodeChunkBits

	// maxDataChunkBytes is also the size from which adopting a batch's buffer is worth an
	// allocation of its own.
	minDataChunkBytes = 16 << 10
	maxDataChunkBytes = 1 << 20
)

type nodeChunk [nodeChunkWords]atomic.Uint32

// arena holds nodes and rows. Its two directories are replaced, never changed in place, when a
// chunk is added, so a reader's copy stays good for everything linked before it was loaded (T2).
type arena struct {
	nodes atomic.Pointer[[]*nodeChunk]
	data  atomic.Pointer[[][]byte]

	// Owned by the writer.
	nodeWords int    // words used of the last node chunk
	room      []byte // unused rest of the open data chunk
	open      uint32 // its number
	openSize  int
	used      atomic.Int64 // bytes of nodes and rows
}

func (a *arena) init() {
	a.nodes.Store(&[]*nodeChunk{})
	a.data.Store(&[][]byte{})
	a.nodeWords = nodeChunkWords
}

// node gives the words of a node from its reference on.
func (a *arena) node(ref uint32) []atomic.Uint32 {
	return (*a.nodes.Load())[ref>>nodeChunkBits][ref&(nodeChunkWords-1):]
}

// newNode reserves words that do not span chunks.
func (a *arena) newNode(words int) uint32 {
	if a.nodeWords+words > nodeChunkWords {
		old := *a.nodes.Load()
		grown := append(old[:len(old):len(old)], new(nodeChunk))
		a.nodes.Store(&grown)
		a.nodeWords = 0
	}
	ref := uint32(len(*a.nodes.Load())-1)<<nodeChunkBits | uint32(a.nodeWords)
	a.nodeWords += words
	a.used.Add(int64(4 * words))
	return ref
}

// addData stores the bytes of a batch in one piece and tells chunk and offset, and whether buf
// itself was kept.
func (a *arena) addData(buf []byte) (chunk uint32, offset int, adopted bool) {
	a.used.Add(int64(len(buf)))
	if len(buf) <= len(a.room) {
		offset = len((*a.data.Load())[a.open]) - len(a.room)
		copy(a.room, buf)
		a.room = a.room[len(buf):]
		return a.open, offset, false
	}
	if len(buf) >= maxDataChunkBytes/4 {
		if cap(buf)-len(buf) > len(buf)/4 { // growing a slice leaves up to half of it unused
			buf = append(make([]byte, 0, len(buf)), buf...)
			return a.addChunk(buf), 0, false
		}
		return a.addChunk(buf), 0, true
	}
	a.openSize = min(max(2*a.openSize, minDataChunkBytes, 4*len(buf)), maxDataChunkBytes)
	fresh := make([]byte, a.openSize)
	copy(fresh, buf)
	a.open = a.addChunk(fresh)
	a.room = fresh[len(buf):]
	return a.open, 0, false
}

func (a *arena) addChunk(c []byte) uint32 {
	old := *a.data.Load()
	grown := append(old[:len(old):len(old)], c)
	a.data.Store(&grown)
	return uint32(len(grown) - 1)
}
