package shard

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/rows"
	"github.com/lightning-db/lightning/internal/testkit"
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

// sweepAll ticks until all rows of the other half are deleted, and until nobody may read them any more.
func (b *bench) sweepAll() {
	b.t.Helper()
	for steps := 0; b.m.state().foreign.from != ""; steps++ {
		if steps > 1000 {
			b.t.Fatal("the sweep does not end")
		}
		b.now += sweepForeignEveryMillis
		b.tick()
	}
	b.now += b.m.state().retentionMillis + sweepEveryMillis
	b.tick()
	b.flush()
}

// The disk space of the other half comes back, on both halves.
func TestTheSpaceOfTheOtherHalfReturns(t *testing.T) {
	p := newParent(t)
	rng := testkit.Rand(t)
	for range 40 {
		var ops []api.Op
		for range 100 {
			value := make([]byte, 1000)
			for i := range value {
				value[i] = byte(rng.Uint32()) // which does not compress
			}
			ops = append(ops, put(fmt.Sprintf("k%016x", rng.Uint64()), string(value)))
		}
		p.write(batch(ops...))
	}
	p.flush()
	p.compact()
	before := p.m.diskBytes()
	p.split(testSplit())
	c := p.child()
	halves := []*bench{p.bench, c}
	for i, b := range halves {
		if bytes := b.m.diskBytes(); bytes < before*9/10 {
			t.Errorf("half %d has %d bytes, the whole had %d", i, bytes, before)
		}
		b.sweepAll()
		testkit.Eventually(t, patience, func() bool {
			for range 20 { // of a quiet shard, with a flush after them
				b.now += sweepEveryMillis
				b.tick()
			}
			b.flush()
			return b.m.diskBytes() <= before*6/10
		}, "compactions by themselves do not give the space back")
		after := b.m.diskBytes()
		t.Logf("half %d: %d bytes of %d", i, after, before)
		if after > before*6/10 || after < before*4/10 {
			t.Errorf("half %d has %d bytes after the sweep, the whole had %d", i, after, before)
		}
	}
	if bytes := onDisk(t, p.fs, "/data/shards"); bytes > int64(before)*12/10 {
		t.Errorf("%d bytes are on the disk, the tables of the whole had %d", bytes, before)
	}
}

// onDisk is the size of the files in a directory, those of its directories among them. A file with two names counts twice.
func onDisk(t *testing.T, fs vfs.FS, dir string) (bytes int64) {
	t.Helper()
	names, err := fs.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if content, err := vfs.ReadFile(fs, dir+"/"+name); err == nil {
			bytes += int64(len(content))
		} else {
			bytes += onDisk(t, fs, dir+"/"+name)
		}
	}
	return bytes
}

// TestACopyThatIsOpenOverASplitIsWhole: a checkpoint that was made before it, as for a snapshot that is being sent, and a backup
// that has begun, have what the shard had then, although the other half's rows are gone from the tables of both by their end.
func TestACopyThatIsOpenOverASplitIsWhole(t *testing.T) {
	const count = 300
	p := newParent(t)
	for i := range count {
		p.write(batch(put(fmt.Sprint("k", i), "v")))
	}
	p.fillLarge()
	p.flush()
	want := p.digest()
	if _, err := p.m.Checkpoint("/data/copy"); err != nil {
		t.Fatal(err)
	}
	var counter record.Counter
	err := backupReader(p.bench).Backup(t.Context(), func(cut Cut) error {
		if cut.Epoch != 1 || cut.Arc.End != api.SlotCount {
			t.Errorf("the cut is %+v", cut)
		}
		p.split(testSplit())
		c := p.child()
		for _, b := range []*bench{p.bench, c} {
			b.sweepAll()
			b.compact()
		}
		return nil
	}, counter.Take)
	if err := errors.Join(err, counter.Whole()); err != nil || counter.Rows != count+2 {
		t.Errorf("the backup has %d rows, want %d: %v", counter.Rows, count+2, err)
	}
	for _, key := range p.rowKeys() {
		if inChild(key) {
			t.Fatalf("%s is still there", key)
		}
	}
	other := &parent{bench: &bench{t: t, fs: p.fs, term: 1, now: p.now}}
	o := machineOptions(t, p.fs)
	o.Dir = "/data/shards/elsewhere"
	if other.m, err = openMachine(o); err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if err := other.m.Install("/data/copy"); err != nil {
		t.Fatal(err)
	}
	if got := other.digest(); got != want {
		t.Error("the checkpoint has other rows than the shard had")
	}
}

// TestAReplicaThatSkipsASplitMakesNoChild: one that is behind, or is fenced and rebuilt, gets a state from beyond the split. It
// goes on as the others do, and takes the split for done.
func TestAReplicaThatSkipsASplitMakesNoChild(t *testing.T) {
	p := newParent(t)
	p.fill(50)
	p.flush()
	twin := &parent{bench: &bench{t: t, fs: p.fs.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll}), term: 1, now: p.now}}
	twin.open()
	twin.wire()
	defer func() { twin.close() }()
	p.split(testSplit())
	if _, err := p.m.Checkpoint("/data/copy"); err != nil {
		t.Fatal(err)
	}
	vfsCopy(t, p.fs, twin.fs, "/data/copy")
	if err := twin.m.replace("/data/copy", p.m.state().digest); err != nil {
		t.Fatal(err)
	}
	twin.close() // as whoever rebuilds a replica does
	twin.open()
	twin.wire()
	for range 3 {
		p.now += sweepForeignEveryMillis
		e := p.entry(encodeTick())
		p.run(e)
		twin.apply(e)
	}
	again := p.entry(encodeSplit(testSplit()))
	if a := p.run(again)[0]; a.Err != nil {
		t.Fatal(a.Err)
	}
	if a := twin.apply(again)[0][0]; a.Err != nil {
		t.Fatal(a.Err)
	}
	if there, _ := founded(twin.fs); there || len(twin.children) != 0 {
		t.Errorf("it made a child: %t, %v", there, twin.children)
	}
	if got, want := twin.m.state().digest, p.m.state().digest; got != want || twin.digest() != p.digest() {
		t.Errorf("the digests differ: %x and %x", got, want)
	}
}

// vfsCopy copies a directory of files from one disk to another.
func vfsCopy(t *testing.T, from, to vfs.FS, dir string) {
	t.Helper()
	names, err := from.List(dir)
	if err == nil {
		err = to.MkdirAll(dir)
	}
	for _, name := range names {
		var content []byte
		if err == nil {
			content, err = vfs.ReadFile(from, dir+"/"+name)
		}
		if err == nil {
			err = vfs.WriteFileAtomic(to, dir, name, content)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}
