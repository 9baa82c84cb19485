package engine

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lightning-db/lightning/internal/vfs"
)

func TestScrubFindsAllDamageAndNamesIt(t *testing.T) {
	s := newStoreOf(t, 1, 5)
	h := &heard{}
	o := small(s.disk)
	o.Events, o.ReadOnly = h.add, true // so that no compaction changes what there is
	db := mustOpen(t, "db", o)
	last, all := uint64(0), uint64(0)
	report, err := db.Scrub(t.Context(), ScrubOptions{Progress: func(_ string, done, total uint64) {
		if done < last || done > total {
			t.Errorf("%d of %d after %d", done, total, last)
		}
		last, all = done, total
	}})
	m := db.Metrics()
	tables := m.Tables()
	if err != nil || len(report.Findings) != 0 || report.Tables != tables || all != m.Bytes() || last != all {
		t.Fatalf("%+v, %v", report, err)
	}
	// The store has the files open: what happens to them now is what a disk does, or another hand.
	damaged := map[string]bool{}
	for _, name := range s.files["table"] {
		bad := bytes.Clone(s.bytes[name])
		bad[len(bad)/2] ^= 1
		overwrite(t, s.disk, "db/"+name, bad)
		damaged[name] = true
	}
	report, err = db.Scrub(t.Context(), ScrubOptions{})
	if err != nil || len(report.Findings) != tables || db.Metrics().ScrubFindings != uint64(tables) {
		t.Fatalf("%d findings in %d tables, %v", len(report.Findings), tables, err)
	}
	mustClose(t, db)
	for _, found := range h.of(EventScrubFinding) {
		var c *CorruptionError
		if !errors.As(found.Err, &c) || !damaged[c.File] {
			t.Fatalf("finding %v", found.Err)
		}
		delete(damaged, c.File)
	}
	if len(damaged) != 0 {
		t.Fatalf("not found: %v", damaged)
	}
}

// Time stands still but for the waits of the scrub.
func TestScrubKeepsToItsSpeedAndEndsWithItsContext(t *testing.T) {
	s := newStoreOf(t, 1, 5)
	synctest.Test(t, func(t *testing.T) {
		db := mustOpen(t, "db", small(s.disk))
		defer mustClose(t, db)
		start := time.Now()
		report, err := db.Scrub(t.Context(), ScrubOptions{BytesPerSecond: 10_000})
		took, want := time.Since(start), time.Duration(report.Bytes)*time.Second/10_000
		if err != nil || took < want-time.Second/10 || took > want+time.Second/10 {
			t.Fatalf("%d bytes in %v, want %v, %v", report.Bytes, took, want, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err = db.Scrub(ctx, ScrubOptions{BytesPerSecond: 10_000}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

func TestTheBackgroundScrubsAsOftenAsItIsTold(t *testing.T) {
	disk := vfs.NewMem()
	db := mustOpen(t, "db", small(disk))
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), make([]byte, 10_000), 0, 0) })
	mustClose(t, db)
	synctest.Test(t, func(t *testing.T) {
		o := small(disk)
		o.ScrubBytesPerSecond, o.ScrubInterval = 10_000, time.Hour
		db := mustOpen(t, "db", o)
		var after []uint64
		for range 3 {
			<-time.After(time.Hour - time.Second)
			synctest.Wait()
			after = append(after, db.Metrics().ScrubbedBytes)
			<-time.After(time.Second)
		}
		if after[0] == 0 || after[1] != 2*after[0] || after[2] != 3*after[0] {
			t.Fatalf("bytes read after each hour: %v", after)
		}
		mustClose(t, db)
	})
}

func TestCloseEndsAScrubThatTakesLongerThanItsInterval(t *testing.T) {
	s := newStoreOf(t, 1, 5)
	synctest.Test(t, func(t *testing.T) {
		o := small(s.disk)
		o.ScrubBytesPerSecond, o.ScrubInterval = 1, time.Minute
		db := mustOpen(t, "db", o)
		<-time.After(time.Hour)
		start := time.Now()
		mustClose(t, db)
		if took := time.Since(start); took > 0 { // of the test's clock
			t.Fatalf("Close took %v", took)
		}
	})
}
