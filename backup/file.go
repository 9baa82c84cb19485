package backup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/router"
)

// fileWriter writes the file of one shard.
type fileWriter struct {
	file    vfs.File
	blocks  blocks
	offset  int64
	hash    hash.Hash
	counter record.Counter
	buffer  []byte
}

func newFileWriter(f vfs.File, id ID, shard api.ShardID) (*fileWriter, error) {
	encoder, err := newEncoder()
	if err != nil {
		return nil, fmt.Errorf("begin a file of a backup: %w", err)
	}
	w := &fileWriter{file: f, hash: sha256.New(), blocks: blocks{encoder: encoder}}
	header := appendFileHeader(nil, id, shard)
	copy(w.blocks.seed[:], header[fileHeaderBytes-4:])
	return w, w.write(header)
}

func (w *fileWriter) write(b []byte) error {
	w.hash.Write(b)
	w.offset += int64(len(b))
	if _, err := w.file.Write(b); err != nil {
		return fmt.Errorf("write a backup: %w", err)
	}
	return nil
}

// block writes a block of records, which are checked first: what cannot be restored must not be kept.
func (w *fileWriter) block(arc router.Arc, raw []byte) error {
	if len(raw) == 0 || len(raw) > MaxBlockBytes {
		return api.Errorf(api.CodeInternal, "a block of a backup has %d bytes, want 1 to %d", len(raw), MaxBlockBytes)
	}
	if err := takeBlock(&w.counter, arc, raw); err != nil {
		return api.Errorf(api.CodeInternal, "a node sent a block of a backup: %w", err)
	}
	w.buffer = w.blocks.append(w.buffer[:0], blockRows, w.offset, raw)
	return w.write(w.buffer)
}

// takeBlock counts the records of a block and checks their slots (BK3).
func takeBlock(c *record.Counter, arc router.Arc, raw []byte) error {
	return record.Each(raw, func(r *record.Record) error {
		if r.Kind != record.Piece && !arc.Contains(router.Slot(r.Namespace, r.Key)) {
			return fmt.Errorf("a row is not in the slots %s of its file: %w", arc, record.ErrMalformed)
		}
		return c.Take(r)
	})
}

// end writes the last block and makes the file durable.
func (w *fileWriter) end() error {
	if err := w.counter.Whole(); err != nil {
		return api.Errorf(api.CodeInternal, "a node sent a backup that breaks off: %w", err)
	}
	raw := binary.BigEndian.AppendUint64(make([]byte, 0, endBytes), w.counter.Rows)
	raw = binary.BigEndian.AppendUint64(raw, w.counter.Bytes)
	if err := w.write(w.blocks.append(nil, blockEnd, w.offset, raw)); err != nil {
		return err
	}
	if seededbug.Enabled(seededbug.BackupManifestFirst) {
		return nil
	}
	if err := w.file.Sync(); err != nil {
		return fmt.Errorf("sync a backup: %w", err)
	}
	return nil
}

func (w *fileWriter) sum() string { return hex.EncodeToString(w.hash.Sum(nil)) }

// readFile reads and checks a file, and calls visit with each block of records, whose memory is good until visit
// returns. A *Damage says where the first byte is that is wrong; other errors are of reading or of visit.
func readFile(fsys vfs.FS, dir string, id ID, s *Shard, visit func(block []byte, size int64) error) error {
	f, err := fsys.Open(dir + "/" + s.File)
	if vfs.IsNotExist(err) {
		return &Damage{s.File, 0, "the file is missing"}
	}
	if err != nil {
		return fmt.Errorf("read a backup: %w", err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("read a backup: %w", err)
	}
	decoder, err := newDecoder()
	if err != nil {
		return fmt.Errorf("read a backup: %w", err)
	}
	defer decoder.Close()
	r := fileReader{file: f, name: s.File, size: size, hash: sha256.New(), blocks: blocks{decoder: decoder}}
	if err := r.header(id, s.Shard); err != nil {
		return err
	}
	for !r.ended {
		if err := r.next(s.arc(), visit); err != nil {
			return err
		}
	}
	return r.finish(s)
}

// fileReader is a file that is being read.
type fileReader struct {
	file    vfs.File
	name    string
	size    int64
	offset  int64
	hash    hash.Hash
	blocks  blocks
	counter record.Counter
	ended   bool
	head    [blockHeaderBytes]byte
	stored  []byte
}

func (r *fileReader) damage(format string, args ...any) error {
	return &Damage{r.name, r.offset, fmt.Sprintf(format, args...)}
}

// read fills b from where behind the offset.
func (r *fileReader) read(b []byte, behind int64) error {
	if left := r.size - r.offset - behind; int64(len(b)) > left {
		return r.damage("the file ends at %d, %d bytes too early", r.size, int64(len(b))-left)
	}
	if n, err := r.file.ReadAt(b, r.offset+behind); err != nil && (!errors.Is(err, io.EOF) || n != len(b)) {
		return fmt.Errorf("read %s of a backup at %d: %w", r.name, r.offset+behind, err)
	}
	return nil
}

func (r *fileReader) header(id ID, shard api.ShardID) error {
	got, want := make([]byte, fileHeaderBytes), appendFileHeader(nil, id, shard)
	if err := r.read(got, 0); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return r.damage("this is not the header of shard %d of this backup", shard)
	}
	r.hash.Write(got)
	r.offset = int64(len(got))
	copy(r.blocks.seed[:], got[fileHeaderBytes-4:])
	return nil
}

func (r *fileReader) next(arc router.Arc, visit func([]byte, int64) error) error {
	if err := r.read(r.head[:], 0); err != nil {
		return err
	}
	h, err := parseBlockHeader(r.head[:], r.offset)
	if err != nil {
		return r.damage("%v", err)
	}
	if cap(r.stored) < h.stored {
		r.stored = make([]byte, h.stored)
	}
	stored := r.stored[:h.stored]
	if err := r.read(stored, blockHeaderBytes); err != nil {
		return err
	}
	raw, err := r.blocks.open(h, r.head[:], stored)
	if err != nil {
		return r.damage("%v", err)
	}
	if h.kind == blockEnd {
		r.ended = true
		rows, bytes := binary.BigEndian.Uint64(raw), binary.BigEndian.Uint64(raw[8:])
		if err := r.counter.Whole(); err != nil || rows != r.counter.Rows || bytes != r.counter.Bytes {
			return r.damage("the file has %d rows of %d bytes, and its end says %d of %d", r.counter.Rows, r.counter.Bytes, rows, bytes)
		}
	} else {
		if err := takeBlock(&r.counter, arc, raw); err != nil {
			return r.damage("%v", err)
		}
		if err := visit(raw, int64(blockHeaderBytes+h.stored)); err != nil {
			return err
		}
	}
	r.hash.Write(r.head[:])
	r.hash.Write(stored)
	r.offset += int64(blockHeaderBytes + h.stored)
	return nil
}

// finish compares the whole with what the manifest says.
func (r *fileReader) finish(s *Shard) error {
	if r.offset != r.size {
		return r.damage("%d bytes are behind the end", r.size-r.offset)
	}
	sum := hex.EncodeToString(r.hash.Sum(nil))
	if seededbug.Enabled(seededbug.BackupSkipChecksum) {
		sum = s.SHA256
	}
	if s.Size != r.size || s.Rows != r.counter.Rows || s.Bytes != r.counter.Bytes || s.SHA256 != sum {
		r.offset = 0
		return r.damage("it is not the file that the manifest describes: it has %d bytes and %d rows", r.size, r.counter.Rows)
	}
	return nil
}
