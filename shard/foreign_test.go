package shard

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/vfs"
)

// rowKeys are the user's keys on the disk, as the newest state has them.
func (b *bench) rowKeys() (keys []string) {
	b.walk([]byte{rows.Prefix}, []byte{rows.Prefix + 1}, func(r engine.Row) {
		_, key, err := rows.DecodeKey(nil, r.Key)
		if err != nil {
			b.t.Fatal(err)
		}
		keys = append(keys, string(key))
	})
	return keys
}

// S14: ticks delete what went to the other half, parts of values too, and nothing else.
func TestRowsOfTheOtherHalfLeaveTheDisk(t *testing.T) {
	p := newParent(t)
	count := maxForeignRows + 500
	for i := 0; i < count; i += 100 {
		var ops []api.Op
		for j := range min(100, count-i) {
			ops = append(ops, put(fmt.Sprint("k", i+j), "v"))
		}
		p.write(batch(ops...))
	}
	p.fill(30)
	p.fillLarge()
	p.split(testSplit())
	c := p.child()
	for half, b := range []*bench{p.bench, c} {
		for range 6 {
			b.now += sweepEveryMillis
			b.tick()
		}
		if b.m.state().foreign.from != "" {
			t.Fatalf("half %d is still at it", half)
		}
		kept := 0
		for _, key := range b.rowKeys() {
			if inChild(key) != (half == 1) {
				t.Fatalf("%s is still in half %d", key, half)
			}
			kept++
		}
		want := 1
		for i := range count {
			if inChild(fmt.Sprint("k", i)) == (half == 1) {
				want++
			}
		}
		if kept != want {
			t.Fatalf("half %d has %d keys, want %d", half, kept, want)
		}
		b.wantParts(int(api.PartsOf(largeValue(1, 300_000), 0).Count))
		if b.m.state().parts.Values != 1 {
			t.Fatalf("half %d counts %d values in parts", half, b.m.state().parts.Values)
		}
	}
}

// S1: what a step deletes does not depend on which expired rows a replica still has.
func TestReplicasDeleteTheSameRowsOfTheOtherHalf(t *testing.T) {
	p := newParent(t)
	for i := range 300 {
		op := put(fmt.Sprint("k", i), "v")
		if i%2 == 0 {
			op = putUntil(fmt.Sprint("k", i), "v", p.now+1000)
		}
		p.write(batch(op))
	}
	p.split(testSplit())
	p.flush()
	twin := &parent{bench: &bench{t: t, fs: p.fs.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll}), term: 1, now: p.now, index: p.index}}
	twin.open()
	twin.wire()
	defer twin.close()
	p.now += 60_000
	later := p.entry(EncodeCommand(at(batch(put(keyIn(0, splitAt), "later")), 2)))
	p.run(later)
	twin.apply(later)
	twin.flush() // which makes the horizon durable, behind which compaction drops what has expired
	h, err := twin.m.store.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.DB.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	h.Release()
	if len(twin.rowKeys()) == len(p.rowKeys()) {
		t.Fatal("compaction dropped nothing that has expired: the test shows nothing")
	}
	for range 3 {
		p.now += sweepForeignEveryMillis
		e := p.entry(encodeTick())
		p.run(e)
		twin.apply(e)
		if got, want := twin.m.state().digest, p.m.state().digest; got != want {
			t.Fatalf("the digests differ after entry %d: %x and %x", e.Index, got, want)
		}
	}
}

// TestAStepOfTheSweepIsBounded in what it reads and in what it deletes, whatever the keys and values weigh: apply waits for it.
func TestAStepOfTheSweepIsBounded(t *testing.T) {
	for _, c := range []struct {
		name                 string
		count                int
		keyBytes, valueBytes int
		inParts              bool
		least, most          int // steps
	}{
		{"small rows", 3000, 10, 10, false, 1, 1},
		{"many rows", maxForeignRows + 10, 10, 10, false, 2, 2},
		{"long keys", 100, 60 << 10, 10, false, 2, 2},
		{"long values that are not read", 24, 10, 500 << 10, false, 1, 1},
		{"long values among which one is in parts", 24, 10, 500 << 10, true, 3, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParent(t)
			if c.inParts {
				p.fillLarge()
			}
			value := strings.Repeat("v", c.valueBytes)
			for i := 0; i < c.count; i++ {
				if a := p.write(batch(put(fmt.Sprintf("%0*d", c.keyBytes, i), value))); a.Err != nil {
					t.Fatal(a.Err)
				}
			}
			p.split(testSplit())
			steps := 0
			for ; p.m.state().foreign.from != "" && steps < 100; steps++ {
				p.now += sweepForeignEveryMillis
				p.tick()
			}
			if steps < c.least || steps > c.most {
				t.Errorf("%d steps, want %d to %d", steps, c.least, c.most)
			}
			for _, key := range p.rowKeys() {
				if inChild(key) {
					t.Fatalf("%.20s is still there", key)
				}
			}
		})
	}
}

// An old snapshot still has what the split gave away.
func TestAReadThatBeganBeforeASplitGoesOn(t *testing.T) {
	p := newParent(t)
	p.fill(50)
	h, err := p.m.store.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	s := h.DB.Snapshot()
	defer s.Close()
	p.split(testSplit())
	p.now += uint64(time.Minute / time.Millisecond)
	for range 3 {
		p.now += sweepForeignEveryMillis
		p.tick()
	}
	if err := h.DB.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i := range 50 {
		if _, ok, err := s.Get(rows.Key(0, []byte(fmt.Sprint("k", i))), engine.MaxVersion); !ok || err != nil {
			t.Fatalf("k%d is gone: %v", i, err)
		}
	}
}
