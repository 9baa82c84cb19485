package table

import (
	"errors"
	"fmt"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// writeBytes is how much is gathered before the file is written to: large enough that the call
// does not count.
const writeBytes = 256 << 10

// errOrder says that a caller added rows out of order: our bug, found before it reaches a disk.
var errOrder = errors.New("rows added out of order")

// Writer makes one table. It does not close its file.
type Writer struct {
	file       vfs.File
	number     uint64
	blockBytes int

	data   blockBuilder
	index  blockBuilder // of the data blocks since the last index block
	top    blockBuilder // of the index blocks
	later  [][]byte     // index blocks, which are written behind the data
	ends   []record.Key // last key of each of them
	hashes []uint64
	last   record.Key // last row added; its User is lastUser
	user   []byte

	properties Properties
	offset     uint64 // of the end of out in the file
	out        []byte // framed, not yet in the file
	err        error  // first failure; nothing works after it
}

// NewWriter starts a table in an empty file, whose number is part of its checksums. blockBytes is
// where data blocks are cut.
func NewWriter(file vfs.File, number uint64, blockBytes int) *Writer {
	return &Writer{file: file, number: number, blockBytes: blockBytes}
}

// Add appends a row, which must follow the one before in the order O1. It copies what it keeps.
func (w *Writer) Add(r *record.Row) error {
	if w.err != nil {
		return w.err
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
	if w.data.rows > 0 && w.data.size()+len(r.User)+len(r.Value) > w.blockBytes {
		w.cutData()
	}
	w.properties.note(r, before)
	if before == nil || string(before.User) != string(r.User) {
		w.hashes = append(w.hashes, hashKey(r.User))
	}
	w.data.add(r)
	w.user = append(w.user[:0], r.User...)
	w.last = record.Key{User: w.user, Version: r.Version, Sequence: r.Sequence}
	if w.data.size() > w.blockBytes {
		w.cutData() // nothing has room behind it, and Size is to know what it takes when it is compressed
	}
	return w.err
}

// Size is about how large the file would be if the table ended here.
func (w *Writer) Size() int {
	return int(w.offset) + w.data.size() + w.index.size() + len(w.hashes)*filterBitsPerKey/8
}

func (w *Writer) cutData() {
	h := w.frame(w.data.finish(), true)
	w.data.reset()
	w.index.add(&record.Row{Key: w.last, Kind: record.Put, Value: h.append(nil)})
	if w.index.size() >= w.blockBytes {
		w.cutIndex()
	}
}

func (w *Writer) cutIndex() {
	w.later = append(w.later, append([]byte(nil), w.index.finish()...))
	end := w.last
	end.User = append([]byte(nil), end.User...)
	w.ends = append(w.ends, end)
	w.index.reset()
}

// frame adds a block to the file.
func (w *Writer) frame(raw []byte, compress bool) handle {
	start := len(w.out)
	var h handle
	w.out, h = appendFrame(w.out, raw, w.offset, w.number, compress)
	w.offset += uint64(len(w.out) - start)
	if len(w.out) >= writeBytes {
		w.flush()
	}
	return h
}

func (w *Writer) flush() {
	if w.err == nil && len(w.out) > 0 {
		if _, err := w.file.Write(w.out); err != nil {
			w.err = fmt.Errorf("write table %06d: %w", w.number, err)
		}
	}
	w.out = w.out[:0]
}

// Finish completes and syncs the file. At least one row was added. It returns the table's
// properties and the length of the file.
func (w *Writer) Finish() (Properties, uint64, error) {
	if w.data.rows > 0 {
		w.cutData()
	}
	if w.index.rows > 0 {
		w.cutIndex()
	}
	var f footer
	for i, raw := range w.later {
		h := w.frame(raw, true)
		w.top.add(&record.Row{Key: w.ends[i], Kind: record.Put, Value: h.append(nil)})
	}
	f.number = w.number
	f.top = w.frame(w.top.finish(), true)
	f.filter = w.frame(buildFilter(w.hashes), false)
	w.properties.Largest = append([]byte(nil), w.user...)
	f.properties = w.frame(w.properties.append(nil), false)
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
