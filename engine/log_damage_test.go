package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// loggedStore is what the death of the process leaves of a store whose log is synced batch by batch, and what is live in its log.
type loggedStore struct {
	t      *testing.T
	random *rand.Rand
	disk   *vfs.Mem
	model  *model
	names  []string
	bytes  map[string][]byte
	live   []liveBytes // headers and records that an opening reads, in order

	counts map[string]int // outcomes, by what was done
}

// liveBytes are those of a header, or of a record: of a batch, or a seal.
type liveBytes struct {
	name       string
	start, end int
	batch      uint64 // zero for what is no batch
}

func newLoggedStore(t *testing.T, seed uint64) *loggedStore {
	t.Helper()
	s := &loggedStore{t: t, random: rand.New(rand.NewPCG(seed, 21)), model: newModel(), bytes: map[string][]byte{}}
	disk := vfs.NewMem()
	o := withLog(disk, LogAlways)
	db := mustOpen(t, "db", o)
	h := &history{random: rand.New(rand.NewPCG(seed, 22)), keys: 60, millis: 1000}
	for range 60 + s.random.IntN(120) {
		b := h.batch(s.model)
		s.model.apply(b)
		apply(t, db, func(batch *Batch) { b.fill(batch, s.model.index()) })
		if s.random.IntN(40) == 0 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.disk = disk.KillClone()
	mustClose(t, db)
	s.look()
	return s
}

// look finds what is live.
func (s *loggedStore) look() {
	state, err := manifest.Load(s.disk, "db")
	if err != nil {
		s.t.Fatal(err)
	}
	type part struct {
		number uint64
		live   []liveBytes
	}
	var parts []part
	for _, name := range logFiles(s.t, s.disk) {
		b, err := vfs.ReadFile(s.disk, "db/"+name)
		if err != nil {
			s.t.Fatal(err)
		}
		s.names, s.bytes[name] = append(s.names, name), b
		p := part{live: []liveBytes{{name, 0, 52, 0}}}
		segment, err := wal.Scan(s.disk, "db", name, func(_ *wal.Segment, e *wal.Entry) error {
			l := liveBytes{name, int(e.Offset), int(e.Offset + e.Bytes), 0}
			if e.Batch != nil {
				l.batch = e.Batch.Number
			}
			p.live = append(p.live, l)
			return nil
		})
		if errors.Is(err, ErrCorrupt) {
			continue // it waits for its next use
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if p.number = segment.Number; p.number >= state.LogSegment {
			parts = append(parts, p)
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return int(a.number) - int(b.number) })
	for _, p := range parts {
		s.live = append(s.live, p.live...)
	}
}

// hit gives the first live bytes that damage changed, and how many batches are before them; -1 if there are none.
func (s *loggedStore) hit(name string, bad []byte) (at int) {
	good := s.bytes[name]
	for i, l := range s.live {
		if l.name == name && (len(bad) < l.end || !bytes.Equal(good[l.start:l.end], bad[l.start:l.end])) {
			return i
		}
	}
	return -1
}

// before is how many batches stand before a place in live, or are in tables.
func (s *loggedStore) before(at int) uint64 {
	n := s.live[slices.IndexFunc(s.live, func(l liveBytes) bool { return l.batch > 0 })].batch - 1
	for _, l := range s.live[:at] {
		n = max(n, l.batch)
	}
	return n
}

// try opens a copy with other bytes in a file. Whatever it finds is an error that names a file of the log, or all batches up to one. None
// of those that a later record proves durable may be missing, and what is cut is told, but where nothing is left to see.
func (s *loggedStore) try(what, name string, bad []byte) {
	s.t.Helper()
	disk := s.disk.KillClone()
	overwrite(s.t, disk, "db/"+name, bad)
	hit := s.hit(name, bad)
	db, err := Open("db", withLog(disk, LogAlways))
	var c *CorruptionError
	if err != nil {
		if !errors.As(err, &c) || !strings.HasSuffix(c.File, wal.Suffix) || hit < 0 {
			s.t.Fatalf("%s in %s: %v", what, name, err)
		}
		s.counts[what+" detected"]++
		return
	}
	defer mustClose(s.t, db)
	index, all := db.Applied().Index, uint64(s.model.index())
	s.model.prefix(int(index)).checkAll(s.t, what, db, MaxVersion)
	torn := db.Metrics().Log.Torn
	last := slices.IndexFunc(s.live, func(l liveBytes) bool { return l.batch == all })
	switch {
	case hit < 0 && index == all && !torn:
		s.counts[what+" harmless"]++
	case hit < 0 || index < s.before(hit):
		s.t.Fatalf("%s in %s: %d of %d batches, torn: %v, damaged from %d on", what, name, index, all, torn, hit)
	case what == "bit flipped" && (hit != last || !torn): // only the very last record may be torn, and that is told
		s.t.Fatalf("%s in %s: %d of %d batches, torn: %v, record %+v of %+v", what, name, index, all, torn, s.live[hit], s.live[last])
	case torn:
		s.counts[what+" cut"]++
	default: // the log ends as if it had never been longer
		if l := s.live[hit]; s.telling(l, bad) {
			s.t.Fatalf("%s in %s: %d of %d batches and nobody said so, record %+v", what, name, index, all, l)
		}
		s.counts[what+" ends before"]++
	}
}

// telling reports whether what is left of a record's header shows that there was one: its number, or its id and kind but for one byte; of
// one that is cut anything.
func (s *loggedStore) telling(l liveBytes, bad []byte) bool {
	const header = 24
	left := bad[min(l.start, len(bad)):min(l.start+header, len(bad))]
	if len(left) < header {
		return len(bytes.Trim(left, "\x00")) > 0
	}
	good, same := s.bytes[l.name][l.start:l.start+header], 0
	for i := 20; i < header; i++ {
		if good[i] == left[i] {
			same++
		}
	}
	return same >= 3 || bytes.Equal(good[8:16], left[8:16])
}

// TestDamageOfALogIsNamedOrCutWhereATornWriteExplainsIt flips bits, clears sectors, cuts files and swaps blocks in the log that a killed
// process leaves.
func TestDamageOfALogIsNamedOrCutWhereATornWriteExplainsIt(t *testing.T) {
	const sector = 512
	seed := uint64(testkit.Seed(t))
	counts := map[string]int{}
	var s *loggedStore
	for n := range *damageCount {
		if n%100 == 0 {
			s = newLoggedStore(t, seed+uint64(n))
			s.counts = counts
		}
		name, at := s.place()
		good := s.bytes[name]
		bad := bytes.Clone(good)
		bad[at] ^= 1 << s.random.IntN(8)
		s.try("bit flipped", name, bad)
		if n%10 == 0 {
			start := at / sector * sector
			end := min(start+sector, len(good))
			s.try("sector zeroed", name, slices.Concat(good[:start], make([]byte, end-start), good[end:]))
			s.try("cut", name, good[:at])
		}
		if n%50 == 0 {
			other, from := s.place()
			to := at
			from, to = min(from, len(s.bytes[other])-sector), min(to, len(good)-sector)
			if s.random.IntN(2) == 0 {
				from, to = from/sector*sector, to/sector*sector
			}
			s.try("block replaced", name, slices.Concat(good[:to], s.bytes[other][from:from+sector], good[to+sector:]))
		}
	}
	t.Logf("engine: damage of the log: %v, seed %d", fmt.Sprint(counts), seed)
}

// place draws a byte: mostly of a record or a header, often of the last one.
func (s *loggedStore) place() (name string, at int) {
	l := s.live[s.random.IntN(len(s.live))]
	switch s.random.IntN(4) {
	case 0:
		l = s.live[len(s.live)-1]
	case 1:
		name = s.names[s.random.IntN(len(s.names))]
		return name, s.random.IntN(len(s.bytes[name]))
	}
	return l.name, l.start + s.random.IntN(l.end-l.start)
}
