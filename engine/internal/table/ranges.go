package table

import (
	"bytes"
	"encoding/binary"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// maxRangesBytes bounds the block of range tombstones. It is read when the table is opened, and only what a store has of them in
// one range of keys bounds it.
const maxRangesBytes = 1 << 30

// appendRanges encodes range tombstones, sorted by start and then newest first:
//
//	count (uvarint) | per tombstone: start length (uvarint), start | end length (uvarint), end | version, sequence (uvarints)
func appendRanges(b []byte, list []rangedel.Tombstone) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		t := &list[i]
		for _, key := range [][]byte{t.Start, t.End} {
			b = binary.AppendUvarint(b, uint64(len(key)))
			b = append(b, key...)
		}
		b = binary.AppendUvarint(binary.AppendUvarint(b, t.Version), t.Sequence)
	}
	return b
}

// parseRanges decodes them; the result shares b. False if they are malformed, or out of order.
func parseRanges(b []byte) (list []rangedel.Tombstone, ok bool) {
	count, w := binary.Uvarint(b)
	const least = 5 // two lengths, an end of one byte, version and sequence
	if w <= 0 || count == 0 || count > uint64(len(b)-w)/least {
		return nil, false
	}
	b = b[w:]
	list = make([]rangedel.Tombstone, count)
	for i := range list {
		t := &list[i]
		for _, key := range []*[]byte{&t.Start, &t.End} {
			n, w := binary.Uvarint(b)
			if w <= 0 || n > uint64(len(b)-w) {
				return nil, false
			}
			*key, b = b[w:w+int(n):w+int(n)], b[w+int(n):]
		}
		for _, n := range []*uint64{&t.Version, &t.Sequence} {
			v, w := binary.Uvarint(b)
			if w <= 0 {
				return nil, false
			}
			*n, b = v, b[w:]
		}
		if bytes.Compare(t.Start, t.End) >= 0 || i > 0 && rangedel.Compare(&list[i-1], t) >= 0 {
			return nil, false
		}
	}
	return list, len(b) == 0
}

// noteRanges takes range tombstones into account, after all rows.
func (p *Properties) noteRanges(list []rangedel.Tombstone) {
	for i := range list {
		t := &list[i]
		first := p.Rows == 0 && i == 0
		if first || bytes.Compare(t.Start, p.Smallest) < 0 {
			p.Smallest = t.Start
		}
		if last := t.Last(); first || bytes.Compare(last, p.Largest) > 0 {
			p.Largest = last
		}
		if p.MinVersion == 0 || t.Version < p.MinVersion {
			p.MinVersion = t.Version
		}
		p.MaxVersion = max(p.MaxVersion, t.Version)
		p.MaxSequence = max(p.MaxSequence, t.Sequence)
		p.RawBytes += uint64(len(t.Start) + len(t.End))
		p.noteGarbage(&record.Key{Version: t.Version, Sequence: t.Sequence})
	}
}

// Ranges are the range tombstones of the table, nil without any. They are in memory as long as the table is open.
func (r *Reader) Ranges() *rangedel.Set { return r.ranges }

// loadRanges reads the range tombstones, if the footer names some.
func (r *Reader) loadRanges(h handle) error {
	if h == (handle{}) {
		return nil
	}
	raw, err := r.source.readUpTo(h, maxRangesBytes)
	if err != nil {
		return err
	}
	list, ok := parseRanges(raw)
	if !ok {
		return r.malformed(h, "range tombstones")
	}
	r.ranges = rangedel.NewSet(list)
	return nil
}

// EstimateRows is about how many rows have keys in [start, end).
func (r *Reader) EstimateRows(start, end []byte) uint64 {
	x := r.index
	if x.count == 0 {
		return 0
	}
	first, last := record.FirstOf(start), record.FirstOf(end)
	blocks := x.find(&last) - x.find(&first)
	return uint64(max(blocks, 0)) * r.properties.Rows / uint64(x.count)
}
