package hugepage

import "syscall"

// madvHugepage is MADV_HUGEPAGE, which package syscall knows by no name on some processors.
const madvHugepage = 14

// advise asks for huge pages. Without them everything works, only slower.
func advise(b []byte) { _ = syscall.Madvise(b, madvHugepage) }
