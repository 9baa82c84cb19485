package memtable

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// skiplist is what other stores keep fresh rows in, as lean as it can be: no versions, no atomics for readers, towers and keys in
// large slices. The memtable is measured beside it.
type skiplist struct {
	random *rand.Rand
	keys   []byte   // key length (1) | key | value length (2) | value, one row after the other
	towers []uint32 // of each node: place of its row, height, then the next node of each height
	head   uint32
	last   [maxHeight]uint32 // the node behind which the last row went, in each height: a splice for sorted rows
}

const maxHeight = 16

func newSkiplist() *skiplist {
	s := &skiplist{random: rand.New(rand.NewPCG(1, 1)), keys: make([]byte, 1)}
	s.head = s.newNode(0, maxHeight)
	for h := range s.last {
		s.last[h] = s.head
	}
	return s
}

func (s *skiplist) newNode(row, height uint32) uint32 {
	node := uint32(len(s.towers))
	s.towers = append(s.towers, row, height)
	s.towers = append(s.towers, make([]uint32, height)...)
	return node
}

func (s *skiplist) next(node uint32, height int) uint32 { return s.towers[int(node)+2+height] }

func (s *skiplist) key(node uint32) []byte {
	row := s.keys[s.towers[node]:]
	return row[1 : 1+row[0]]
}

func (s *skiplist) value(node uint32) []byte {
	row := s.keys[s.towers[node]:]
	row = row[1+row[0]:]
	return row[2 : 2+binary.LittleEndian.Uint16(row)]
}

// before fills the nodes before a key, in each height, and gives the one at or behind it.
func (s *skiplist) before(key []byte, nodes *[maxHeight]uint32) uint32 {
	node := s.head
	for h := maxHeight - 1; h >= 0; h-- {
		for {
			next := s.next(node, h)
			if next == 0 || bytes.Compare(s.key(next), key) >= 0 {
				break
			}
			node = next
		}
		nodes[h] = node
	}
	return s.next(node, 0)
}

// follows reports whether a key belongs right behind the last one that was put.
func (s *skiplist) follows(key []byte) bool {
	node := s.last[0]
	next := s.next(node, 0)
	return (node == s.head || bytes.Compare(s.key(node), key) < 0) && (next == 0 || bytes.Compare(key, s.key(next)) < 0)
}

func (s *skiplist) put(key, value []byte) {
	nodes := s.last
	if !s.follows(key) {
		s.before(key, &nodes)
	}
	row := uint32(len(s.keys))
	s.keys = append(append(s.keys, byte(len(key))), key...)
	s.keys = append(binary.LittleEndian.AppendUint16(s.keys, uint16(len(value))), value...)
	height := uint32(1)
	for height < maxHeight && s.random.Uint32()&3 == 0 {
		height++
	}
	node := s.newNode(row, height)
	for h := range int(height) {
		s.towers[int(node)+2+h] = s.next(nodes[h], h)
		s.towers[int(nodes[h])+2+h] = node
		nodes[h] = node
	}
	s.last = nodes
}

// fresh is a memtable or a skiplist.
type fresh interface {
	put(key, value []byte)
	get(key []byte) bool
	scan(from []byte, limit int) int // from nil is the beginning
}

func (s *skiplist) get(key []byte) bool {
	var nodes [maxHeight]uint32
	node := s.before(key, &nodes)
	return node != 0 && bytes.Equal(s.key(node), key)
}

func (s *skiplist) scan(from []byte, limit int) (n int) {
	var nodes [maxHeight]uint32
	for node := s.before(from, &nodes); node != 0 && n < limit; node = s.next(node, 0) {
		n += min(1, len(s.value(node)))
	}
	return n
}

type freshMemtable struct {
	m        *Memtable
	sequence uint64
	buf      []byte
	refs     [1]Ref
}

func (f *freshMemtable) put(key, value []byte) {
	f.sequence++
	f.buf = AppendRow(f.buf[:0], record.Put, key, value, 0)
	f.refs[0] = Ref{Version: f.sequence}
	f.m.Add(f.buf, f.refs[:], f.sequence)
}

func (f *freshMemtable) get(key []byte) bool {
	var r record.Row
	return f.m.Get(record.Key{User: key, Version: record.MaxVersion, Sequence: record.MaxSequence}, &r)
}

func (f *freshMemtable) scan(from []byte, limit int) (n int) {
	c := f.m.NewCursor()
	if from == nil {
		c.Seek(nil, record.Forward)
	} else {
		k := record.FirstOf(from)
		c.Seek(&k, record.Forward)
	}
	for ; c.Row() != nil && n < limit; c.Step() {
		n += min(1, len(c.Row().Value))
	}
	return n
}

// TestTheSkiplistOfTheBenchmarkIsOne compares it with the memtable.
func TestTheSkiplistOfTheBenchmarkIsOne(t *testing.T) {
	s, m := newSkiplist(), &freshMemtable{m: New(0)}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		key := fmt.Appendf(nil, "user%012d", random.Uint64N(1e12))
		if i < 500 {
			key = fmt.Appendf(nil, "user%012d", i)
		}
		s.put(key, []byte("v"))
		m.put(key, []byte("v"))
		from := fmt.Appendf(nil, "user%012d", random.Uint64N(1e12))
		if !s.get(key) || s.get(from) != m.get(from) || s.scan(from, 5000) != m.scan(from, 5000) {
			t.Fatalf("after %d rows", i+1)
		}
	}
}

// BenchmarkFresh is decision 23: rows of 16 and 100 bytes, 350,000 of them, which are 64 MiB.
func BenchmarkFresh(b *testing.B) {
	const rows = 350_000
	value := make([]byte, 100)
	for _, name := range []string{"memtable", "skiplist"} {
		empty := func() fresh {
			if name == "skiplist" {
				return newSkiplist()
			}
			return &freshMemtable{m: New(rows)}
		}
		key := make([]byte, 16)
		keyOf := func(n uint64) []byte {
			copy(key, "user")
			for i := 15; i >= 4; i-- {
				key[i], n = '0'+byte(n%10), n/10
			}
			return key
		}
		random := rand.New(rand.NewPCG(1, 1))
		full := func(f fresh) fresh {
			for range rows {
				f.put(keyOf(random.Uint64N(1e12)), value)
			}
			return f
		}
		b.Run("put=sorted/"+name, func(b *testing.B) {
			f := empty()
			for i := range b.N {
				if i%rows == 0 {
					f = empty()
				}
				f.put(keyOf(uint64(i)), value)
			}
		})
		b.Run("put=random/"+name, func(b *testing.B) {
			f := empty()
			for i := range b.N {
				if i%rows == 0 {
					f = empty()
				}
				f.put(keyOf(random.Uint64N(1e12)), value)
			}
		})
		f := full(empty())
		b.Run("get=absent/"+name, func(b *testing.B) {
			for range b.N {
				f.get(keyOf(random.Uint64N(1e12)))
			}
		})
		b.Run("scan=10/"+name, func(b *testing.B) {
			f.scan(nil, 1)
			for range b.N {
				f.scan(keyOf(random.Uint64N(1e12)), 10)
			}
		})
		b.Run("put-then-scan=10/"+name, func(b *testing.B) {
			for range b.N {
				f.put(keyOf(random.Uint64N(1e12)), value)
				f.scan(keyOf(random.Uint64N(1e12)), 10)
			}
		})
		b.Run("put-and-walk-all/"+name, func(b *testing.B) {
			for range b.N {
				full(empty()).scan(nil, rows)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		})
	}
}
