// Command cluster measures Lightning DB beside etcd, NATS JetStream KV and Redis: it starts each
// system as three processes on loopback (a single one where the comparison says so), loads it, and
// prints operations per second, latencies, the CPU time of all servers per operation, disk bytes
// per user byte, and ratios.
//
// Absolute figures of a shared machine mean little. Systems take turns within each repetition, the
// median of the repetitions counts, and what is compared is the ratio of two rows of one run.
//
// # The life of a measurement
//
//  1. A system is started in a fresh directory and waited for.
//  2. The keys are loaded, once per system and repetition.
//  3. Each workload runs its clients in a closed loop: warm-up, then the measured window, around
//     which CPU times and disk counters are read.
//  4. The system is stopped and its directory removed.
//
// # Goroutines
//
// One per client of a workload; they end with its window.
//
// # Locks
//
// None.
package main
