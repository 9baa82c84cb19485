package rowcache

import (
	"encoding/binary"
	"slices"
	"sync/atomic"
)

// A row in the arena:
//
//	hash (31) | expires (1) | bytes of key (16) | bytes of value (16)
//	version
//	sequence
//	expiry, if it expires
//	key, padded to words | value, padded to words
const (
	expires    = uint64(1) << 32
	leastWords = 3
)

// Row is what Fill keeps, beside the key.
type Row struct {
	Version, Sequence, Expiry uint64
	Value                     []byte
}

func headerOf(hash uint64, key []byte, r *Row) uint64 {
	h := hash&hashMask | uint64(len(key))<<16 | uint64(len(r.Value))
	if r.Expiry != 0 {
		h |= expires
	}
	return h
}

func keyBytes(header uint64) int   { return int(header >> 16 & 0xffff) }
func valueBytes(header uint64) int { return int(header & 0xffff) }

func words(bytes int) int { return (bytes + 7) / 8 }

// fixedWords is what comes before the key.
func fixedWords(header uint64) int { return leastWords + int(header&expires>>32) }

// rowWords is the length of a row.
func rowWords(header uint64) int {
	return fixedWords(header) + words(keyBytes(header)) + words(valueBytes(header))
}

// writeRow writes a row to where no slot leads.
func writeRow(to []atomic.Uint64, header uint64, key []byte, r *Row) {
	to[0].Store(header)
	to[1].Store(r.Version)
	to[2].Store(r.Sequence)
	if r.Expiry != 0 {
		to[3].Store(r.Expiry)
	}
	to = to[fixedWords(header):]
	writeBytes(to, key)
	writeBytes(to[words(len(key)):], r.Value)
}

// writeBytes pads what does not fill the last word with zeros.
func writeBytes(to []atomic.Uint64, b []byte) {
	whole := len(b) / 8
	storeWords(to, b[:8*whole])
	if 8*whole < len(b) {
		word, _ := nextWord(b[8*whole:])
		to[whole].Store(word)
	}
}

// nextWord takes up to eight bytes.
func nextWord(b []byte) (word uint64, rest []byte) {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b), b[8:]
	}
	for i, c := range b {
		word |= uint64(c) << (8 * i)
	}
	return word, nil
}

func sameKey(from []atomic.Uint64, key []byte) bool {
	for len(key) >= 8 {
		if from[0].Load() != binary.LittleEndian.Uint64(key) {
			return false
		}
		from, key = from[1:], key[8:]
	}
	if len(key) == 0 {
		return true
	}
	word, _ := nextWord(key)
	return from[0].Load() == word
}

// appendBytes copies n bytes out of words.
func appendBytes(dst []byte, from []atomic.Uint64, n int) []byte {
	at := len(dst)
	if cap(dst)-at < n {
		dst = slices.Grow(dst, n)
	}
	dst = dst[:at+n]
	to := dst[at:]
	for len(to) >= 32 && len(from) >= 4 { // four at a time take half as long
		binary.LittleEndian.PutUint64(to[0:8], from[0].Load())
		binary.LittleEndian.PutUint64(to[8:16], from[1].Load())
		binary.LittleEndian.PutUint64(to[16:24], from[2].Load())
		binary.LittleEndian.PutUint64(to[24:32], from[3].Load())
		from, to = from[4:], to[32:]
	}
	for len(to) >= 8 {
		binary.LittleEndian.PutUint64(to, from[0].Load())
		from, to = from[1:], to[8:]
	}
	if len(to) == 0 {
		return dst
	}
	word := from[0].Load()
	if len(to) >= 4 {
		binary.LittleEndian.PutUint32(to, uint32(word))
		word, to = word>>32, to[4:]
	}
	for i := range to {
		to[i] = byte(word >> (8 * i))
	}
	return dst
}
