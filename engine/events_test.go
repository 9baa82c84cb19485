package engine

import (
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/lightning-db/lightning/internal/vfs"
)

// heard is a listener that keeps what it is told.
type heard struct {
	sync.Mutex
	events []Event
}

func (h *heard) add(e Event) {
	h.Lock()
	defer h.Unlock()
	h.events = append(h.events, e)
}

// of are the events of some kinds, in order.
func (h *heard) of(kinds ...EventKind) (found []Event) {
	h.Lock()
	defer h.Unlock()
	for _, e := range h.events {
		if slices.Contains(kinds, e.Kind) {
			found = append(found, e)
		}
	}
	return found
}

func TestEventsTellOfEveryFlushCompactionAndTable(t *testing.T) {
	h := &heard{}
	o := small(vfs.NewMem())
	o.Events, o.CompactCount, o.StopCount = h.add, 64, 65
	db := mustOpen(t, "db", o)
	for i := range 4 {
		apply(t, db, func(b *Batch) {
			for k := range 50 {
				b.Put(fmt.Appendf(nil, "k%04d", k), make([]byte, 100+i), 0, 0)
			}
		})
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := db.Metrics()
	mustClose(t, db)
	flushes, merges := h.of(EventFlushBegin, EventFlushEnd), h.of(EventCompactionBegin, EventCompactionEnd)
	if len(flushes) != 8 || len(merges) != 2 {
		t.Fatalf("%d events of flushes and %d of compactions, want 8 and 2", len(flushes), len(merges))
	}
	written := uint64(0)
	for i, e := range flushes {
		if (e.Kind == EventFlushBegin) != (i%2 == 0) || e.InputBytes == 0 || e.Err != nil {
			t.Fatalf("event %d of a flush: %+v", i, e)
		}
		written += e.Bytes
	}
	if written != m.FlushedBytes || merges[1].Bytes != m.CompactedBytes || merges[1].Tables != 4 || merges[1].InputBytes != m.FlushedBytes {
		t.Fatalf("%d bytes flushed and %+v, metrics tell %d and %d", written, merges[1], m.FlushedBytes, m.CompactedBytes)
	}
	if created, deleted := h.of(EventTableCreated), h.of(EventTableDeleted); len(created) != 5 || len(deleted) != 4 {
		t.Fatalf("%d tables created and %d deleted, want 5 and 4", len(created), len(deleted))
	}
	if m.AppliedBytes < 4*50*100 || m.WriteAmplification() <= 0 || m.ReadAmplification != 2 || m.CompactionDebt != 0 {
		t.Fatalf("metrics %+v", m)
	}
}

// The listener stands still while a store does more than may wait for it.
func TestAListenerThatStandsStillCostsEventsAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		let := make(chan struct{})
		h := &heard{}
		o := small(vfs.NewMem())
		o.Events = func(e Event) { <-let; h.add(e) }
		db := mustOpen(t, "db", o)
		for range eventCount {
			apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		dropped := db.Metrics().EventsDropped
		close(let)
		mustClose(t, db)
		if n := len(h.events); dropped == 0 || n < eventCount {
			t.Fatalf("%d events dropped, %d told", dropped, n)
		}
	})
}

func TestTheFailureOfAStoreIsOneEvent(t *testing.T) {
	h := &heard{}
	rules := vfs.NewRules(vfs.Rule{Ops: vfs.OpSync, Nth: 2, Err: syscall.EIO})
	o := small(vfs.NewFault(vfs.NewMem(), rules))
	o.Events = h.add
	db := mustOpen(t, "db", o)
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("v"), 0, 0) })
	if err := db.Flush(); err == nil {
		t.Fatal("a flush whose sync failed succeeded")
	}
	_ = db.Close() // it has failed
	failures := h.of(EventFailure)
	if len(failures) != 1 || failures[0].Err == nil {
		t.Fatalf("events of failure: %v", failures)
	}
	if ends := h.of(EventFlushEnd); len(ends) != 1 || ends[0].Err == nil {
		t.Fatalf("ends of flushes: %v", ends)
	}
}

func TestAStallIsCountedAndTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heard{}
		o := small(vfs.NewMem())
		o.Events = h.add
		db := mustOpen(t, "db", o)
		ready := make(chan struct{})
		done := make(chan error, 1)
		go func() {
			done <- db.awaitDisk(func() bool {
				select {
				case <-ready:
					return true
				default:
					return false
				}
			})
		}()
		synctest.Wait()
		close(ready)
		db.mu.Lock()
		db.notifyLocked()
		db.mu.Unlock()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if db.Metrics().Stalls != 1 {
			t.Fatal("the stall is not counted")
		}
		mustClose(t, db)
		if len(h.of(EventStallBegin)) != 1 || len(h.of(EventStallEnd)) != 1 {
			t.Fatalf("events %v", h.events)
		}
	})
}
