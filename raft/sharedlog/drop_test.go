package sharedlog

import (
	"bytes"
	"errors"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// TestAReplicaDroppedWhileItIsCarriedIsCountedOnce (LG6): its record of creation is listed to be carried
// when it is dropped. Were it counted as gone twice, the segment would be given free while another
// replica still needs what it has there.
func TestAReplicaDroppedWhileItIsCarriedIsCountedOnce(t *testing.T) {
	disk := vfs.NewMem()
	o := smallOptions(disk, 1)
	o.SegmentBytes, o.MaxBytes = 4<<20, 32<<20
	l := mustOpen(t, o)
	defer l.Close()
	// All of these are live in the first segment: more than one batch carries, and few enough to be carried.
	const idle = 220
	for id := range uint64(idle) {
		v := mustView(t, l, key{id + 1, 1})
		if err := errors.Join(v.Set([]byte("key"), make([]byte, 2000)), v.Close()); err != nil {
			t.Fatal(err)
		}
	}
	busy := mustView(t, l, key{1000, 1})
	next := uint64(1)
	write := func() {
		if err := busy.DeleteRange(1, next-1); err != nil {
			t.Fatal(err)
		}
		store(t, busy, 1, next, next, 1<<20)
		next++
	}
	for len(l.segments.list) < carryFrom {
		write()
	}
	if err := l.Drop(idle, 1); err != nil { // the first batch that carries something
		t.Fatal(err)
	}
	write()
	live := make(map[uint32]int)
	count := func(at location) { live[at.segment]++ }
	for _, g := range l.mu.groups {
		count(g.created)
		for _, at := range g.locations {
			count(at)
		}
		for _, v := range g.stable {
			count(v.at)
		}
	}
	for _, d := range l.mu.dropped {
		count(d.at)
	}
	for _, s := range l.segments.list {
		if s.live != live[s.sequence] {
			t.Errorf("%d records of segment %d are counted as live, %d are", s.live, s.sequence, live[s.sequence])
		}
	}
}

// TestADamagedReplicaStaysRefused (LG4): its damaged vote is in a segment of which nothing else is needed,
// and which is used again. After that nothing on the disk tells of the damage; the replica would run with
// the vote before that one, and could vote twice.
func TestADamagedReplicaStaysRefused(t *testing.T) {
	disk := vfs.NewMem()
	o := smallOptions(disk, 1)
	l := mustOpen(t, o)
	v := mustView(t, l, key{1, 1})
	if err := errors.Join(v.Set([]byte("key"), []byte("the old value")), v.Set([]byte("key"), []byte("the new value"))); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all := files(t, disk)
	const name = "000001.segment"
	all[name][bytes.Index(all[name], []byte("the new value"))] ^= 1
	o.FS = diskWith(t, all)
	for round := range 3 {
		l = mustOpen(t, o)
		var damage *DamageError
		if _, err := l.View(1, 1); !errors.As(err, &damage) {
			t.Fatalf("the damaged replica in round %d: %v", round, err)
		}
		busy := mustView(t, l, key{2, 1})
		last, _ := busy.LastIndex()
		for i := range uint64(100) {
			store(t, busy, 1, last+i+1, last+i+1, 1000)
			if err := busy.DeleteRange(1, last+i); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Dropping it gives its records free.
	l = mustOpen(t, o)
	defer l.Close()
	if err := l.Drop(1, 1); err != nil {
		t.Fatal(err)
	}
	busy := mustView(t, l, key{2, 1})
	last, _ := busy.LastIndex()
	for i := range uint64(100) {
		store(t, busy, 1, last+i+1, last+i+1, 1000)
		if err := busy.DeleteRange(1, last+i); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(l.segments.list); n > 5 {
		t.Errorf("%d segments are in use", n)
	}
}
