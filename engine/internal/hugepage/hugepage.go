package hugepage

import (
	"sync/atomic"
	"unsafe"
)

// Bytes is the size of a huge page.
const Bytes = 2 << 20

// Make is make([]T, n) for a T without pointers whose size is a power of two. From Bytes on it begins at a huge page; the
// memory before that is not touched.
func Make[T any](n int) []T {
	var one T
	size := int(unsafe.Sizeof(one))
	if n*size < Bytes {
		return make([]T, n)
	}
	all := make([]T, n+Bytes/size)
	skip := 0
	if over := int(uintptr(unsafe.Pointer(&all[0])) % Bytes); over != 0 {
		skip = (Bytes - over) / size
	}
	all = all[skip : skip+n : skip+n]
	whole := n * size / Bytes * Bytes // HP1
	advise(unsafe.Slice((*byte)(unsafe.Pointer(&all[0])), whole))
	return all
}

// Mapping is words outside Go's heap: the collector neither counts nor frees them, so it does not let the garbage grow by as much again.
type Mapping struct {
	Words []atomic.Uint64
	raw   []byte
}

// Map makes zero words on huge pages, or none where the system has no such memory to give.
func Map(words int) (m Mapping, ok bool) {
	raw := mapMemory(8*words + Bytes)
	if raw == nil {
		return m, false
	}
	skip := int(-uintptr(unsafe.Pointer(&raw[0])) % Bytes)
	inner := raw[skip : skip+8*words]
	advise(inner[:len(inner)/Bytes*Bytes]) // HP1
	return Mapping{Words: unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&inner[0])), words), raw: raw}, true
}

// Drop gives the memory back to the system and makes all words zero. They may be used again, and be read meanwhile.
func (m Mapping) Drop() { dropMemory(m.raw) }

// Unmap ends a mapping. Nobody may use its words any more (HP2).
func (m Mapping) Unmap() { unmapMemory(m.raw) }

// Release gives the memory of words that Make or Map made back to the system until they are used again, as far as it is whole pages. Their
// values are lost; they may be read meanwhile. Words of Make are still counted as a part of Go's heap.
func Release(words []atomic.Uint64) {
	if len(words) == 0 {
		return
	}
	page := pageBytes()
	b := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words))
	skip := int(-uintptr(unsafe.Pointer(&b[0])) % uintptr(page))
	if whole := (len(b) - skip) / page * page; whole > 0 {
		dropMemory(b[skip : skip+whole]) // HP3
	}
}
