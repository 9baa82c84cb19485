package shard

import (
	"encoding/binary"
	"hash/crc32"
	"sort"
	"sync"

	"github.com/lightning-db/lightning/api"
)

// effects sums up what one entry does: rows and their versions, and what commands came to. It finds
// replicas that differ by mistake, not by intent: a checksum that the processor computes is enough.
type effects struct {
	sum     uint32
	numbers [24]byte
}

// row adds a row that is written; value is nil when the key is deleted.
func (e *effects) row(key, value []byte, v api.Version, expiryMillis uint64) {
	e.sum = crc32.Update(e.sum, castagnoli, key)
	e.sum = crc32.Update(e.sum, castagnoli, value)
	e.add(uint64(v), expiryMillis, uint64(len(value)))
}

func (e *effects) add(a, b, c uint64) {
	binary.BigEndian.PutUint64(e.numbers[0:], a)
	binary.BigEndian.PutUint64(e.numbers[8:], b)
	binary.BigEndian.PutUint64(e.numbers[16:], c)
	e.sum = crc32.Update(e.sum, castagnoli, e.numbers[:])
}

// answer adds what a command came to, with what it found.
func (e *effects) answer(a *Answer) {
	if a.Err != nil {
		clear(e.numbers[:])
		copy(e.numbers[:], a.Err.Code)
		e.sum = crc32.Update(e.sum, castagnoli, e.numbers[:])
		return
	}
	e.add(uint64(a.Result.Version), uint64(a.Result.FailedOp), uint64(len(a.Result.Ops)))
	for i := range a.Result.Ops {
		o := &a.Result.Ops[i]
		e.add(uint64(o.PreviousVersion), uint64(o.Number), uint64(flagIf(o.Existed, 1)|flagIf(o.Applied, 2)))
	}
}

// digest takes an entry into the running digest.
func (s *state) takeIn(index api.Index, e *effects) {
	for _, n := range [...]uint64{uint64(index), uint64(s.term), uint64(e.sum), uint64(s.last), s.run, s.next, s.sessions} {
		s.digest = mix(s.digest ^ n)
	}
	e.sum = 0
}

// mix is the finalizer of Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
// 2014: every bit of n changes about half of the result's.
func mix(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// maxDigests is how many digests a replica remembers. Whoever asks names the newest index it has,
// so that a replica with some 20,000 entries a second may take 200 ms to be asked.
const maxDigests = 4096

// digests are the running digests after the last entries of a replica. Safe for concurrent use.
type digests struct {
	mu   sync.Mutex // a leaf
	list []digestAt // by index
	next int        // where the oldest is once the list is full
}

type digestAt struct {
	index  api.Index
	digest uint64
}

func (d *digests) add(list []digestAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, at := range list {
		if len(d.list) < maxDigests {
			d.list = append(d.list, at)
			continue
		}
		d.list[d.next] = at
		d.next = (d.next + 1) % maxDigests
	}
}

// reset forgets all of them but one.
func (d *digests) reset(at digestAt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.list, d.next = []digestAt{at}, 0
}

// newest is the last one.
func (d *digests) newest() digestAt {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.list[(d.next+len(d.list)-1)%len(d.list)]
}

// at is the digest after an entry, if it is remembered.
func (d *digests) at(index api.Index) (digest uint64, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	nth := func(i int) digestAt { return d.list[(d.next+i)%len(d.list)] }
	i := sort.Search(len(d.list), func(i int) bool { return nth(i).index >= index })
	if i == len(d.list) || nth(i).index != index {
		return 0, false
	}
	return nth(i).digest, true
}
