package engine

import (
	"fmt"
	"runtime"
	"runtime/metrics"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

func TestEveryProfileOpensWritesAndReadsWhatTheOthersWrote(t *testing.T) {
	disk := vfs.NewMem()
	for n, p := range Profiles() {
		if parsed, err := ParseProfile(p.String()); err != nil || parsed != p {
			t.Fatalf("%v is parsed as %v, %v", p, parsed, err)
		}
		o := p.Options()
		o.FS = disk
		db := mustOpen(t, "db", o)
		for before := range n {
			expectValue(t, db, fmt.Sprint("written by ", Profile(before)), "value")
		}
		apply(t, db, func(b *Batch) { b.Put([]byte(fmt.Sprint("written by ", p)), []byte("value"), 0, 0) })
		expectValue(t, db, fmt.Sprint("written by ", p), "value")
		mustClose(t, db)
	}
	if _, err := ParseProfile("fastest"); err == nil {
		t.Fatal("there is a profile fastest")
	}
}

func TestProfilesKeepWhatTheyPromise(t *testing.T) {
	for _, p := range Profiles() {
		o := p.Options()
		if err := o.Validate(); err != nil {
			t.Errorf("%v: %v", p, err)
		}
		durable := p != WriteOptimized && p != Development
		if (o.Log == LogAlways) != durable {
			t.Errorf("%v has log mode %v", p, o.Log)
		}
	}
}

// TestLowMemoryHoldsItsBound writes and reads much more than the bound, on a real disk.
func TestLowMemoryHoldsItsBound(t *testing.T) {
	o := LowMemory.Options()
	o.Log = LogNever // the same memory, and no wait for the disk
	before := live()
	db := mustOpen(t, t.TempDir(), o)
	value := make([]byte, 1000)
	most := uint64(0)
	for round := range 50 {
		apply(t, db, func(b *Batch) {
			for i := range 1000 {
				value[i%1000]++
				b.Put(fmt.Appendf(nil, "key%07d", (round*1000+i)*7919%60_000), value, 0, 0)
			}
		})
		for i := range 200 {
			if _, _, err := db.Get(fmt.Appendf(nil, "key%07d", i*271), MaxVersion); err != nil {
				t.Fatal(err)
			}
		}
		if now := live(); now > before {
			most = max(most, now-before)
		}
	}
	mustClose(t, db)
	t.Logf("engine: low memory: at most %.1f MiB live while 50 MB are written, bound %d MiB", float64(most)/(1<<20), LowMemoryBytes>>20)
	if most > LowMemoryBytes || most < 1<<20 {
		t.Fatalf("%d bytes", most)
	}
}

// live is how much of the heap is in use, without garbage.
func live() uint64 {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
