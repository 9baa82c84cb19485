// Package budget divides what the stores of one process share, and of which each alone would take too much: memory for
// rows that are not in tables yet, compactions that run side by side, bytes written in the background.
//
// It knows no store: a store joins with a function that seals its memtable. And it knows no cache, but what caches did.
//
// # Memory
//
//  1. A writer asks for the bytes of its batch by Member.Reserve before it adds it, and tells by Fills what the memtable holds then.
//  2. While all memtables that fill are within half of the limit, that is two atomic additions.
//  3. Who would go beyond has the largest memtable sealed, whosever it is: its own, or by trying the lock of another store,
//     and if that is busy the next largest. So a store that nobody writes to gives back what it holds.
//  4. Beyond the limit a writer waits for flushes. What a flush has written counts no more, so the writer goes on bit by bit as the
//     flush does, and not when it has ended.
//  5. If nothing is being flushed, nobody waits: there would be nothing to wait for.
//
// # Caches
//
// Division parts bytes between rows and blocks. Both caches remember what they dropped not long ago, and count what of that comes back: that
// many reads more room would have saved. Look compares what a byte more would have saved of each, and moves a step of room if that is far from the
// same. It is pure: the same counts give the same parts.
//
// Goroutines: none.
//
// Locks: Memory.mu, Slots.mu and Rate.mu, leaves: no store is called while one is held.
//
// # Invariants
//
//   - BG1: with a limit, reserved and sealed bytes of all members are never above it, but for a batch that came when
//     nothing was left to be flushed.
//   - BG2: a writer waits only while some other member, or its own flush, has sealed bytes; a member that has left has none.
//   - BG3: no more slots are taken than the limit was when the last of them was.
//   - BG4: room of caches moves only to where a byte saves more, an eighth of all at a time at most, and never beyond the bounds of either.
package budget
