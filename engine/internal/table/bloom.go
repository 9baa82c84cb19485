package table

import (
	"github.com/lightning-db/lightning/engine/internal/keyhash"
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
	return filter[at : at+filterGroupBytes], keyhash.Again(h)
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
