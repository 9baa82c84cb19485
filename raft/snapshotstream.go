package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/raft/wire"
)

// A snapshot is the files of a checkpoint, one after the other:
//
//	magic   "LDBSNAP1"
//	length  u32 LE, of the header
//	header  index uvarint | term uvarint | configuration (length, bytes) |
//	        count uvarint | count × { name (length, bytes) | size uvarint }
//	crc32c  u32 LE, of the header
//	per file: its bytes, then crc32c u32 LE of them
//
// Its size follows from the header, because hashicorp/raft wants it in advance and exact.

const (
	snapshotMagic = "LDBSNAP1"
	// maxSnapshotHeaderBytes and maxSnapshotFiles bound what a receiver believes of a header.
	maxSnapshotHeaderBytes = 16 << 20
	maxSnapshotFiles       = 200_000
	maxFileNameBytes       = 255
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errSnapshotMalformed = errors.New("malformed snapshot")

type snapshotFile struct {
	name string
	size int64
}

type snapshotHeader struct {
	state State
	files []snapshotFile
}

func (h *snapshotHeader) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(h.state.Index))
	b = binary.AppendUvarint(b, uint64(h.state.Term))
	b = wire.AppendField(b, h.state.Configuration.Marshal())
	b = binary.AppendUvarint(b, uint64(len(h.files)))
	for _, f := range h.files {
		b = wire.AppendField(b, []byte(f.name))
		b = binary.AppendUvarint(b, uint64(f.size))
	}
	out := append([]byte(snapshotMagic), 0, 0, 0, 0)
	binary.LittleEndian.PutUint32(out[len(snapshotMagic):], uint32(len(b)))
	out = append(out, b...)
	return binary.LittleEndian.AppendUint32(out, crc32.Checksum(b, castagnoli))
}

func decodeSnapshotHeader(b []byte) (*snapshotHeader, error) {
	d := wire.Decoder{Rest: b}
	h := &snapshotHeader{state: State{Index: api.Index(d.Uvarint()), Term: api.Term(d.Uvarint())}}
	configuration, err := UnmarshalConfiguration(d.Field())
	if err != nil {
		return nil, err
	}
	h.state.Configuration = configuration
	count := d.Uvarint()
	if d.Bad || count > maxSnapshotFiles {
		return nil, errSnapshotMalformed
	}
	for range count {
		f := snapshotFile{name: string(d.Field()), size: int64(d.Uvarint())}
		if d.Bad || f.size < 0 || !plainFileName(f.name) {
			return nil, errSnapshotMalformed
		}
		h.files = append(h.files, f)
	}
	if d.End() != nil {
		return nil, errSnapshotMalformed
	}
	return h, nil
}

// plainFileName refuses names that would leave the directory they are put into.
func plainFileName(name string) bool {
	return name != "" && name != "." && name != ".." && len(name) <= maxFileNameBytes && !strings.ContainsAny(name, "/\\\x00")
}

const checksumBytes = 4

// snapshotSource reads the checkpoint in dir as a snapshot stream.
type snapshotSource struct {
	fs     vfs.FS
	dir    string
	header *snapshotHeader
	size   int64

	pending []byte // header or checksum still to be read
	next    int    // index of the file to open next
	file    vfs.File
	offset  int64
	left    int64
	sum     uint32
}

func newSnapshotSource(fsys vfs.FS, dir string, state State) (*snapshotSource, error) {
	names, err := fsys.List(dir)
	if err != nil {
		return nil, fmt.Errorf("list checkpoint: %w", err)
	}
	s := &snapshotSource{fs: fsys, dir: dir, header: &snapshotHeader{state: state}}
	for _, name := range names {
		size, err := fileSize(fsys, dir+"/"+name)
		if err != nil {
			return nil, fmt.Errorf("checkpoint file %s: %w", name, err)
		}
		s.header.files = append(s.header.files, snapshotFile{name: name, size: size})
		s.size += size + checksumBytes
	}
	s.pending = s.header.encode()
	if len(s.pending) > maxSnapshotHeaderBytes || len(s.header.files) > maxSnapshotFiles {
		return nil, fmt.Errorf("checkpoint of %d files is too large to send", len(s.header.files))
	}
	s.size += int64(len(s.pending))
	return s, nil
}

func fileSize(fsys vfs.FS, name string) (int64, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return 0, err
	}
	size, err := f.Size()
	return size, errors.Join(err, f.Close())
}

// Read implements io.Reader.
func (s *snapshotSource) Read(p []byte) (int, error) {
	for {
		switch {
		case len(s.pending) > 0:
			n := copy(p, s.pending)
			s.pending = s.pending[n:]
			return n, nil
		case s.file != nil && s.left > 0:
			return s.readFile(p)
		case s.file != nil:
			s.pending = binary.LittleEndian.AppendUint32(nil, s.sum)
			if err := s.closeFile(); err != nil {
				return 0, err
			}
		case s.next == len(s.header.files):
			return 0, io.EOF
		default:
			f := s.header.files[s.next]
			file, err := s.fs.Open(s.dir + "/" + f.name)
			if err != nil {
				return 0, fmt.Errorf("open checkpoint file %s: %w", f.name, err)
			}
			s.file, s.offset, s.left, s.sum = file, 0, f.size, 0
			s.next++
		}
	}
}

func (s *snapshotSource) readFile(p []byte) (int, error) {
	p = p[:min(int64(len(p)), s.left)]
	n, err := s.file.ReadAt(p, s.offset)
	s.sum = crc32.Update(s.sum, castagnoli, p[:n])
	s.offset += int64(n)
	s.left -= int64(n)
	if n == len(p) {
		return n, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("read checkpoint file %s: %w", s.header.files[s.next-1].name, err)
}

func (s *snapshotSource) closeFile() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	s.file = nil
	return err
}

// snapshotWriter writes a snapshot stream into a directory that it makes, verifying every
// part. What it leaves behind after an error is for the caller to remove.
type snapshotWriter struct {
	fs  vfs.FS
	dir string

	head   []byte // until the header is complete
	header *snapshotHeader

	next    int // index of the file after the open one
	file    vfs.File
	left    int64
	sum     uint32
	trailer []byte // of the open file
	err     error  // sticky
}

func newSnapshotWriter(fsys vfs.FS, dir string) (*snapshotWriter, error) {
	if err := fsys.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make snapshot directory: %w", err)
	}
	return &snapshotWriter{fs: fsys, dir: dir}, nil
}

// Write implements io.Writer.
func (w *snapshotWriter) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 && w.err == nil {
		var n int
		switch {
		case w.header == nil:
			n, w.err = w.writeHeader(p)
		case w.file == nil:
			w.err = errSnapshotMalformed // bytes after the last file
		case w.left > 0:
			n, w.err = w.writeFile(p)
		default:
			n, w.err = w.writeTrailer(p)
		}
		p = p[n:]
	}
	if w.err != nil {
		return 0, w.err
	}
	return total, nil
}

const snapshotPrefixBytes = len(snapshotMagic) + 4

// writeHeader collects bytes until the header is complete.
func (w *snapshotWriter) writeHeader(p []byte) (int, error) {
	want := snapshotPrefixBytes
	if len(w.head) >= snapshotPrefixBytes {
		length := binary.LittleEndian.Uint32(w.head[len(snapshotMagic):])
		if string(w.head[:len(snapshotMagic)]) != snapshotMagic || length > maxSnapshotHeaderBytes {
			return 0, errSnapshotMalformed
		}
		want = snapshotPrefixBytes + int(length) + checksumBytes
	}
	n := min(len(p), want-len(w.head))
	w.head = append(w.head, p[:n]...)
	if len(w.head) < want || want == snapshotPrefixBytes {
		return n, nil
	}
	body := w.head[snapshotPrefixBytes : want-checksumBytes]
	if binary.LittleEndian.Uint32(w.head[want-checksumBytes:]) != crc32.Checksum(body, castagnoli) {
		return 0, fmt.Errorf("snapshot header: checksum mismatch")
	}
	header, err := decodeSnapshotHeader(body)
	if err != nil {
		return 0, err
	}
	w.header, w.head = header, nil
	return n, w.openNext()
}

// openNext creates the next file; an empty one still has its checksum to come.
func (w *snapshotWriter) openNext() error {
	if w.next == len(w.header.files) {
		return nil
	}
	f := w.header.files[w.next]
	file, err := w.fs.Create(w.dir + "/" + f.name)
	if err != nil {
		return fmt.Errorf("create snapshot file %s: %w", f.name, err)
	}
	w.file, w.left, w.sum, w.trailer = file, f.size, 0, nil
	w.next++
	return nil
}

func (w *snapshotWriter) writeFile(p []byte) (int, error) {
	p = p[:min(int64(len(p)), w.left)]
	n, err := w.file.Write(p)
	if err != nil {
		return n, fmt.Errorf("write snapshot file: %w", err)
	}
	w.sum = crc32.Update(w.sum, castagnoli, p)
	w.left -= int64(n)
	return n, nil
}

// writeTrailer collects the checksum of the open file, verifies it and makes the file durable.
func (w *snapshotWriter) writeTrailer(p []byte) (int, error) {
	n := min(len(p), checksumBytes-len(w.trailer))
	w.trailer = append(w.trailer, p[:n]...)
	if len(w.trailer) < checksumBytes {
		return n, nil
	}
	name := w.header.files[w.next-1].name
	if binary.LittleEndian.Uint32(w.trailer) != w.sum && !seededbug.Enabled(seededbug.RaftInstallUnverified) {
		return n, fmt.Errorf("snapshot file %s: checksum mismatch", name)
	}
	err := errors.Join(w.file.Sync(), w.file.Close())
	w.file = nil
	if err != nil {
		return n, fmt.Errorf("sync snapshot file %s: %w", name, err)
	}
	return n, w.openNext()
}

var errSnapshotShort = errors.New("the snapshot ended early")

// finish fails unless the whole snapshot was written, and makes the directory durable.
func (w *snapshotWriter) finish() error {
	if w.err == nil && (w.header == nil || w.file != nil) {
		w.err = errSnapshotShort
	}
	if w.err != nil {
		return w.err
	}
	if err := w.fs.SyncDir(w.dir); err != nil {
		return fmt.Errorf("sync snapshot directory: %w", err)
	}
	return nil
}

// abandon removes what was written.
func (w *snapshotWriter) abandon() error {
	var err error
	if w.file != nil {
		err = w.file.Close()
		w.file = nil
	}
	return errors.Join(err, w.fs.RemoveAll(w.dir))
}
