package sealed

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"google.golang.org/protobuf/proto"

	"github.com/lightning-db/lightning/internal/vfs"
)

// Kind says what a file holds, so that one is never taken for another.
type Kind uint8

// The kinds. They are on disks: numbers are never reused.
const (
	Pledge    Kind = 1 // peerv1.PledgeRecord
	Cluster   Kind = 2 // peerv1.ClusterRecord
	Map       Kind = 3 // lightningv1.ClusterMap, as last seen by a follower
	MetaState Kind = 4 // peerv1.MetaState
)

const (
	magic       = "LDBS"
	format      = 1
	headerBytes = 16
	checksumAt  = 12

	// maxPayloadBytes bounds what Encode writes. A map of a thousand nodes and hundreds of shards is
	// below 1 MiB.
	maxPayloadBytes = 64 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// CorruptError says that a file is not what was written. Such a file is never used and never
// overwritten: what it held has to come from elsewhere.
type CorruptError struct {
	File   string
	Reason string
}

// Error implements error.
func (e *CorruptError) Error() string { return fmt.Sprintf("file %s is corrupt: %s", e.File, e.Reason) }

// Encode returns the file that holds m.
func Encode(kind Kind, m proto.Message) ([]byte, error) {
	b := make([]byte, headerBytes, headerBytes+proto.Size(m))
	b, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(b, m)
	if err != nil {
		return nil, err
	}
	if length := len(b) - headerBytes; length > maxPayloadBytes {
		return nil, fmt.Errorf("%d bytes exceed the limit of %d", length, maxPayloadBytes)
	}
	copy(b, magic)
	b[4], b[5] = byte(kind), format
	seal(b)
	return b, nil
}

// seal fills in length and checksum.
func seal(b []byte) {
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-headerBytes))
	binary.LittleEndian.PutUint32(b[checksumAt:], checksum(b))
}

func checksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:checksumAt], castagnoli), castagnoli, b[headerBytes:])
}

// Decode reads what Encode returned into m, and refuses anything else with a CorruptError that
// names file.
func Decode(file string, kind Kind, b []byte, m proto.Message) error {
	corrupt := func(reason string, args ...any) error {
		return &CorruptError{File: file, Reason: fmt.Sprintf(reason, args...)}
	}
	switch {
	case len(b) < headerBytes:
		return corrupt("%d bytes are less than a header", len(b))
	case string(b[:len(magic)]) != magic:
		return corrupt("magic % x, expected % x", b[:len(magic)], magic)
	case uint64(binary.LittleEndian.Uint32(b[8:])) != uint64(len(b)-headerBytes):
		return corrupt("%d bytes of payload, the header says %d", len(b)-headerBytes, binary.LittleEndian.Uint32(b[8:]))
	case binary.LittleEndian.Uint32(b[checksumAt:]) != checksum(b):
		return corrupt("checksum %08x, expected %08x", checksum(b), binary.LittleEndian.Uint32(b[checksumAt:]))
	}
	// From here on the bytes are what some version wrote (F1).
	if b[5] != format || b[6] != 0 || b[7] != 0 {
		return fmt.Errorf("file %s has format %d, this version reads format %d", file, b[5], format)
	}
	if Kind(b[4]) != kind {
		return corrupt("kind %d, expected %d", b[4], kind)
	}
	if err := proto.Unmarshal(b[headerBytes:], m); err != nil {
		return corrupt("payload: %v", err)
	}
	return nil
}

// Write replaces the file dir/name by one that holds m. When it returns nil the file is durable.
// After an error it is the old one or the new one, and the caller must take its disk for failed.
func Write(fsys vfs.FS, dir, name string, kind Kind, m proto.Message) error {
	b, err := Encode(kind, m)
	if err != nil {
		return fmt.Errorf("encode %s/%s: %w", dir, name, err)
	}
	if err := vfs.WriteFileAtomic(fsys, dir, name, b); err != nil {
		return fmt.Errorf("write %s/%s: %w", dir, name, err)
	}
	return nil
}

// Read reads the file dir/name into m; found is false if there is none.
func Read(fsys vfs.Files, dir, name string, kind Kind, m proto.Message) (found bool, err error) {
	file := dir + "/" + name
	b, err := vfs.ReadFile(fsys, file)
	if vfs.IsNotExist(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", file, err)
	}
	return true, Decode(file, kind, b, m)
}
