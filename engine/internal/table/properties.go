package table

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// Properties describe a table's contents.
type Properties struct {
	Rows        uint64
	Keys        uint64 // distinct user keys
	Tombstones  uint64
	Expiring    uint64 // rows with an expiry
	MinExpiry   uint64 // of the expiring rows; zero without any
	MaxExpiry   uint64
	MinVersion  uint64
	MaxVersion  uint64
	MaxSequence uint64

	// Garbage counts tombstones and rows that have a newer row of the same key in the table. All
	// of it can go once the horizon has reached GarbageVersion and no snapshot is older than
	// GarbageSequence, if nothing older lies below.
	Garbage         uint64
	GarbageVersion  uint64
	GarbageSequence uint64

	RawBytes          uint64 // keys and values, before any encoding
	Smallest, Largest []byte // user keys
}

// Before reports whether all rows come before a row of a version and a sequence, so that they are hidden by it if it is of their key.
func (p *Properties) Before(version, sequence uint64) bool {
	return p.MaxVersion <= version && p.MaxSequence < sequence
}

// note takes a row into account; rows come in order, before is the one before it or nil.
func (p *Properties) note(r *record.Row, before *record.Key) {
	p.Rows++
	shadowed := before != nil && bytes.Equal(before.User, r.User)
	if !shadowed {
		p.Keys++
	}
	switch {
	case r.Kind == record.Delete:
		p.Tombstones++
		p.noteGarbage(&r.Key)
	case r.Expiry != 0:
		p.noteExpiry(r.Expiry)
	}
	if shadowed {
		p.noteGarbage(before)
	}
	if shadowed && r.Kind == record.Delete {
		p.Garbage-- // it is one row, though both reasons hold
	}
	if p.MinVersion == 0 || r.Version < p.MinVersion {
		p.MinVersion = r.Version
	}
	p.MaxVersion = max(p.MaxVersion, r.Version)
	p.MaxSequence = max(p.MaxSequence, r.Sequence)
	p.RawBytes += uint64(len(r.User) + r.ValueBytes())
}

func (p *Properties) noteGarbage(by *record.Key) {
	p.Garbage++
	p.GarbageVersion = max(p.GarbageVersion, by.Version)
	p.GarbageSequence = max(p.GarbageSequence, by.Sequence)
}

func (p *Properties) noteExpiry(expiry uint64) {
	p.Expiring++
	if p.MinExpiry == 0 || expiry < p.MinExpiry {
		p.MinExpiry = expiry
	}
	p.MaxExpiry = max(p.MaxExpiry, expiry)
}

// numbers lists the fields in the order of the format.
func (p *Properties) numbers() []*uint64 {
	return []*uint64{
		&p.Rows, &p.Keys, &p.Tombstones, &p.Expiring, &p.MinExpiry, &p.MaxExpiry,
		&p.MinVersion, &p.MaxVersion, &p.MaxSequence,
		&p.Garbage, &p.GarbageVersion, &p.GarbageSequence, &p.RawBytes,
	}
}

func (p *Properties) append(b []byte) []byte {
	for _, n := range p.numbers() {
		b = binary.AppendUvarint(b, *n)
	}
	for _, key := range [][]byte{p.Smallest, p.Largest} {
		b = binary.AppendUvarint(b, uint64(len(key)))
		b = append(b, key...)
	}
	return b
}

func parseProperties(b []byte) (p Properties, ok bool) {
	for _, n := range p.numbers() {
		v, w := binary.Uvarint(b)
		if w <= 0 {
			return p, false
		}
		*n, b = v, b[w:]
	}
	for _, key := range []*[]byte{&p.Smallest, &p.Largest} {
		n, rest, ok := takeLength(b)
		if !ok || n > len(rest) {
			return p, false
		}
		*key, b = rest[:n:n], rest[n:]
	}
	return p, len(b) == 0 && p.Rows+p.Garbage > 0 && p.Keys <= p.Rows && bytes.Compare(p.Smallest, p.Largest) <= 0
}

// ExpiredRows estimates how many rows had expired at a time, as if expiries lay evenly between
// the first and the last.
func (p *Properties) ExpiredRows(atMillis uint64) uint64 {
	switch {
	case p.Expiring == 0 || atMillis < p.MinExpiry:
		return 0
	case atMillis >= p.MaxExpiry:
		return p.Expiring
	}
	part := float64(atMillis-p.MinExpiry) / float64(p.MaxExpiry-p.MinExpiry)
	return uint64(math.Max(1, part*float64(p.Expiring)))
}
