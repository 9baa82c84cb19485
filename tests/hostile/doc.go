// Package hostile does to a real node what no honest client does, and wants two things: memory
// within a stated bound, and an honest client beside it that gets right answers, on time.
//
// It is not about replies to wrong commands (package differential) nor about faults of machines
// and networks (package chaos). Everything stays on loopback, is bounded in number and time, and
// ends with the test.
//
// The life of an attack:
//
//  1. The resident memory of the node is read; from now on its peak is watched.
//  2. An honest client begins: it writes and reads small and large values and counts the time.
//  3. The attack runs with connections of its own and returns.
//  4. The honest client stops; the peak is compared with the attack's bound, which is arithmetic
//     on the node's limits where it can be, and generous; both are printed.
//  5. The attack's connections are closed.
//
// # Goroutines
//
// The honest client, the watcher of memory and the attack's own; the test waits for all.
//
// # Locks
//
// attack.mu is a leaf.
package hostile
