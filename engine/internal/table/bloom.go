package table

import (
	"encoding/binary"
	"math/bits"

	"github.com/lightning-db/lightning/internal/seededbug"
)

// The filter is a blocked Bloom filter (Putze, Sanders, Singler 2007): one hash picks a group of
// 64 bytes, which is one cache line, and seven bits in it. Ten bits a key give about 1.2 % false
// answers "perhaps", where an unblocked filter has 0.8 % and touches seven lines.
const (
	filterGroupBytes = 64
	filterBitsPerKey = 10
	filterProbes     = 7
)

// Constants of the hash: odd numbers with as many ones as zeros, from wyhash.
const (
	hashA = 0xa0761d6478bd642f
	hashB = 0xe7037ed1a0b428db
	hashC = 0x8ebc6af09c88c6e3
)

// hashKey is part of the table format: the filter is made of it.
func hashKey(key []byte) uint64 {
	h := uint64(len(key)) ^ hashA
	for len(key) >= 8 {
		h = mix(h^binary.LittleEndian.Uint64(key), hashB)
		key = key[8:]
	}
	if len(key) > 0 {
		var tail [8]byte
		copy(tail[:], key)
		h = mix(h^binary.LittleEndian.Uint64(tail[:]), hashC)
	}
	return mix(h^hashC, hashA)
}

func mix(a, b uint64) uint64 {
	high, low := bits.Mul64(a, b)
	return high ^ low
}

// buildFilter makes a filter of the hashes of all user keys.
func buildFilter(hashes []uint64) []byte {
	groups := max(1, (len(hashes)*filterBitsPerKey+8*filterGroupBytes-1)/(8*filterGroupBytes))
	filter := make([]byte, groups*filterGroupBytes)
	for _, h := range hashes {
		if seededbug.Enabled(seededbug.EngineFilterForgets) && h>>58 == 0 {
			continue
		}
		group, probe := filterGroup(filter, h)
		for range filterProbes {
			group[probe>>3&(filterGroupBytes-1)] |= 1 << (probe & 7)
			probe >>= 9
		}
	}
	return filter
}

// filterGroup picks the group by the high half of the hash, the bits in it by another mix of it.
func filterGroup(filter []byte, h uint64) (group []byte, probe uint64) {
	groups := uint64(len(filter) / filterGroupBytes)
	at := (h >> 32) * groups >> 32 * filterGroupBytes
	return filter[at : at+filterGroupBytes], mix(h, hashB)
}

// mayContain is false only for keys that are not in the table.
func mayContain(filter []byte, h uint64) bool {
	group, probe := filterGroup(filter, h)
	for range filterProbes {
		if group[probe>>3&(filterGroupBytes-1)]&(1<<(probe&7)) == 0 {
			return false
		}
		probe >>= 9
	}
	return true
}
