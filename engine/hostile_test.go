package engine

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

var hostileSeeds = flag.Int("hostile-seeds", 4, "histories of hostile keys")

// hostile is a history of keys that are prefixes of each other, of zeros and of ones, with what the store must have.
type hostile struct {
	t       *testing.T
	random  *rand.Rand
	options Options
	db      *DB
	model   map[string]string
	absent  bool // most point reads are of keys that are not there
}

// TestHostileKeysAreFoundByReadsAndByWalksBothWays compares them with a model, over memory and tables.
func TestHostileKeysAreFoundByReadsAndByWalksBothWays(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for sub := range uint64(*hostileSeeds) {
		t.Run(fmt.Sprint(sub), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, sub))
			h := &hostile{t: t, random: r, model: map[string]string{}, absent: r.IntN(2) == 0}
			h.options = Options{
				FS: vfs.NewMem(), MemtableBytes: 64 << 10, BlockBytes: 1 << 10, TableBytes: 64 << 10, LevelBytes: 64 << 10,
				CacheBytes: []int{-1, 64 << 10, 1 << 20, 8 << 20}[r.IntN(4)], Log: []LogMode{LogOff, LogNever}[r.IntN(2)],
				RetainVersions: r.IntN(3) == 0,
			}
			h.db = mustOpen(t, "db", h.options)
			for range 100 {
				h.change()
				h.read()
				h.walk()
			}
			mustClose(t, h.db)
		})
	}
}

func (h *hostile) key() []byte {
	k := make([]byte, 1+h.random.IntN(6))
	for i := range k {
		k[i] = []byte{0, 0xff, 'a', 'b'}[h.random.IntN(4)]
	}
	if h.random.IntN(4) == 0 {
		k = append(bytes.Repeat([]byte{0xff}, h.random.IntN(30)), k...)
	}
	return k
}

func (h *hostile) change() {
	b := h.db.NewBatch()
	for range 1 + h.random.IntN(60) {
		k := h.key()
		if h.random.IntN(4) == 0 {
			b.Delete(k, 0)
			delete(h.model, string(k))
			continue
		}
		v := make([]byte, h.random.IntN(120))
		for i := range v {
			v[i] = byte(h.random.IntN(3) * h.random.IntN(256))
		}
		b.Put(k, v, 0, 0)
		h.model[string(k)] = string(v)
	}
	if h.options.RetainVersions && h.random.IntN(3) == 0 {
		b.SetHorizon(Horizon{Version: h.db.LastVersion()})
	}
	h.must(h.db.Apply(b))
	switch h.random.IntN(40) {
	case 0:
		h.must(h.db.Compact(h.t.Context()))
	case 1:
		mustClose(h.t, h.db)
		h.db = mustOpen(h.t, "db", h.options)
	case 2, 3, 4, 5:
		h.must(h.db.Flush())
	}
}

func (h *hostile) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *hostile) read() {
	for n := range 20 {
		k := h.key()
		if h.absent && n > 4 {
			k = append(k, 'x')
		}
		row, ok, err := h.db.Get(k, MaxVersion)
		if want, has := h.model[string(k)]; err != nil || ok != has || string(row.Value) != want {
			h.t.Fatalf("get %q: %v, %v, %q, want %v, %q", k, err, ok, row.Value, has, want)
		}
	}
}

// bounds draws a range, and gives the keys of the model in it.
func (h *hostile) bounds() (o IteratorOptions, in []string) {
	for k := range h.model {
		in = append(in, k)
	}
	slices.Sort(in)
	if h.random.IntN(2) == 0 {
		o.Start = h.key()
		i, _ := slices.BinarySearch(in, string(o.Start))
		in = in[i:]
	}
	if h.random.IntN(2) == 0 {
		o.End = h.key()
		i, _ := slices.BinarySearch(in, string(o.End))
		in = in[:i]
	}
	return o, in
}

func (h *hostile) walk() {
	o, in := h.bounds()
	s := h.db.Snapshot()
	it := s.NewIterator(o)
	s.Close()
	at, moves := -1, ""
	for range 15 {
		next, what, ok := h.move(it, in, at)
		moves += what + "; "
		at = next
		if valid := at >= 0 && at < len(in); ok != valid || it.Valid() != valid {
			h.t.Fatalf("[%q, %q) %s: %v, want %v, %v", o.Start, o.End, moves, ok, valid, it.Err())
		} else if row := it.Row(); valid && (string(row.Key) != in[at] || string(row.Value) != h.model[in[at]]) {
			h.t.Fatalf("[%q, %q) %s: %q=%q, want %q=%q", o.Start, o.End, moves, row.Key, row.Value, in[at], h.model[in[at]])
		} else if !valid {
			at = -1
		}
	}
	h.must(it.Close())
}

// move makes a move, or some steps, and says where it must end.
func (h *hostile) move(it *Iterator, in []string, at int) (next int, what string, ok bool) {
	k := h.key()
	place, _ := slices.BinarySearch(in, string(k))
	switch h.random.IntN(8) {
	case 0:
		return 0, "first", it.First()
	case 1:
		return len(in) - 1, "last", it.Last()
	case 2, 3:
		return place, fmt.Sprintf("at or after %q", k), it.SeekGE(k)
	case 4:
		return place - 1, fmt.Sprintf("before %q", k), it.SeekLT(k)
	case 5, 6:
		return h.steps(it.Next, len(in), at, 1)
	}
	return h.steps(it.Prev, len(in), at, -1)
}

func (h *hostile) steps(step func() bool, count, at, by int) (next int, what string, ok bool) {
	n := 1 + h.random.IntN(1+h.random.IntN(100))
	for i := range n {
		ok = step()
		if at >= 0 {
			at += by
		}
		if !ok || at < 0 || at >= count {
			return at, fmt.Sprintf("%d of %d steps by %d", i+1, n, by), ok
		}
	}
	return at, fmt.Sprintf("%d steps by %d", n, by), ok
}
