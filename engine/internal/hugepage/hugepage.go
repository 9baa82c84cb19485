package hugepage

import "unsafe"

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
