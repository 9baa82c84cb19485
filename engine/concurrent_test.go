package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/internal/vfs"
)

// TestReadersSeeWholeBatchesWhileEverythingMoves has readers check, during writes, flushes,
// compactions and checkpoints, that every snapshot sees whole batches: each batch writes its
// number to the same twenty keys, and to a key of its own.
func TestReadersSeeWholeBatchesWhileEverythingMoves(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	const batches, shared = 1500, 20
	done := make(chan struct{})
	var readers sync.WaitGroup
	for reader := range 3 {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(reader), 1))
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := checkSnapshot(db, random, shared); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	readers.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if err := checkCheckpoint(db, fs, fmt.Sprintf("copy%d", i), shared); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range batches {
		apply(t, db, func(b *Batch) {
			value := binary.BigEndian.AppendUint64(nil, uint64(i+1))
			for k := range shared {
				b.Put(fmt.Appendf(nil, "shared%02d", k), value, 0, 0)
			}
			b.Put(fmt.Appendf(nil, "own%06d", i), bytes.Repeat(value, 30), 0, 0)
			b.SetPosition(Position{Index: uint64(i + 1)})
		})
	}
	close(done)
	readers.Wait()
	mustClose(t, db)
}

// checkSnapshot compares what one snapshot sees with its position.
func checkSnapshot(db *DB, random *rand.Rand, shared int) error {
	s := db.Snapshot()
	defer s.Close()
	n := s.Position().Index
	if n == 0 {
		return nil
	}
	row, ok, err := s.Get(fmt.Appendf(nil, "shared%02d", random.IntN(shared)), MaxVersion)
	if err != nil || !ok || binary.BigEndian.Uint64(row.Value) != n {
		return fmt.Errorf("snapshot at %d: get %v %v %v", n, row.Value, ok, err)
	}
	if _, ok, err := s.Get(fmt.Appendf(nil, "own%06d", n), MaxVersion); ok || err != nil {
		return fmt.Errorf("snapshot at %d sees the next batch: %v", n, err)
	}
	it := s.NewIterator(IteratorOptions{})
	count := uint64(0)
	move, on := it.First, it.Next
	if random.IntN(2) == 0 {
		move, on = it.Last, it.Prev
	}
	for ok := move(); ok; ok = on() {
		if r := it.Row(); r.Key[0] == 's' && binary.BigEndian.Uint64(r.Value) != n {
			return fmt.Errorf("snapshot at %d: iterator sees %v", n, r.Value)
		}
		count++
	}
	if err := it.Close(); err != nil || count != n+uint64(shared) {
		return fmt.Errorf("snapshot at %d: %d rows, %v", n, count, err)
	}
	return nil
}

func checkCheckpoint(db *DB, fs vfs.FS, dir string, shared int) error {
	before := db.Applied().Index
	p, err := db.Checkpoint(dir)
	if err != nil {
		return err
	}
	copied, err := Open(dir, small(fs))
	if err != nil {
		return err
	}
	defer fs.RemoveAll(dir)
	defer copied.Close()
	if p.Index < before || copied.Applied() != p {
		return fmt.Errorf("checkpoint says %v and holds %v, applied was %d", p, copied.Applied(), before)
	}
	return checkSnapshot(copied, rand.New(rand.NewPCG(1, 1)), shared)
}
