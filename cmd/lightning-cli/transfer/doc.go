// Package transfer writes the keys of a store as JSON lines and reads them back.
//
// It is not a backup: what is written while an export runs may be in it or not, and two keys in it
// need not have existed at the same time.
//
// A line is an object:
//
//	{"key":"user:1","value":"Ada","expires_at_ms":1767225600000}
//	{"key_b64":"/wA=","value_b64":"gIE="}
//
// Keys and values are texts, or base64 in key_b64 and value_b64 when they are not UTF-8.
// expires_at_ms is milliseconds since the Unix epoch, absent when the key does not expire. A
// version is taken and ignored, so that the lines of `scan --output json` can be read, too.
//
// # The life of an export
//
//  1. Export scans the range and writes a line for each key.
//  2. When the scan fails for a reason that may pass, it goes on behind the last key, until
//     nothing has come for Patience.
//
// # The life of an import
//
//  1. Import reads line by line; a line that cannot be read is counted and told, and the next one
//     is taken.
//  2. Lines gather in batches by shard. A batch goes to the worker of its shard when it is full,
//     or when the batches together hold too much.
//  3. The worker applies it as one independent batch. Batches of a shard are applied in the order
//     of their lines, so the last line of a key wins.
//  4. If the shard turns out to have been split, or a line of the batch is refused, the batch is
//     applied line by line.
//  5. Another error ends the import. What was written stays, and the same import can be repeated:
//     it writes the same values again, or finds them there.
//
// # Goroutines
//
// The workers of an Import, started and waited for by it. Export has none.
//
// # Locks
//
// importer.mu is a leaf.
package transfer
