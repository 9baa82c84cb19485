// Package sim runs whole clusters in one process, in virtual time, under faults that a seed chooses, and
// judges what their clients saw. A history of twenty seconds takes about half of one.
//
// It is not a test of sockets, TLS, file systems or processes: those are real in tests/chaos. The nodes
// are made of the product's own parts, connected as internal/node connects them, but without gossip, RESP
// and HTTP, on a Network, a Disk and a Clock of this package.
//
// # The life of a history
//
//  1. NewPlan draws everything from a seed: nodes, shards, timers, delays, the kinds of faults, their
//     rate and length, what crashes leave, how busy the clients are. Few kinds of faults at a time find
//     what all of them together hide.
//  2. Run starts the cluster in a bubble of testing/synctest, in which time passes as soon as everything waits.
//  3. Safety: the nemesis brings faults about while callers read, write, compare and set, increment,
//     append, and write what expires, some of them with retries under one request id.
//     In one plan of three the mover replaces replicas by empty ones meanwhile, one change of the members at a time, some
//     of its orders given up early and given again. In another third the splitter splits shards, in the steps of the master.
//  4. Liveness: the faults end. Every shard must be led, every node must answer and all replicas must
//     become equal within a bound of virtual time.
//  5. The checkers of tests/history judge what was seen, and the rows of all replicas are compared.
//  6. Everything is closed; synctest fails a bubble that leaves a goroutine behind.
//
// A history proves nothing without operations that were acknowledged and a fault that a leader felt, so one
// that lacks either fails.
//
// # Repeating
//
// A seed repeats the plan, not the schedule, which the Go runtime draws by itself. To look for a violation
// again, make many histories of one plan: -sim.seed=7 -sim.histories=50 -sim.verbose. Command replay, below this
// directory, repeats a schedule as well.
//
// # What a bubble demands
//
// Time passes only while every goroutine waits for a channel, a timer or a condition of its bubble. Waiting for a
// mutex does not count, so nothing here sleeps while it holds one, and what sleeps is called without.
// Neither do sockets and files, so there are none.
//
// # Goroutines
//
// Those of the nodes, which end in life.close; the callers and the nemesis of a history, which Run waits for.
// A crash leaves the goroutines of the former life to end by themselves, cut off from network and disk;
// Cluster.Close waits for them.
//
// # Locks
//
// Every mutex is a leaf, but Disk.mu is held while the memory behind the disk is copied.
//
// # Invariants
//
//	SM1 What a node answers, sends or writes after its crash reaches nobody.
//	SM2 What a network delays arrives in order and whole, or the connection breaks at both ends.
package sim
