// Package backup backs clusters of processes up while writers are at work, and restores the backups into clusters of other sizes.
//
// It is not where damage is tried: package backup of the product does that without processes.
//
// # The life of a test
//
//  1. A cluster starts, and each writer writes its own keys round after round, in a fixed order: the number of the round is
//     the value. Keys of one writer share a hash tag, so they are in one shard.
//  2. While they write, lightning-cli backup makes a backup.
//  3. The backup is restored into clusters of other sizes by lightning-cli restore.
//  4. What these hold must be a moment of each writer (BT1), and all that was written before it began.
//  5. The last of these clusters, which has TLS and a password, is backed up again. While the rows of a shard are on their way its leader
//     is killed, and that of the other shard moves to another node. The backup is right, or it is none and the next one is tried.
//
// # Goroutines
//
//   - Writers: started by a test, which stops them and waits for them.
//
// # Locks
//
// None; what is acknowledged is an atomic of each writer.
//
// # Invariants
//
//   - BT1: of the keys of one writer, in their order, those up to some key have the value of one round and the others that of the
//     round before; no value is older than what was acknowledged before the backup began, or newer than what was sent.
package backup
