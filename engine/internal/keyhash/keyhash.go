package keyhash

import (
	"encoding/binary"
	"math/bits"
)

// Constants of the hash: odd numbers with as many ones as zeros, from wyhash.
const (
	a = 0xa0761d6478bd642f
	b = 0xe7037ed1a0b428db
	c = 0x8ebc6af09c88c6e3
)

// Of hashes a user key (HK1).
func Of(key []byte) uint64 {
	h := uint64(len(key)) ^ a
	for len(key) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(key), b)
		key = key[8:]
	}
	if len(key) > 0 {
		h = mix(h^tail(key), c)
	}
	return mix(h^c, a)
}

// tail is up to seven bytes as a little-endian number.
func tail(key []byte) uint64 {
	if len(key) >= 4 {
		shift := 8 * uint(len(key)-4)
		return uint64(binary.LittleEndian.Uint32(key)) | uint64(binary.LittleEndian.Uint32(key[len(key)-4:]))<<shift
	}
	return uint64(key[0]) | uint64(key[len(key)/2])<<(8*uint(len(key)/2)) | uint64(key[len(key)-1])<<(8*uint(len(key)-1))
}

// Again makes another hash of a hash.
func Again(h uint64) uint64 { return mix(h, b) }

func mix(x, y uint64) uint64 {
	high, low := bits.Mul64(x, y)
	return high ^ low
}
