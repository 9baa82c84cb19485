package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"
	"strings"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/internal/vfs"
)

// A segment file begins with its header, alone on its page:
//
//	 0  8 B  "LDBwalog"
//	 8  u32  format, 1
//	12  u32  1 if each segment is synced before the next one is written to, else 0
//	16  u64  number of the segment
//	24  u64  number of the first batch that it may hold
//	32  16 B segment id, random
//	48  u32  CRC32C of bytes 0 to 48
const (
	dataStart          = 4096
	segmentHeaderBytes = 52
	segmentMagic       = "LDBwalog"
	formatVersion      = 1

	// Suffix ends the names of the log's files; what is before it means nothing.
	Suffix          = ".log"
	temporarySuffix = ".tmp"
)

const (
	// fillBytes is how far ahead of the records a new file is filled with zeros: a sync then need not write
	// a new length, which takes half as long again, and a full disk is noticed before a batch is taken.
	fillBytes = 1 << 20

	// maxFileBytes is more than a file has: the longest segment that may be asked for, or a batch beyond it. It bounds what is read into
	// memory of a file whose length is damaged.
	maxFileBytes = 1536 << 20

	// maxFree is how many files are kept for reuse: as many as one flush sets free when memtable and segment are equal
	// in size, and one more.
	maxFree = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// identity is what makes the records of one life of a file valid in no other.
type identity [16]byte

// header is what a segment says of itself.
type header struct {
	ordered bool
	number  uint64
	first   uint64
	id      identity
}

func (h *header) encode() []byte {
	b := append(make([]byte, 0, segmentHeaderBytes), segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	ordered := uint32(0)
	if h.ordered {
		ordered = 1
	}
	b = binary.LittleEndian.AppendUint32(b, ordered)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	b = append(b, h.id[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errNoHeader = errors.New("no segment header")

// decodeHeader returns errNoHeader for what a torn write, or damage, may leave, and another error for a format
// that this program does not know.
func decodeHeader(name string, b []byte) (h header, err error) {
	if len(b) < segmentHeaderBytes || string(b[:8]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[48:]) != crc32.Checksum(b[:48], castagnoli) {
		return h, errNoHeader
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v != formatVersion {
		return h, corrupt.Shape(name, 8, "format version", formatVersion, v)
	}
	h.ordered = binary.LittleEndian.Uint32(b[12:]) == 1
	h.number = binary.LittleEndian.Uint64(b[16:])
	h.first = binary.LittleEndian.Uint64(b[24:])
	copy(h.id[:], b[32:])
	return h, nil
}

// file is a file that holds a segment, or waits for one.
type file struct {
	name   string // without the directory
	handle vfs.UpdatedFile
	filled int64 // its length
}

// segment is one life of a file.
type segment struct {
	header
	file
	end    int64  // behind the last record, once the next segment has begun
	last   uint64 // number of the last batch, or the one before first
	synced bool   // all of it is durable, and nothing will be added
}

// fileNumber is the number in the name of a file.
func fileNumber(name string) (uint64, bool) {
	digits, ok := strings.CutSuffix(name, Suffix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}

func (l *Log) path(name string) string { return l.options.Dir + "/" + name }

// newSegment takes a free file, or makes one, and gives it a header, which is durable when newSegment returns. If
// it fails with a full disk nothing has changed.
func (l *Log) newSegment(first uint64) (*segment, error) {
	l.number++ // also after a failure: no two files must have one number
	s := &segment{header: header{ordered: l.options.Mode != Never, number: l.number, first: first}, last: first - 1}
	if err := l.drawIdentity(&s.id); err != nil {
		return nil, err
	}
	f, ok := l.takeFree()
	if !ok {
		f, err := l.createFile(s.encode())
		if err != nil {
			return nil, err
		}
		s.file = f
		return s, l.fillKept(s)
	}
	_, err := f.handle.WriteAt(s.encode(), 0)
	if err == nil {
		err = f.handle.SyncData()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("write header of %s: %w", f.name, err), f.handle.Close())
	}
	s.file = f
	return s, l.fillKept(s)
}

// fillKept makes the room in a new segment that is kept for deletes. A file for which there is not so much waits for a time when there is.
func (l *Log) fillKept(s *segment) error {
	err := s.fill(dataStart+l.kept()+sealBytes, dataStart)
	if err != nil {
		l.mu.Lock()
		l.mu.free = append(l.mu.free, s.file)
		l.mu.Unlock()
	}
	return err
}

func (l *Log) drawIdentity(id *identity) error {
	for i := 0; i < len(id); i += 8 {
		n, err := l.options.Entropy.Uint64()
		if err != nil {
			return fmt.Errorf("draw segment id: %w", err)
		}
		binary.LittleEndian.PutUint64(id[i:], n)
	}
	return nil
}

// createFile makes a file that has its header as soon as it has its name.
func (l *Log) createFile(header []byte) (file, error) {
	l.fileNumber++
	f := file{name: fmt.Sprintf("%06d%s", l.fileNumber, Suffix), filled: dataStart}
	page := append(header, make([]byte, dataStart-len(header))...)
	if err := vfs.WriteFileAtomic(l.options.FS, l.options.Dir, f.name, page); err != nil {
		// Nothing may be left that takes room on a full disk. What cannot be removed is left to the next Replay.
		_ = l.options.FS.Remove(l.path(f.name + temporarySuffix))
		return f, fmt.Errorf("create %s: %w", f.name, err)
	}
	var err error
	f.handle, err = l.options.FS.Update(l.path(f.name))
	return f, err
}

// zeros is what files are filled with.
var zeros [64 << 10]byte

// fill writes zeros so that the file reaches to end at least, and some way beyond, but not beyond limit for that.
func (f *file) fill(end, limit int64) error {
	if end <= f.filled {
		return nil
	}
	size := min((end+fillBytes-1)/fillBytes*fillBytes, max(end, limit))
	for f.filled < size {
		n, err := f.handle.WriteAt(zeros[:min(size-f.filled, int64(len(zeros)))], f.filled)
		f.filled += int64(n)
		if err != nil {
			return fmt.Errorf("extend %s: %w", f.name, err)
		}
	}
	return nil
}

// readFile reads a whole file of the log.
func readFile(fs vfs.FS, dir, name string) ([]byte, error) {
	b, err := vfs.ReadShortFile(fs, dir+"/"+name, maxFileBytes)
	if errors.Is(err, vfs.ErrTooLong) {
		return nil, corrupt.Shape(name, maxFileBytes, "length of file", fmt.Sprintf("at most %d", maxFileBytes), "more")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return b, nil
}

// readHeader reads the header of a file.
func readHeader(fs vfs.FS, dir, name string) (h header, err error) {
	f, err := fs.Open(dir + "/" + name)
	if err != nil {
		return h, fmt.Errorf("open %s: %w", name, err)
	}
	defer f.Close()
	b := make([]byte, segmentHeaderBytes)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h, fmt.Errorf("read %s: %w", name, err)
	}
	return decodeHeader(name, b[:n])
}
