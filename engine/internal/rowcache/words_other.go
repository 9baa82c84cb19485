//go:build !amd64 || race

package rowcache

import (
	"encoding/binary"
	"sync/atomic"
)

// storeWords writes as many words as there are bytes for; it is a multiple of eight.
func storeWords(to []atomic.Uint64, b []byte) {
	for i := range len(b) / 8 {
		to[i].Store(binary.LittleEndian.Uint64(b[8*i:]))
	}
}

// copyWords copies a row, to where it may lie over itself: not behind where it is.
func copyWords(to, from []atomic.Uint64) {
	for i := range from {
		to[i].Store(from[i].Load())
	}
}
