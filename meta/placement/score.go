package placement

import (
	"hash/fnv"
	"math/bits"
	"strconv"

	"github.com/lightning-db/lightning/api"
)

// NormalWeight is the weight of a node that says nothing else. A node of twice the weight gets twice
// the replicas.
const NormalWeight = 100

// MetaGroup is the key of the meta group; shards have their ids, which are above zero.
const MetaGroup int64 = -1

// score is the claim of one node to one group by weighted rendezvous hashing (Thaler and
// Ravishankar, 1998; the weighted form is weight / -ln(hash), which wins in proportion to weight).
// It is kept in integers, so that every machine and version orders nodes equally (L1).
type score struct {
	weight uint64
	cost   uint64 // -log2 of the hash as a fraction of 2^64, in units of 2^-logBits; at least 1
	hash   uint64
}

func newScore(cluster string, node api.NodeID, weight int, group int64) score {
	h := hash(cluster, node, group)
	return score{weight: uint64(weight), cost: 64<<logBits - log2(h), hash: h}
}

// compare is positive when s is the stronger claim.
func (s score) compare(o score) int {
	a, b := s.weight*o.cost, o.weight*s.cost // both below 2^32 * 2^31
	switch {
	case a != b && a > b, a == b && s.hash > o.hash:
		return 1
	case a == b && s.hash == o.hash:
		return 0
	}
	return -1
}

// points is the score for people: weight / cost, 1000 for a node of normal weight at half of the
// hashes.
func (s score) points() int64 {
	return int64(s.weight * (1000 << logBits) / NormalWeight / s.cost)
}

// gain compares what two groups win by going from one node to another: positive when the first one
// wins more. The weights of the nodes are the same on both sides.
func gain(fromA, toA, fromB, toB score) int {
	aHigh, aLow := bits.Mul64(fromA.cost, toB.cost)
	bHigh, bLow := bits.Mul64(fromB.cost, toA.cost)
	switch {
	case aHigh > bHigh, aHigh == bHigh && aLow > bLow:
		return 1
	case aHigh == bHigh && aLow == bLow:
		return 0
	}
	return -1
}

// hash is FNV-1a over its arguments, finished by the mixer of SplitMix64, since FNV alone hardly
// spreads a change of the last byte to the high bits that decide.
func hash(cluster string, node api.NodeID, group int64) uint64 {
	h := fnv.New64a()
	h.Write([]byte(cluster + "\x00" + string(node) + "\x00" + strconv.FormatInt(group, 10)))
	x := h.Sum64()
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// logBits are the binary places of log2: 2^24 steps between powers of two, while a cluster has a
// thousand nodes.
const logBits = 24

// log2 is the binary logarithm of x, of 1 for 0, rounded down to logBits places. Squaring a number
// between 1 and 2 gives the next digit of its logarithm.
func log2(x uint64) uint64 {
	if x == 0 {
		return 0
	}
	zeros := bits.LeadingZeros64(x)
	out := uint64(63 - zeros)
	m := x << zeros // between 1 and 2, with 63 places
	for range logBits {
		high, low := bits.Mul64(m, m)
		out <<= 1
		if high>>63 == 1 { // at least 2
			out |= 1
			m = high
		} else {
			m = high<<1 | low>>63
		}
	}
	return out
}
