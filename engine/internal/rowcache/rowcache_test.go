package rowcache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/internal/testkit"
)

const newest = ^uint64(0)

func query(key []byte) *Query {
	return &Query{Key: key, Hash: keyhash.Of(key), Version: newest, Sequence: newest}
}

// put does what a read of the present does.
func put(c *Cache, key, value []byte, version uint64) {
	q := query(key)
	if _, hit := c.Get(q, nil); !hit {
		c.Fill(q, &Row{Version: version, Sequence: version, Value: value})
	}
}

func TestARowComesBackAsItWas(t *testing.T) {
	c := New(1 << 20)
	random := rand.New(rand.NewPCG(1, 1))
	for n := range 600 {
		key := make([]byte, 1+random.IntN(40))
		value := make([]byte, random.IntN(300))
		for _, b := range [][]byte{key, value} {
			for i := range b {
				b[i] = byte(random.Uint32())
			}
		}
		row := Row{Version: random.Uint64(), Sequence: random.Uint64(), Value: value, Expiry: uint64(n%3) * random.Uint64N(1<<40)}
		q := query(key)
		c.Get(q, nil)
		c.Fill(q, &row)
		got, hit := c.Get(q, []byte("before"))
		if c.Stats().Refused > 0 { // the buckets grew
			c = New(1 << 20)
			continue
		}
		if !hit || !bytes.Equal(got, append([]byte("before"), value...)) || q.FoundVersion != row.Version || q.FoundExpiry != row.Expiry {
			t.Fatalf("key of %d, value of %d bytes: %v, %d bytes", len(key), len(value), hit, len(got))
		}
		before := query(key)
		before.Sequence = row.Sequence - 1
		if _, hit := c.Get(before, nil); hit && row.Sequence > 0 {
			t.Fatal("seen by a sequence before it")
		}
	}
}

func TestAHitAllocatesNothing(t *testing.T) {
	c, key := New(1<<20), []byte("key")
	put(c, key, make([]byte, 100), 1)
	q, dst := query(key), make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		if _, hit := c.Get(q, dst); !hit {
			t.Fatal("no hit")
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// step is one of a goroutine in an interleaving.
type step func()

// interleave runs every order of the steps of some goroutines, each time on a fresh scene.
func interleave(t *testing.T, scene func() (goroutines [][]step, check func(order []int))) (orders int) {
	first, _ := scene()
	left := make([]int, len(first))
	for i, steps := range first {
		left[i] = len(steps)
	}
	var order []int
	var extend func()
	extend = func() {
		done := true
		for i := range left {
			if left[i] == 0 {
				continue
			}
			done = false
			left[i]--
			order = append(order, i)
			extend()
			order = order[:len(order)-1]
			left[i]++
		}
		if !done || t.Failed() {
			return
		}
		orders++
		goroutines, check := scene()
		for n, i := range order {
			goroutines[i][0]()
			goroutines[i] = goroutines[i][1:]
			check(order[:n+1])
		}
	}
	extend()
	return orders
}

// RW1. Two readers fill and two batches are published, in every order of their steps. After each step a hit must be what is visible.
func TestNoOrderOfStepsLetsAnOldRowIn(t *testing.T) {
	key := []byte("key")
	c := New(MinBytes)
	orders := interleave(t, func() ([][]step, func([]int)) {
		c.Clear()
		visible := byte(1)
		read := func() []step {
			q, found := query(key), byte(0)
			return []step{
				func() { c.Get(q, nil) },
				func() { found = visible },
				func() { c.Fill(q, &Row{Version: uint64(found), Sequence: uint64(found), Value: []byte{found}}) },
			}
		}
		hashes := []uint64{keyhash.Of(key), keyhash.Of(key)}
		begin, publish, end := func() { c.Begin(hashes) }, func() { visible++ }, func() { c.End(hashes) }
		return [][]step{read(), read(), {begin, publish, end, begin, publish, end}}, func(order []int) {
			if got, hit := c.Get(query(key), nil); hit && got[0] != visible {
				t.Fatalf("after the steps of goroutines %v: %d is found and %d is visible", order, got[0], visible)
			}
		}
	})
	if want := 18_480; orders != want {
		t.Fatalf("%d orders, want %d", orders, want)
	}
}

// RW1. The same with everything replaced instead of a batch.
func TestNothingSurvivesAReplacement(t *testing.T) {
	key, other := []byte("key"), []byte("other")
	c := New(MinBytes)
	put(c, key, []byte{1}, 1)
	late := query(other)
	c.Get(late, nil)
	c.Replace(func() {
		if _, hit := c.Get(query(key), nil); hit {
			t.Error("found while everything is replaced")
		}
		put(c, key, []byte{1}, 1)
	})
	c.Fill(late, &Row{Value: []byte{1}})
	for _, k := range [][]byte{key, other} {
		if _, hit := c.Get(query(k), nil); hit {
			t.Errorf("%s was found before everything was replaced, and is there", k)
		}
	}
	put(c, key, []byte{2}, 2)
	if _, hit := c.Get(query(key), nil); !hit {
		t.Error("nothing gets in any more")
	}
	c.Close(func() {})
	put(c, key, []byte{2}, 2)
	if _, hit := c.Get(query(key), nil); hit {
		t.Error("found in a closed cache")
	}
}

// register is a store of keys whose values only grow.
type register struct {
	cache   *Cache
	keys    [][]byte
	hashes  []uint64
	visible []atomic.Uint64
}

func newRegister(c *Cache, keys int) *register {
	r := &register{cache: c, visible: make([]atomic.Uint64, keys)}
	for i := range keys {
		key := fmt.Appendf(nil, "key%05d", i)
		r.keys, r.hashes = append(r.keys, key), append(r.hashes, keyhash.Of(key))
	}
	return r
}

// value is a row's, as long as the number says, so that a part of another one is told from it.
func (r *register) value(dst []byte, key int, number uint64) []byte {
	for range 1 + (number*7+uint64(key))%60 {
		dst = binary.LittleEndian.AppendUint64(dst, number*1_000_003+uint64(key))
	}
	return dst
}

// read does one read, and checks that what it finds was visible at some moment of it.
func (r *register) read(i int, random *rand.Rand, dst []byte) error {
	q := query(r.keys[i])
	before := r.visible[i].Load()
	got, hit := r.cache.Get(q, dst)
	after := r.visible[i].Load()
	if hit {
		if q.FoundVersion < before || q.FoundVersion > after || !bytes.Equal(got, r.value(nil, i, q.FoundVersion)) {
			return fmt.Errorf("key %d: number %d of %d bytes is found, %d to %d was visible", i, q.FoundVersion, len(got), before, after)
		}
		return nil
	}
	number := r.visible[i].Load()
	r.cache.Fill(q, &Row{Version: number, Sequence: number, Value: r.value(dst, i, number)})
	return nil
}

// write publishes new numbers of some keys.
func (r *register) write(random *rand.Rand) {
	var some []int
	var hashes []uint64
	for range 1 + random.IntN(5) {
		i := random.IntN(len(r.keys))
		some, hashes = append(some, i), append(hashes, r.hashes[i])
	}
	r.cache.Begin(hashes)
	for _, i := range some {
		r.visible[i].Add(1)
	}
	r.cache.End(hashes)
}

// RW1, RW2, RW3. Many readers and one writer in a cache that is much too small, with few buckets, which grows, is
// resized and cleared meanwhile.
func TestReadersFindWhatIsVisibleWhileRowsComeAndGo(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	r := newRegister(New(MinBytes), 400)
	const writes = 2_000
	var readers sync.WaitGroup
	var done atomic.Bool
	for reader := range 4 {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(reader)))
			dst := make([]byte, 0, 512)
			for !done.Load() {
				i := random.IntN(len(r.keys))
				if random.IntN(2) == 0 {
					i %= 20
				}
				if err := r.read(i, random, dst); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(seed, 99))
	for n := 0; n < writes || r.cache.hits.Sum() < writes; n++ { // until readers had their turns, too
		r.write(random)
		if n%8 == 0 {
			runtime.Gosched()
		}
		switch {
		case n%500 == 499:
			r.cache.Clear()
		case n%150 == 149:
			r.cache.Resize(MinBytes * (1 + random.IntN(4)))
		}
	}
	done.Store(true)
	readers.Wait()
	t.Logf("seed %d: %+v", seed, r.cache.Stats())
}

// RW4.
func TestACacheStaysWithinItsBytes(t *testing.T) {
	for _, bytes := range []int{MinBytes, 600_000} {
		for _, size := range []int{1, 100, 900} {
			c := New(bytes)
			limit := func(bytes int) int { return bytes + len(c.shards)*(c.segmentBytes+2*bucketBytes) }
			value := make([]byte, size)
			for i := range 2 * bytes / (size + 50) {
				put(c, fmt.Appendf(nil, "%09d", i), value, 1)
			}
			st := c.Stats()
			if st.Bytes > limit(bytes) || st.Bytes < bytes/2 || st.Rows == 0 {
				t.Errorf("%d bytes, values of %d: %+v", bytes, size, st)
			}
			c.Resize(bytes / 2)
			for i := range bytes / (size + 50) {
				put(c, fmt.Appendf(nil, "%09d", i), value, 1)
			}
			if got := c.Stats().Bytes; got > limit(max(bytes/2, MinBytes)) {
				t.Errorf("%d bytes after it was resized to %d", got, bytes/2)
			}
		}
	}
}

// What is kept for buckets that grow later is used by rows where they never do.
func TestAFullCacheUsesItsBytes(t *testing.T) {
	for _, size := range []int{60, 100, 200} {
		value := make([]byte, size)
		for budget := 512 << 10; budget <= 1<<20; budget += 128 << 10 {
			c := New(budget)
			var key [8]byte
			for i := range 2 * budget / (size + 32) {
				binary.BigEndian.PutUint64(key[:], uint64(i))
				put(c, key[:], value, 1)
			}
			if used := c.Stats().Bytes; used < budget*9/10 || used > budget {
				t.Errorf("values of %d bytes: %d of %d bytes are used", size, used, budget)
			}
		}
	}
}

func TestRowsThatAreReadOnceDoNotPushOutThoseThatAreUsed(t *testing.T) {
	c := New(1 << 20)
	value := make([]byte, 100)
	hot := func(i int) []byte { return fmt.Appendf(nil, "hot%04d", i) }
	const count = 2000
	for range 3 {
		for i := range count {
			put(c, hot(i), value, 1)
		}
	}
	for i := range 25_000 {
		put(c, fmt.Appendf(nil, "cold%09d", i), value, 1)
		if i%5 == 0 {
			put(c, hot(i/5%count), value, 1)
		}
	}
	found := 0
	for i := range count {
		if _, hit := c.Get(query(hot(i)), nil); hit {
			found++
		}
	}
	if found < count*95/100 {
		t.Fatalf("%d of %d rows that are used are left", found, count)
	}
}

// TestRowsThatFitAreAllKept is what "everything cached" needs: few rows find no slot.
func TestRowsThatFitAreAllKept(t *testing.T) {
	const count = 20_000
	for _, outside := range []bool{false, true} {
		c := New(6 << 20)
		c.shards[0].mappings.outside = outside
		for range 2 { // the second time in memory that was given back
			keepAll(t, c, count)
			c.Clear()
		}
		if got := len(c.shards[0].mappings.all); got > 0 != outside {
			t.Errorf("%d mappings", got)
		}
	}
}

func keepAll(t *testing.T, c *Cache, count int) {
	t.Helper()
	value := make([]byte, 100)
	key := func(i int) []byte { return fmt.Appendf(nil, "user%012d", i) }
	for range 2 {
		for i := range count {
			put(c, key(i), value, 1)
		}
	}
	found := 0
	for i := range count {
		if _, hit := c.Get(query(key(i)), nil); hit {
			found++
		}
	}
	st := c.Stats()
	t.Logf("%d of %d rows are there, %d bytes each", found, count, st.Bytes/count)
	if found < count*98/100 || st.Rows < found {
		t.Fatalf("%d of %d rows are there, %+v", found, count, st)
	}
}

func TestOneWordIsAsGoodAsAnother(t *testing.T) {
	for n := range 20 {
		b := []byte("0123456789abcdefghij")[:n]
		w := make([]atomic.Uint64, words(n))
		writeBytes(w, b)
		if got := appendBytes(nil, w, n); !bytes.Equal(got, b) || !sameKey(w, b) {
			t.Errorf("%q: %q", b, got)
		}
		if n > 0 {
			other := slices.Clone(b)
			other[n-1]++
			if sameKey(w, other) {
				t.Errorf("%q is %q", other, b)
			}
		}
	}
}

func TestNoCacheHoldsNothing(t *testing.T) {
	c := New(-1)
	put(c, []byte("k"), []byte("v"), 1)
	c.Begin(nil)
	c.End(nil)
	c.Resize(100)
	called := 0
	c.Replace(func() { called++ })
	c.Close(func() { called++ })
	if _, hit := c.Get(query([]byte("k")), nil); hit || called != 2 || c.Stats() != (Stats{}) {
		t.Fatal("found")
	}
}

// RW4. Rows beyond the new bytes are lost, those within them stay, and the bytes are used again when they come back.
func TestACacheThatShrinksKeepsWhatFits(t *testing.T) {
	for _, outside := range []bool{false, true} {
		const count, budget = 20_000, 8 << 20
		c := New(budget)
		c.shards[0].mappings.outside = outside
		keepAll(t, c, count)
		value := make([]byte, 100)
		key := func(i int) []byte { return fmt.Appendf(nil, "user%012d", i) }
		for _, resize := range []func(int){c.Resize, c.TryResize} {
			for _, part := range []int{4, 2, 5} {
				resize(budget / part)
				st := c.Stats()
				if st.Bytes > budget/part || st.Budget != budget/part {
					t.Fatalf("a %dth of %d: %+v", part, budget, st)
				}
				found := 0
				for i := range count {
					if _, hit := c.Get(query(key(i)), nil); hit {
						found++
					}
				}
				if found != st.Rows || found < count/part/2 {
					t.Fatalf("%d rows are found at a %dth of the bytes, %d are counted", found, part, st.Rows)
				}
				for i := range count {
					put(c, key(i), value, 1)
				}
				if st := c.Stats(); st.Bytes > budget/part || st.Bytes < budget/part*8/10 {
					t.Fatalf("filled at a %dth of %d: %+v", part, budget, st)
				}
			}
			resize(budget)
			for range 4 { // new rows wait in a small part at first
				for i := range count {
					put(c, key(i), value, 1)
				}
			}
			if st := c.Stats(); st.Rows < count*9/10 {
				t.Fatalf("%d rows are there after the cache has grown again", st.Rows)
			}
		}
	}
}

func TestAResizeDoesNotOpenAClosedCache(t *testing.T) {
	c := New(MinBytes)
	c.Close(func() {})
	for _, bytes := range []int{8 * MinBytes, MinBytes} {
		c.Resize(bytes)
		c.TryResize(2 * bytes)
		put(c, []byte("key"), []byte("v"), 1)
		if _, hit := c.Get(query([]byte("key")), nil); hit || c.Stats().Rows != 0 {
			t.Fatal("found in a closed cache")
		}
	}
}

func TestRowsThatComeBackAreCounted(t *testing.T) {
	c := New(MinBytes)
	key := func(i int) []byte { return fmt.Appendf(nil, "%09d", i) }
	for range 3 {
		for i := range 1500 {
			put(c, key(i), make([]byte, 100), 1)
		}
	}
	if st := c.Stats(); st.Far.Returned == 0 || st.Far.Held == 0 || st.Far.Held > 1500 {
		t.Fatalf("%+v", st)
	}
}
