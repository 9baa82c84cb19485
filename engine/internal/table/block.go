package table

import (
	"encoding/binary"
	"errors"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// maxBlockRows bounds what a few bytes may stand for: rows that differ evenly take none.
const maxBlockRows = 1 << 16

// rowBytes is about what a row takes beside its key and its value.
const rowBytes = 6

// trailerBytes end every block of columns: count (uint32) | length of the header (uint32).
const trailerBytes = 8

// errBlock says that a block's bytes, though their checksum is right, are no block.
var errBlock = errors.New("malformed block")

// blockBuilder lays out rows:
//
//	columns   shared, starts of keys (one more than rows), version, sequence, kind, expiry, starts of values (one more),
//	          and if values stand apart: starts of their frames (one more), their lengths
//	keys      the prefix of all, then of each key what it does not share
//	values
//	header    length of the prefix (uvarint), then of each column width (1), base (uvarint), slope (uvarint)
//	trailer   rows (uint32) | length of the header (uint32)
//
// Integers are little-endian. The formats of columns and keys are explained at those types.
type blockBuilder struct {
	keys      keysBuilder
	versions  numbers
	sequences numbers
	kinds     numbers
	expiries  numbers
	starts    []uint64 // of values, and where the last one ends
	values    []byte
	aparts    []apartRow
	columns   columnWriter
}

func (b *blockBuilder) add(r *record.Row) {
	if len(b.starts) == 0 {
		b.starts = append(b.starts, 0)
	}
	b.keys.add(r.User)
	b.versions.add(r.Version)
	b.sequences.add(r.Sequence)
	b.kinds.add(uint64(r.Kind))
	b.expiries.add(r.Expiry)
	b.values = append(b.values, r.Value...)
	b.starts = append(b.starts, uint64(len(b.values)))
}

func (b *blockBuilder) rows() int { return b.versions.count }

// size is about what finish would give now.
func (b *blockBuilder) size() int {
	return b.keys.size() + len(b.values) + rowBytes*b.rows() + apartBytes*len(b.aparts)
}

// finish gives the block; its bytes are valid until the next call.
func (b *blockBuilder) finish() []byte {
	w := &b.columns
	w.body, w.header = w.body[:0], binary.AppendUvarint(w.header[:0], uint64(b.keys.prefix))
	b.keys.lay(w)
	for _, n := range []*numbers{&b.versions, &b.sequences, &b.kinds, &b.expiries} {
		w.gathered(n)
	}
	w.add(b.starts)
	b.layAparts(w)
	w.body = append(w.body, b.keys.bytes[:b.keys.prefix]...)
	w.body = append(w.body, b.keys.own...)
	w.body = append(w.body, b.values...)
	return w.finish(b.rows())
}

// finish appends header and trailer.
func (w *columnWriter) finish(count int) []byte {
	w.body = append(w.body, w.header...)
	w.body = binary.LittleEndian.AppendUint32(w.body, uint32(count))
	w.body = binary.LittleEndian.AppendUint32(w.body, uint32(len(w.header)))
	return w.body
}

func (b *blockBuilder) reset() {
	b.keys.reset()
	for _, n := range []*numbers{&b.versions, &b.sequences, &b.kinds, &b.expiries} {
		n.reset()
	}
	b.starts, b.values, b.aparts = b.starts[:0], b.values[:0], b.aparts[:0]
}

// block is a decoded block. Everything in it was checked, so that reading its rows cannot fail. Immutable.
type block struct {
	data []byte
	keys
	version, sequence, kind, expiry column
	values                          column // where each value starts, and where the last one ends
	far                             aparts // of those that are not here
}

// parseBlock checks the bytes of a block and makes them one (B2). It does not check the order of its rows.
func parseBlock(data []byte) (*block, error) {
	b := new(block)
	return b, b.parse(data)
}

func (b *block) parse(data []byte) error {
	r, count, limit, ok := openColumns(data)
	if !ok || count < 1 || count > maxBlockRows {
		return errBlock
	}
	b.data = data
	prefix, ok := r.length()
	if !ok || !b.keys.parse(&r, count) {
		return errBlock
	}
	for _, c := range []*column{&b.version, &b.sequence, &b.kind, &b.expiry} {
		if *c, ok = r.next(count); !ok {
			return errBlock
		}
	}
	if b.values, ok = r.next(count + 1); !ok {
		return errBlock
	}
	if b.far = (aparts{}); len(r.header) > 0 && !b.far.parse(&r, count) || len(r.header) > 0 {
		return errBlock
	}
	at, ok := b.keys.settle(data, r.at, prefix, limit)
	if !ok || !b.settleValues(at, limit) || !b.checkKinds() || !b.checkAparts() {
		return errBlock
	}
	return nil
}

// openColumns finds the parts of data: the header is at the end, before the trailer.
func openColumns(data []byte) (r columnReader, count, limit int, ok bool) {
	if len(data) < trailerBytes || len(data) > maxBlockBytes {
		return r, 0, 0, false
	}
	end := len(data) - trailerBytes
	header := binary.LittleEndian.Uint32(data[end+4:])
	if uint64(header) > uint64(end) {
		return r, 0, 0, false
	}
	limit = end - int(header)
	return columnReader{header: data[limit:end], room: limit}, int(binary.LittleEndian.Uint32(data[end:])), limit, true
}

// settleValues says where the values are, and checks that they fill the rest of the block.
func (b *block) settleValues(at, limit int) bool {
	b.values.base += uint64(at)
	before := uint64(at)
	if b.values.get(b.data, 0) != before || b.values.get(b.data, b.count) != uint64(limit) {
		return false
	}
	if b.values.width == 0 {
		return true // the line between two ends that are right
	}
	for i := range b.count {
		next := b.values.get(b.data, i+1)
		if next < before {
			return false
		}
		before = next
	}
	return true
}

func (b *block) checkKinds() bool {
	if b.kind.constant() {
		return b.kind.base <= uint64(record.Put)
	}
	for i := range b.count {
		if b.kind.get(b.data, i) > uint64(record.Put) {
			return false
		}
	}
	return true
}

// time gives the version and the sequence of a row.
func (b *block) time(i int) record.Key {
	return record.Key{Version: b.version.get(b.data, i), Sequence: b.sequence.get(b.data, i)}
}

func (b *block) value(i int) []byte {
	start, end := b.values.get(b.data, i), b.values.get(b.data, i+1)
	return b.data[start:end:end]
}

// fill sets everything of a row but its user key.
func (b *block) fill(i int, r *record.Row) {
	r.Version, r.Sequence = b.version.get(b.data, i), b.sequence.get(b.data, i)
	r.Kind = record.Kind(b.kind.get(b.data, i))
	r.Expiry = b.expiry.get(b.data, i)
	r.Value = b.value(i)
}

// seek gives the first row at or after k, or count.
func (b *block) seek(k *record.Key) (i int, equal bool) {
	i, equal = b.keys.find(b.data, k.User, false)
	if !equal || record.CompareTime(b.time(i), *k) >= 0 {
		return i, equal
	}
	end := i + 1 // of the rows of the key
	if end < b.count && b.keys.compare(b.data, end, k.User[len(b.prefix):]) == 0 {
		end, _ = b.keys.find(b.data, k.User, true)
	}
	low, high := i+1, end
	for low < high {
		middle := int(uint(low+high) / 2)
		if record.CompareTime(b.time(middle), *k) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, low < end
}
