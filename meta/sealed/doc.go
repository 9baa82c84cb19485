// Package sealed keeps one protobuf message in one file that is checked when it is read and
// replaced as a whole.
//
// It is not a store: there are no records, no appends, no partial reads. It suits what is small,
// rarely written and must survive: a pledge, the cluster that a node belongs to, the cluster map.
//
// # The life of a write
//
//  1. Encode puts a header with kind, length and checksum before the message's bytes.
//  2. Write hands them to vfs.WriteFileAtomic: temporary file, sync, rename, sync of the directory.
//  3. After a crash at any point the file is the old one or the new one, whole.
//
// # Layout
//
// Integers are little-endian. docs/formats/meta.md specifies the payloads.
//
//	 0 magic    "LDBS"
//	 4 kind     u8: what the payload is
//	 5 format   u8 = 1
//	 6 reserved u16 = 0
//	 8 length   u32: bytes of payload; the file ends there
//	12 checksum u32: CRC32C of bytes 0 to 12 and the payload
//	16 payload
//
// # Goroutines
//
// None.
//
// # Locks
//
// None. Writers of one file take turns by their own means.
//
// # Invariants
//
//   - F1: no byte of a file is believed before the checksum over all of it was.
//   - F2: Encode is a function of kind and message: equal messages give equal files.
package sealed
