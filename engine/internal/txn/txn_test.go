package txn

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
)

func TestTheLastWriteOfAKeyCountsInTheOrderOfKeys(t *testing.T) {
	seed := testkit.Seed(t)
	for sub := range int64(300) {
		random := testkit.NewRand(seed + sub)
		w, model := Get().Writes, map[string]string{}
		keys := 1 + random.IntN(60)
		for step := range random.IntN(300) {
			key := fmt.Sprintf("k%02d", random.IntN(keys))
			if random.IntN(2) == 0 {
				value := fmt.Sprint(step)
				w.Set(record.Put, []byte(key), []byte(value), uint64(step))
				model[key] = value
			}
			sorted := slices.Sorted(maps.Keys(model))
			at, _ := slices.BinarySearch(sorted, key)
			after, ok := w.After([]byte(key))
			if ok != (at < len(sorted)) || ok && (string(after.Key) != sorted[at] || string(after.Value) != model[sorted[at]]) {
				t.Fatalf("seed %d: after %s is %q %v", seed+sub, key, after.Key, ok)
			}
			before, ok := w.Before([]byte(key))
			if ok != (at > 0) || ok && string(before.Key) != sorted[at-1] {
				t.Fatalf("seed %d: before %s is %q %v", seed+sub, key, before.Key, ok)
			}
			got, ok := w.Get([]byte(key))
			want, there := model[key]
			if ok != there || string(got.Value) != want || w.Len() != len(model) {
				t.Fatalf("seed %d: %s is %q %v, want %q %v", seed+sub, key, got.Value, ok, want, there)
			}
		}
	}
}

func TestJoinedRangesCoverWhatWasWalked(t *testing.T) {
	seed := testkit.Seed(t)
	for sub := range int64(500) {
		random := testkit.NewRand(seed + sub)
		var r Ranges
		var covered [40]bool
		key := func(i int) []byte { return fmt.Appendf(nil, "%02d", i) }
		for range random.IntN(8) {
			start := random.IntN(40)
			end := start + random.IntN(40-start+1)
			i := r.Add(key(start), key(end))
			if random.IntN(2) == 0 && end < 39 {
				end++
				r.Up(i, key(end-1))
			}
			if random.IntN(2) == 0 && start > 0 {
				start--
				r.DownTo(i, key(start))
			}
			if random.IntN(6) == 0 {
				end = 40
				r.UpTo(i, nil)
			}
			for k := start; k < end; k++ {
				covered[k] = true
			}
		}
		r.Join()
		for k, want := range covered {
			if got := r.Covering(key(k)); (got != nil) != want || got != nil && !got.Covers(key(k)) {
				t.Fatalf("seed %d: %d is covered: %v, want %v", seed+sub, k, got, want)
			}
		}
	}
}

func TestABufferComesBackEmptyAndALargeOneNotAtAll(t *testing.T) {
	b := new(Buffers)
	b.Writes.Set(record.Put, []byte("k"), bytes.Repeat([]byte("v"), maxKeptBytes+1), 0)
	Put(b)
	for range 20 {
		g := Get()
		if g == b || g.Bytes() != 0 || g.Writes.Len() != 0 {
			t.Fatal("a buffer that is large, or in use, was kept")
		}
		g.Writes.Set(record.Put, []byte("k"), []byte("v"), 0)
		g.Reads.Add([]byte("k"))
		g.Ranges.Add(nil, nil)
		Put(g)
	}
}
