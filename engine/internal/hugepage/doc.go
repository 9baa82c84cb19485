// Package hugepage makes large slices without pointers, and asks the system for huge pages under them.
//
// It is not an allocator: what it makes lies in Go's heap, and the collector frees it. Random reads of a memory that is larger than what
// the processor knows the pages of cost a walk through the page table each, which in a virtual machine takes longer than
// the read: on the machine of docs/benchmarks.md a read anywhere in 150 MB takes 180 ns instead of 840, and one of ten thousand hot
// places in it 27 ns instead of 170. The main operation is Make: it allocates, aligns and advises. A system that knows no such advice, or refuses it,
// gives the usual pages.
//
// Goroutines: none. Locks: none.
//
// Invariants:
//
//	HP1 the advice covers whole huge pages inside the slice, and nothing beside it.
package hugepage
