package table

import (
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// writeBytes is how much is gathered before the file is written to: large enough that the call
// does not count.
const writeBytes = 256 << 10

// errOrder says that a caller added rows out of order: our bug, found before it reaches a disk.
var errOrder = errors.New("rows added out of order")

// Options are those of one table.
type Options struct {
	BlockBytes  int // where data blocks are cut, before compression
	Compression Compression
	ApartBytes  int // from which length on values may stand apart from their keys; 0 for never
}

// Writer makes one table. It does not close its file.
type Writer struct {
	file    vfs.File
	number  uint64
	options Options

	data   blockBuilder
	index  indexBuilder
	packed compressor // of data blocks
	values compressor // of values that stand apart
	choice apartChoice
	region uint64 // where what belongs to the next block begins
	padded []byte // a value with what is compressed behind it
	loaded []byte // memory for a value that the row does not have
	hashes []uint64
	last   record.Key // last row added; its User is user
	user   []byte
	cut    bool // the next row begins a block

	ranges     []rangedel.Tombstone
	properties Properties
	offset     uint64 // of the end of out in the file
	out        []byte // framed, not yet in the file
	err        error  // first failure; nothing works after it
}

// NewWriter starts a table in an empty file, whose number is part of its checksums.
func NewWriter(file vfs.File, number uint64, o Options) *Writer {
	return &Writer{file: file, number: number, options: o, packed: compressor{mode: o.Compression}, values: compressor{mode: o.Compression},
		choice: newApartChoice(o)}
}

// Add appends a row, which must follow the one before in the order O1. It copies what it keeps.
func (w *Writer) Add(r *record.Row) error {
	if w.err != nil {
		return w.err
	}
	if err := r.Load(&w.loaded); err != nil {
		w.err = err
		return err
	}
	var before *record.Key
	if w.properties.Rows > 0 {
		before = &w.last
		if record.Compare(*before, r.Key) >= 0 {
			w.err = errOrder
			return w.err
		}
	} else {
		w.properties.Smallest = append([]byte(nil), r.User...)
	}
	// A large row gets a block of its own: reading its neighbours must not read it.
	apart, beside := w.choice.apart(r.Value), len(r.Value)
	if apart {
		beside = apartBytes
	}
	if rows := w.data.rows(); rows > 0 && (w.data.size()+len(r.User)+beside > w.options.BlockBytes || rows == maxBlockRows) {
		w.cutData()
	}
	if w.cut {
		w.index.separate(before, &r.Key)
		w.cut = false
	}
	w.properties.note(r, before)
	if before == nil || string(before.User) != string(r.User) {
		w.hashes = append(w.hashes, keyhash.Of(r.User))
	}
	if apart {
		h := w.frameValue(r.Value)
		w.data.addApart(r, h.end()-w.region)
	} else {
		w.data.add(r)
	}
	w.user = append(w.user[:0], r.User...)
	w.last = record.Key{User: w.user, Version: r.Version, Sequence: r.Sequence}
	if w.data.size() > w.options.BlockBytes {
		w.cutData() // nothing has room behind it, and Size is to know what it takes when it is compressed
	}
	return w.err
}

// SetCompression changes how blocks are compressed, from the next row on.
func (w *Writer) SetCompression(c Compression) {
	if w.options.Compression == c {
		return
	}
	if w.data.rows() > 0 {
		w.cutData()
	}
	w.options.Compression = c
	w.packed, w.values, w.choice = compressor{mode: c}, compressor{mode: c}, newApartChoice(w.options)
}

// Size is about how large the file would be if the table ended here.
func (w *Writer) Size() int {
	return int(w.offset) + w.data.size() + w.index.size() + len(w.hashes)*filterBitsPerKey/8
}

func (w *Writer) cutData() {
	h := w.frame(w.data.finish(), &w.packed)
	w.index.add(h, h.offset-w.region)
	w.region = w.offset
	w.data.reset()
	w.cut = true
}

// frame adds a block to the file.
func (w *Writer) frame(raw []byte, c *compressor) handle {
	start := len(w.out)
	var h handle
	w.out, h = appendFrame(w.out, raw, w.offset, w.number, c)
	w.offset += uint64(len(w.out) - start)
	if len(w.out) >= writeBytes {
		w.flush()
	}
	return h
}

// frameValue adds a value that stands apart to the file. What it is compressed with is longer by some zeros.
func (w *Writer) frameValue(value []byte) handle {
	start := len(w.out)
	w.padded = append(append(w.padded[:0], value...), slack[:]...)
	out, kind := w.values.compress(w.out, w.padded)
	if kind == typePlain {
		out = out[:len(out)-slackBytes]
	}
	var h handle
	w.out, h = endFrame(out, start, kind, w.offset, w.number)
	h.raw = uint32(len(value))
	w.offset += uint64(len(w.out) - start)
	if len(w.out) >= writeBytes {
		w.flush()
	}
	return h
}

var slack [slackBytes]byte

func (w *Writer) flush() {
	if w.err == nil && len(w.out) > 0 {
		if _, err := w.file.Write(w.out); err != nil {
			w.err = fmt.Errorf("write table %06d: %w", w.number, err)
		}
	}
	w.out = w.out[:0]
}

// AddRanges gives the table its range tombstones: all at once, sorted, after all rows. Their bytes are the caller's until Finish.
func (w *Writer) AddRanges(list []rangedel.Tombstone) { w.ranges = list }

// Finish completes and syncs the file. At least one row was added, or a range tombstone. It returns the table's
// properties and the length of the file.
func (w *Writer) Finish() (Properties, uint64, error) {
	if w.data.rows() > 0 {
		w.cutData()
	}
	plain, packed := &compressor{}, &compressor{mode: S2}
	f := footer{number: w.number}
	if w.properties.Rows > 0 {
		f.index = w.frame(w.index.finish(), packed)
	}
	f.filter = w.frame(buildFilter(w.hashes), plain)
	w.properties.Largest = append([]byte(nil), w.user...)
	if len(w.ranges) > 0 {
		w.properties.noteRanges(w.ranges)
		f.ranges = w.frame(appendRanges(nil, w.ranges), packed)
	}
	f.properties = w.frame(w.properties.append(nil), plain)
	w.out = f.append(w.out)
	w.offset += footerBytes
	w.flush()
	if w.err == nil && !seededbug.Enabled(seededbug.EngineSkipTableSync) {
		err := w.file.Sync()
		if err != nil && seededbug.Enabled(seededbug.EngineRetryFailedSync) {
			err = w.file.Sync()
		}
		if err != nil {
			w.err = fmt.Errorf("sync table %06d: %w", w.number, err)
		}
	}
	return w.properties, w.offset, w.err
}
