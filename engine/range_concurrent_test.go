package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestABatchThatDeletesARangeAndFillsItIsSeenWhole has batches that delete all keys and put other ones with the batch's number, while
// readers, over the row cache, snapshots and iterators both ways, flushes and compactions go on. Every reader sees the keys of
// one batch and nothing of those before it; what one goroutine reads by key never goes back. E2, E10.
func TestABatchThatDeletesARangeAndFillsItIsSeenWhole(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for _, mode := range []LogMode{LogOff, LogAlways, LogInterval, LogNever} {
		o := small(vfs.NewMem())
		o.Log, o.CompactionCount = mode, 3
		db := mustOpen(t, "db", o)
		fillGeneration(t, db, 1)
		done := make(chan struct{})
		var readers sync.WaitGroup
		for reader := range uint64(3) {
			readers.Go(func() {
				g := &generations{db: db, random: rand.New(rand.NewPCG(seed, reader))}
				for {
					select {
					case <-done:
						return
					default:
					}
					if err := g.read(); err != nil {
						t.Errorf("seed %d, log %d: %v", seed, mode, err)
						return
					}
				}
			})
		}
		random := rand.New(rand.NewPCG(seed, 9))
		for n := uint64(2); n < 400/slower && !t.Failed(); n++ {
			fillGeneration(t, db, n)
			switch random.IntN(12) {
			case 0:
				settled(t, db)
			case 1, 2:
				if err := db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		close(done)
		readers.Wait()
		if err := db.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		mustClose(t, db)
	}
}

const (
	generationKeys = 60
	allKeys        = 100 // of which a generation has some
)

// inGeneration tells which keys a batch puts.
func inGeneration(key int, n uint64) bool { return (uint64(key)*7+n*13)%allKeys < generationKeys }

func generationKey(i int) []byte { return fmt.Appendf(nil, "k%03d", i) }

func fillGeneration(t *testing.T, db *DB, n uint64) {
	t.Helper()
	apply(t, db, func(b *Batch) {
		if n%3 == 0 { // in two ranges that overlap
			b.DeleteRange([]byte("k"), []byte("k060"), 0)
			b.DeleteRange([]byte("k040"), []byte("l"), 0)
		} else {
			b.DeleteRange([]byte("k"), []byte("l"), 0)
		}
		for i := range allKeys {
			if inGeneration(i, n) {
				b.Put(generationKey(i), binary.BigEndian.AppendUint64(nil, n), 0, 0)
			}
		}
		b.SetPosition(Position{Index: n})
	})
}

// generations is one reader.
type generations struct {
	db     *DB
	random *rand.Rand
	least  uint64 // what it has seen of the present
}

func (g *generations) read() error {
	for range 30 { // so often that rows are in the cache
		i := g.random.IntN(8)
		row, ok, err := g.db.Get(generationKey(i), MaxVersion)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		n := binary.BigEndian.Uint64(row.Value)
		if n < g.least || !inGeneration(i, n) {
			return fmt.Errorf("key %d has a value of batch %d after one of batch %d", i, n, g.least)
		}
		g.least = n
	}
	s := g.db.Snapshot()
	defer s.Close()
	n := s.Position().Index
	if n < g.least {
		return fmt.Errorf("a snapshot is of batch %d after a read of batch %d", n, g.least)
	}
	for range 10 {
		i := g.random.IntN(allKeys)
		row, ok, err := s.Get(generationKey(i), MaxVersion)
		if err != nil || ok != inGeneration(i, n) || ok && binary.BigEndian.Uint64(row.Value) != n {
			return fmt.Errorf("the snapshot of batch %d: key %d: %v %v %w", n, i, ok, row.Value, err)
		}
	}
	return g.walk(s, n)
}

func (g *generations) walk(s *Snapshot, n uint64) error {
	it := s.NewIterator(IteratorOptions{})
	first, next, i, step := it.First, it.Next, 0, 1
	if g.random.IntN(2) == 0 {
		first, next, i, step = it.Last, it.Prev, allKeys-1, -1
	}
	for ok := first(); ok; ok = next() {
		for ; i >= 0 && i < allKeys && !inGeneration(i, n); i += step {
		}
		if r := it.Row(); i < 0 || i >= allKeys || string(r.Key) != string(generationKey(i)) || binary.BigEndian.Uint64(r.Value) != n {
			return fmt.Errorf("the snapshot of batch %d: a walk is at %q with %v, want key %d", n, r.Key, r.Value, i)
		}
		i += step
	}
	for ; i >= 0 && i < allKeys && !inGeneration(i, n); i += step {
	}
	if err := it.Close(); err != nil || i >= 0 && i < allKeys {
		return fmt.Errorf("the snapshot of batch %d: a walk ends before key %d, %w", n, i, err)
	}
	return nil
}
