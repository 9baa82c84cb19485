package sharedlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/internal/vfs"
)

// A segment file begins with its header, alone on its page:
//
//	 0  8 B  "LTNGSLOG"
//	 8  u32  format, 1
//	12  u32  sequence of the segment
//	16  u64  segment id, random
//	24  16 B file UUID, random
//	40  u32  CRC32C of bytes 0 to 40
const (
	dataStart          = 4096
	segmentHeaderBytes = 44
	segmentMagic       = "LTNGSLOG"
	formatVersion      = 1
	segmentSuffix      = ".segment"
	temporarySuffix    = ".tmp"
)

// reservedBytes at the end of a segment are for the records that end it: the oldest segment, a
// close, and the seal.
const reservedBytes = 3 * headerBytes

// fillBytes is how far ahead of the records a new file is filled with zeros, so that most syncs
// need not write a new length.
const fillBytes = 1 << 20

// maxFree is how many files are kept for reuse.
const maxFree = 2

// segment is one life of a file.
type segment struct {
	// Set when it is made, never written again.
	identity
	sequence uint32
	segmentFile

	// Owned by the writer.
	end       int64 // where the next record goes
	live      int   // records that somebody needs
	liveBytes int64
}

// segmentFile is a file that holds a segment, or waits for one.
type segmentFile struct {
	name string // without the directory
	file vfs.UpdatedFile
	size int64 // only the writer's is current
}

func encodeSegmentHeader(sequence uint32, s *identity) []byte {
	b := append(make([]byte, 0, segmentHeaderBytes), segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, sequence)
	b = binary.LittleEndian.AppendUint64(b, s.id)
	b = append(b, s.uuid[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errSegmentHeader = errors.New("no segment header")

// decodeSegmentHeader returns errSegmentHeader for what a torn write may leave, another error
// for a format that this program does not know.
func decodeSegmentHeader(b []byte) (sequence uint32, s identity, err error) {
	if len(b) < segmentHeaderBytes || string(b[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[40:]) != crc32.Checksum(b[:40], castagnoli) {
		return 0, s, errSegmentHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return 0, s, fmt.Errorf("the segment is of format %d, this program knows %d", v, formatVersion)
	}
	sequence = binary.LittleEndian.Uint32(b[12:])
	s.id = binary.LittleEndian.Uint64(b[16:])
	copy(s.uuid[:], b[24:])
	return sequence, s, nil
}

// segmentNumber is the number in the name of a segment file.
func segmentNumber(name string) (int, bool) {
	digits, ok := strings.CutSuffix(name, segmentSuffix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 0
}

func (l *Log) path(name string) string { return l.opts.Dir + "/" + name }

// newSegment takes a free file, or makes one, and gives it a new identity, which is durable when
// newSegment returns.
func (l *Log) newSegment(sequence uint32) (*segment, error) {
	s := &segment{sequence: sequence, end: dataStart}
	if err := l.drawIdentity(&s.identity); err != nil {
		return nil, err
	}
	header := encodeSegmentHeader(sequence, &s.identity)
	if len(l.free) == 0 {
		f, err := l.createFile(header)
		s.segmentFile = f
		return s, err
	}
	s.segmentFile = l.free[0]
	l.free = slices.Delete(l.free, 0, 1)
	_, err := s.file.WriteAt(header, 0)
	if err == nil {
		err = s.file.SyncData()
	}
	if err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	l.written.header()
	return s, nil
}

func (l *Log) drawIdentity(s *identity) error {
	var b [24]byte
	if _, err := l.opts.Entropy.Read(b[:]); err != nil {
		return fmt.Errorf("draw segment id: %w", err)
	}
	s.id = binary.LittleEndian.Uint64(b[:])
	copy(s.uuid[:], b[8:])
	return nil
}

// createFile makes a file that has its header as soon as it has its name: a segment file with a
// header that does not read is damage, or was being reused.
func (l *Log) createFile(header []byte) (segmentFile, error) {
	l.fileNumber++
	f := segmentFile{name: fmt.Sprintf("%06d%s", l.fileNumber, segmentSuffix), size: dataStart}
	if err := vfs.WriteFileAtomic(l.opts.FS, l.opts.Dir, f.name, append(header, make([]byte, dataStart-len(header))...)); err != nil {
		return f, err
	}
	l.written.header()
	var err error
	f.file, err = l.opts.FS.Update(l.path(f.name))
	return f, err
}

// release keeps files for reuse, as many as make sense, and removes the others. Nothing in them
// may be needed any more, as far as the disk knows.
func (l *Log) release(files ...segmentFile) error {
	for _, f := range files {
		if len(l.free) < maxFree {
			l.free = append(l.free, f)
			continue
		}
		// The name is not synced away: a file that comes back holds nothing that counts.
		if err := errors.Join(f.file.Close(), l.opts.FS.Remove(l.path(f.name))); err != nil {
			return err
		}
	}
	return nil
}

// find returns the segment of that sequence, nil if it is not in use any more.
func (l *Log) find(sequence uint32) *segment {
	l.segments.RLock()
	defer l.segments.RUnlock()
	i, ok := slices.BinarySearchFunc(l.segments.list, sequence, func(s *segment, sequence uint32) int {
		return int(int64(s.sequence) - int64(sequence))
	})
	if !ok {
		return nil
	}
	return l.segments.list[i]
}

// readRecord reads and verifies the record that should be at a location. The payload of the
// result is its own.
func (s *segment) readRecord(at location) (*record, error) {
	b := make([]byte, headerBytes+int(at.length))
	if n, err := s.file.ReadAt(b, int64(at.offset)); err != nil && (!errors.Is(err, io.EOF) || n < len(b)) {
		return nil, fmt.Errorf("read %s at %d: %w", s.name, at.offset, err)
	}
	h, ok := s.decodeHeader(b, int64(at.offset), int64(at.offset)+recordBytes(int(at.length)))
	if !ok || h.length != at.length {
		return nil, &DamageError{File: s.name, Offset: int64(at.offset), Reason: "record header",
			Expected: fmt.Sprintf("a record of %d bytes of segment %016x", at.length, s.id), Found: "none"}
	}
	h.payload = b[headerBytes:]
	if err := s.checkPayload(int64(at.offset), &h); err != nil {
		return nil, err
	}
	return &h.record, nil
}

func (s *segment) checkPayload(offset int64, h *header) error {
	if sum := crc32.Checksum(h.payload, castagnoli); sum != h.checksum {
		return &DamageError{File: s.name, Offset: offset, Reason: fmt.Sprintf("payload of index %d of group %d", h.index, h.group),
			Expected: fmt.Sprintf("checksum %08x", h.checksum), Found: fmt.Sprintf("%08x", sum)}
	}
	return nil
}
