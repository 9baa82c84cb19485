package engine

import (
	"slices"
	"sync"
	"sync/atomic"
)

// Snapshot sees the batches applied before it was made and none after. It costs a few words and
// keeps the rows that it sees from being dropped; it does not keep files or memtables. Safe for
// concurrent use.
type Snapshot struct {
	db      *DB
	applied *applied
	closed  atomic.Bool
}

// Snapshot makes a snapshot, to be closed.
func (db *DB) Snapshot() *Snapshot {
	return &Snapshot{db: db, applied: db.snapshots.open(&db.applied)}
}

// Position is the position of the last batch that the snapshot sees.
func (s *Snapshot) Position() Position { return s.applied.position }

// LastVersion is the highest version that the snapshot sees.
func (s *Snapshot) LastVersion() Version { return s.applied.version }

// Close lets rows that only this snapshot sees be dropped. Iterators made from it go on.
func (s *Snapshot) Close() {
	if s.closed.Swap(true) {
		return
	}
	if s.db.snapshots.close(s.applied.sequence) && s.db.snapshots.awaited.Load() {
		s.db.wakeCompaction()
	}
}

// snapshots are the open ones.
type snapshots struct {
	// awaited says that some table has garbage that an open snapshot keeps.
	awaited atomic.Bool

	mu    sync.Mutex
	opens []openSnapshot // ascending in sequence
}

// openSnapshot counts the snapshots of one sequence.
type openSnapshot struct {
	sequence uint64
	count    int
}

// open registers a snapshot of the present. Loading the present under the lock makes that a
// snapshot which sequences does not list sees everything that was applied before that call.
func (s *snapshots) open(present *atomic.Pointer[applied]) *applied {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := present.Load()
	if n := len(s.opens); n > 0 && s.opens[n-1].sequence == a.sequence {
		s.opens[n-1].count++
	} else {
		s.opens = append(s.opens, openSnapshot{a.sequence, 1})
	}
	return a
}

// close reports whether the oldest sequence is gone.
func (s *snapshots) close(sequence uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.opens, sequence, func(o openSnapshot, q uint64) int {
		return int(min(max(int64(o.sequence-q), -1), 1))
	})
	s.opens[i].count--
	if s.opens[i].count > 0 {
		return false
	}
	s.opens = slices.Delete(s.opens, i, i+1)
	return i == 0
}

// sequences lists the sequences of the open snapshots, ascending.
func (s *snapshots) sequences() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]uint64, len(s.opens))
	for i, o := range s.opens {
		list[i] = o.sequence
	}
	return list
}

// oldest is the least sequence of an open snapshot, or the largest number.
func (s *snapshots) oldest() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.opens) == 0 {
		return ^uint64(0)
	}
	return s.opens[0].sequence
}

// count is the number of open snapshots.
func (s *snapshots) count() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.opens {
		n += o.count
	}
	return n
}
