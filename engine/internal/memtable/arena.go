package memtable

import "sync/atomic"

const (
	// A chunk of nodes is 48 KiB: an idle store's memtable costs little, a full one has some tens.
	nodeChunkBits = 11
	nodesPerChunk = 1 << nodeChunkBits
	nodeBytes     = 24

	// A fresh chunk is cleared and then filled: at maxDataChunkBytes it is still in the processor's cache then. A quarter of
	// that is also the size from which adopting a batch's buffer is worth an allocation of its own.
	minDataChunkBytes = 16 << 10
	maxDataChunkBytes = 256 << 10
)

// none is the reference of no row. Rows have references from 1 on, in the order of their sequences.
const none = uint32(0)

// node is one row's place, time and neighbour. Only older is written after the row can be found.
type node struct {
	version uint64
	chunk   uint32        // where its bytes are; firstRow is or-ed in
	offset  uint32        // within the chunk
	hash    uint32        // of its key
	older   atomic.Uint32 // replaced is or-ed in
}

// firstRow marks, in a node's chunk, the row that brought its key into the memtable.
const firstRow = uint32(1) << 31

// replaced marks, in the link of the row that brought its key, that it is not the newest one any more.
const replaced = uint32(1) << 31

type nodeChunk [nodesPerChunk]node

// arena holds nodes and the bytes of rows. Its two directories are replaced, never changed in place,
// when a chunk is added, so a reader's copy stays good for everything linked before it was loaded (T2).
type arena struct {
	nodes atomic.Pointer[[]*nodeChunk]
	data  atomic.Pointer[[][]byte]

	// Owned by the writer.
	count    int    // nodes in use
	room     []byte // unused rest of the open data chunk
	open     uint32 // its number
	openSize int
	used     atomic.Int64 // bytes of nodes and rows
}

func (a *arena) init() {
	a.nodes.Store(&[]*nodeChunk{})
	a.data.Store(&[][]byte{})
}

// node gives the node of a row.
func (a *arena) node(ref uint32) *node {
	return &(*a.nodes.Load())[(ref-1)>>nodeChunkBits][(ref-1)&(nodesPerChunk-1)]
}

// newNode reserves the next node.
func (a *arena) newNode() uint32 {
	if a.count%nodesPerChunk == 0 {
		old := *a.nodes.Load()
		grown := append(old[:len(old):len(old)], new(nodeChunk))
		a.nodes.Store(&grown)
	}
	a.count++
	return uint32(a.count)
}

// row gives the encoded row of a node, and what follows it.
func (a *arena) row(n *node) []byte { return (*a.data.Load())[n.chunk&^firstRow][n.offset:] }

// addData stores the bytes of a batch in one piece and tells chunk and offset, and whether buf
// itself was kept.
func (a *arena) addData(buf []byte) (chunk uint32, offset int, adopted bool) {
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
