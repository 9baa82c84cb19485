package shard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/build"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// Entry is the data of one Raft entry of a shard: when it was proposed, after which other one, and
// the commands.
//
//	format u8 = 2 | time u64 | ceiling u64 | run u64 | sequence u64 | count u16
//	| count × { length u32 | command } | CRC32C u32
//
// All numbers are big-endian; the checksum covers everything before it.
type Entry struct {
	// Time is the proposer's time. The versions of the commands begin there, or later when
	// shard time is already ahead.
	Time api.Version
	// CeilingMillis is the shard time that the proposer may use once the entry is committed.
	CeilingMillis uint64
	// Run and Sequence put the entries of one proposer in order: a run is numbered from 0 on
	// without a gap, and a later run has a higher number (S9).
	Run      uint64
	Sequence uint64
	// Level is by how much the cluster version of the entry is above 1. A build that does not know the version stops at it.
	Level uint8
	// Commands are encoded commands.
	Commands [][]byte
}

// levelOf is the level of entries at a cluster version, which is never above what this build knows.
func levelOf(version uint32) uint8 { return uint8(min(max(version, 1), build.ClusterVersion()) - 1) }

const (
	entryFormat           = 2 // at cluster version 1; one more for each version above
	entryHeaderBytes      = 1 + 4*8 + 2
	entryChecksumBytes    = 4
	commandLengthBytes    = 4
	maxEntryCommands      = 1024 // one entry's results are one uninterrupted step of apply
	uvarintBytes          = binary.MaxVarintLen64
	maxCeilingAheadMillis = 500 // DESIGN section 9: a ceiling is at most that far ahead
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrCorruptEntry is an entry whose bytes are not what a proposer wrote.
var ErrCorruptEntry = errors.New("corrupt entry")

// entryWriter builds one entry in one buffer. The header, and a tick before the commands, are known
// last; there is room for them in front.
type entryWriter struct {
	buf   []byte
	count int
}

// entryHeadroom is the room for a header and a tick.
const entryHeadroom = entryHeaderBytes + commandLengthBytes + tickBytes

func newEntryWriter(capacity int) entryWriter {
	return entryWriter{buf: make([]byte, entryHeadroom, entryHeadroom+capacity+entryChecksumBytes)}
}

// size is the length of the commands.
func (w *entryWriter) size() int { return len(w.buf) - entryHeadroom }

// add encodes one more command.
func (w *entryWriter) add(c *Command) {
	at := len(w.buf)
	w.buf = append(w.buf, 0, 0, 0, 0)
	w.buf = AppendCommand(w.buf, c)
	binary.BigEndian.PutUint32(w.buf[at:], uint32(len(w.buf)-at-commandLengthBytes))
	w.count++
}

// addEncoded adds a command that is encoded already.
func (w *entryWriter) addEncoded(command []byte) {
	w.buf = append(binary.BigEndian.AppendUint32(w.buf, uint32(len(command))), command...)
	w.count++
}

// finish returns the entry with a header; the commands are the writer's. The writer must not be used any more.
func (w *entryWriter) finish(h Entry, tick bool) []byte {
	start := entryHeadroom
	if tick {
		start -= commandLengthBytes + tickBytes
		appendTick(binary.BigEndian.AppendUint32(w.buf[:start], tickBytes))
		w.count++
	}
	start -= entryHeaderBytes
	dst := append(w.buf[:start], entryFormat+h.Level)
	dst = binary.BigEndian.AppendUint64(dst, uint64(h.Time))
	dst = binary.BigEndian.AppendUint64(dst, h.CeilingMillis)
	dst = binary.BigEndian.AppendUint64(dst, h.Run)
	dst = binary.BigEndian.AppendUint64(dst, h.Sequence)
	binary.BigEndian.AppendUint16(dst, uint16(w.count))
	data := w.buf[start:]
	return binary.BigEndian.AppendUint32(data, crc32.Checksum(data, castagnoli))
}

// EncodeEntry encodes an entry of at most maxEntryCommands commands.
func EncodeEntry(e Entry) []byte {
	size := 0
	for _, c := range e.Commands {
		size += commandLengthBytes + len(c)
	}
	w := newEntryWriter(size)
	for _, c := range e.Commands {
		w.addEncoded(c)
	}
	return w.finish(e, false)
}

// entryReader takes the commands off an entry one after the other.
type entryReader struct {
	Entry // without Commands
	count int
	rest  byteReader
}

// next is the next command; there are count of them. It aliases the entry.
func (r *entryReader) next() []byte { return r.rest.take(int(r.rest.uint32())) }

// maintenance are the commands for which what a run holds goes to the engine first.
var maintenance = []opcode{opTick, opConfigure, opSplit}

// maintains reports whether an entry begins with what reads the engine alone.
func (r *entryReader) maintains() bool {
	rest := r.rest
	first := rest.take(int(rest.uint32()))
	return r.count > 0 && len(first) > 0 && slices.Contains(maintenance, opcode(first[0]))
}

// openEntry checks an entry, down to the lengths of its commands but not into them.
func openEntry(data []byte) (entryReader, error) {
	if len(data) < entryHeaderBytes+entryChecksumBytes {
		return entryReader{}, fmt.Errorf("decode entry of %d bytes: too short: %w", len(data), ErrCorruptEntry)
	}
	if len(data) > api.MaxEntryBytes {
		return entryReader{}, fmt.Errorf("decode entry of %d bytes: over the limit of %d: %w", len(data), api.MaxEntryBytes, ErrCorruptEntry)
	}
	body, sum := data[:len(data)-entryChecksumBytes], binary.BigEndian.Uint32(data[len(data)-entryChecksumBytes:])
	if got := crc32.Checksum(body, castagnoli); got != sum {
		return entryReader{}, fmt.Errorf("decode entry of %d bytes: checksum %08x, expected %08x: %w", len(data), got, sum, ErrCorruptEntry)
	}
	r := byteReader{rest: body}
	format := r.byte()
	if (format < entryFormat || format > entryFormat+levelOf(math.MaxUint32)) && !seededbug.Enabled(seededbug.ShardTakeUnknownEntry) { // S20
		return entryReader{}, fmt.Errorf("decode entry: format %d is not known to this build, and an entry is never skipped: run a newer build on this node", format)
	}
	e := entryReader{Entry: Entry{Level: format - entryFormat, Time: api.Version(r.uint64()), CeilingMillis: r.uint64(), Run: r.uint64(), Sequence: r.uint64()}}
	e.count = int(r.uint16())
	if e.count > maxEntryCommands {
		r.fail()
	}
	e.rest = r
	for range e.count {
		r.take(int(r.uint32()))
	}
	if err := r.done(); err != nil {
		return entryReader{}, fmt.Errorf("decode entry of %d bytes: %w: %w", len(data), err, ErrCorruptEntry)
	}
	return e, nil
}

// DecodeEntry checks and decodes what EncodeEntry wrote. The commands alias data.
func DecodeEntry(data []byte) (Entry, error) {
	r, err := openEntry(data)
	if err != nil {
		return Entry{}, err
	}
	e := r.Entry
	e.Commands = make([][]byte, r.count)
	for i := range e.Commands {
		e.Commands[i] = r.next()
	}
	return e, nil
}
