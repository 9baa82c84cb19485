// Package restore writes the rows of a verified backup into a cluster and compares the cluster with it.
//
// It does not verify: a backup.Backup has been. It never overwrites a key.
//
// # The life of a restore
//
//  1. Restore wants a cluster without keys, unless it resumes one that broke off.
//  2. The files are read one after another; rows that have expired are left out. Rows gather in batches by shard of the
//     cluster, whose number has nothing to do with that of the backup.
//  3. Workers apply the batches. Each put is on the condition that the key is absent, so that a repeat changes nothing.
//     A batch that turns out to be of several shards is applied row by row; a long value goes alone.
//  4. The cluster is scanned, and what is in it compared with the rows of the backup by count and digest.
//
// # Goroutines
//
// The workers of a Restore, started and waited for by it.
//
// # Locks
//
// restorer.mu is a leaf.
package restore
