package hugepage

import "syscall"

// madvHugepage is MADV_HUGEPAGE, which package syscall knows by no name on some processors.
const madvHugepage = 14

// advise asks for huge pages. Without them everything works, only slower.
func advise(b []byte) { _ = syscall.Madvise(b, madvHugepage) }

// mapMemory gives zero bytes, or nil.
func mapMemory(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE|syscall.MAP_NORESERVE)
	if err != nil {
		return nil
	}
	return b
}

// dropMemory and unmapMemory fail only for what is no mapping.
func dropMemory(b []byte)  { _ = syscall.Madvise(b, syscall.MADV_DONTNEED) }
func unmapMemory(b []byte) { _ = syscall.Munmap(b) }

func pageBytes() int { return syscall.Getpagesize() }
