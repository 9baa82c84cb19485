// Package hugepage makes large slices without pointers, and asks the system for huge pages under them.
//
// It is not an allocator of small things. What Make makes lies in Go's heap, and the collector frees it; what Map makes does not, and who
// asked for it must end it. Random reads of a memory that is larger than what
// the processor knows the pages of cost a walk through the page table each, which in a virtual machine takes longer than
// the read: on the machine of docs/benchmarks.md a read anywhere in 150 MB takes 180 ns instead of 840, and one of ten thousand hot
// places in it 27 ns instead of 170. The main operation is to allocate, align and advise. A system that knows no such advice, or refuses it,
// gives the usual pages.
//
// Goroutines: none. Locks: none.
//
// Invariants:
//
//	HP1 the advice covers whole huge pages inside the slice, and nothing beside it.
//	HP2 a mapping ends only when nobody can reach its words any more.
//	HP3 what is released is whole pages inside the words, and nothing beside them.
package hugepage
