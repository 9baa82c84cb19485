// Package cluster runs real lightning-node processes for tests, breaks them on purpose, and
// removes every trace of them.
//
// It is not a client and checks nothing: it starts, finds, kills, pauses and cuts, and attaches what makes a disk
// fail or a clock jump: disk.go, inject.go, wallclock.go, memory.go.
//
// The life of a cluster:
//
//  1. Binary builds the program once; go build's own cache makes the second time cheap.
//  2. Start gives each node a directory, addresses and a log file, starts the processes, and
//     waits until /readyz of each says yes.
//  3. The test uses the addresses and the faults: Kill, Pause, Stop, Restart; with Options.Netns
//     also Cut and Heal.
//  4. At the end of the test everything that runs is killed by its process id, namespaces are
//     removed, and if the test failed the end of each node's log is printed.
//
// With Options.Netns each node lives in a network namespace of its own, and the namespaces hang
// on one bridge on which the test itself has an address:
//
//	 node-0          node-1          node-2
//	.1 eth0         .2 eth0         .3 eth0      nft in each namespace drops what comes
//	   |               |               |         from the nodes it is cut from
//	   +-------- bridge (.254, the test) --------+
//
// # Goroutines
//
// One per running process waits for its end; it ends with the process, which Cleanup kills.
//
// # Locks
//
// Node.mu is a leaf. Methods of Cluster are for one goroutine at a time; those of Node that only
// read addresses are for all.
//
// # Invariants
//
//	P1 Only processes that this package started are signalled, through the handle that the
//	   start returned (a pidfd), so that a reused process id is never hit.
//	P2 A node keeps its name, directory and addresses over restarts.
//	P3 Nothing is left behind: processes die with the test even if it is killed (parent death
//	   signal); namespaces that a killed test left are removed by the next one.
package cluster
