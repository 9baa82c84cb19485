//go:build amd64 && !race

package rowcache

import (
	"sync/atomic"
	"unsafe"
)

// An atomic store is an exchange on amd64, which waits until all stores before it have reached the cache: word by word, a row waits for the memory
// of each of its lines in turn. Plain stores do not, and are enough here. The processor makes them visible in their order and after
// those of locked instructions before them, which slots and stamps are changed with; what a reader copies meanwhile it throws away, as the stamp is
// another one then (RW2, RW3). The race detector knows nothing of stamps and gets the other version.

// storeWords writes as many words as there are bytes for; it is a multiple of eight.
func storeWords(to []atomic.Uint64, b []byte) { copy(bytesOf(to), b) }

// copyWords copies a row, to where it may lie over itself.
func copyWords(to, from []atomic.Uint64) { copy(bytesOf(to), bytesOf(from)) }

func bytesOf(words []atomic.Uint64) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
}
