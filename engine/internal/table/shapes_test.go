package table

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// shapes is a table whose keys are prefixes and neighbours of each other, with the lowest and the highest bytes, and whose versions and
// expiries are at the ends of their ranges at times.
type shapes struct {
	t      *testing.T
	seed   uint64
	random *rand.Rand
	rows   []record.Row
	table  *Reader
}

func (s *shapes) key() []byte {
	k := make([]byte, 1+s.random.IntN(6))
	if s.random.IntN(10) == 0 {
		k = append(k, make([]byte, s.random.IntN(20))...)
	}
	for i := range k {
		k[i] = []byte{0, 0xff, 'a'}[s.random.IntN(3)]
	}
	return k
}

func (s *shapes) draw() {
	rows := 1 + s.random.IntN(400)
	perKey := s.random.IntN(4)
	var key []byte
	for i := range rows {
		if key == nil || s.random.IntN(1+perKey*perKey*10) == 0 {
			key = s.key()
		}
		row := record.Row{Key: record.Key{User: key, Version: 1 + s.random.Uint64N(1+uint64(perKey)*3), Sequence: uint64(i + 1)}}
		switch s.random.IntN(20) {
		case 0:
			row.Version = record.MaxVersion
		case 1:
			row.Version = 0
		case 2:
			row.Version = s.random.Uint64()
		}
		if s.random.IntN(2) == 0 {
			row.Kind, row.Value = record.Put, bytes.Repeat([]byte{byte(i)}, s.random.IntN(12))
			if s.random.IntN(3) == 0 {
				row.Expiry = s.random.Uint64() >> s.random.IntN(64)
			}
		}
		s.rows = append(s.rows, row)
	}
	slices.SortFunc(s.rows, func(a, b record.Row) int { return record.Compare(a.Key, b.Key) })
}

// place is somewhere in the table, or between two rows of it.
func (s *shapes) place() record.Key {
	k := record.Key{User: s.key(), Version: s.random.Uint64N(12), Sequence: s.random.Uint64N(uint64(len(s.rows)) + 2)}
	if s.random.IntN(2) == 0 {
		k = s.rows[s.random.IntN(len(s.rows))].Key
	}
	switch s.random.IntN(4) {
	case 0:
		return record.FirstOf(k.User)
	case 1:
		return record.Key{User: k.User}
	case 2:
		k.Sequence += s.random.Uint64N(3)
	}
	return k
}

// walk seeks and goes on, one way or the other.
func (s *shapes) walk(c *Cursor) {
	direction, step := record.Forward, 1
	if s.random.IntN(2) == 0 {
		direction, step = record.Backward, -1
	}
	var from *record.Key
	at := 0
	switch k := s.place(); {
	case s.random.IntN(8) > 0:
		from = &k
		at = sort.Search(len(s.rows), func(i int) bool { return record.Compare(s.rows[i].Key, k) >= 0 })
		if direction == record.Backward {
			at--
		}
	case direction == record.Backward:
		at = len(s.rows) - 1
	}
	got := c.Seek(from, direction)
	for n := s.random.IntN(80); ; n-- {
		inside := at >= 0 && at < len(s.rows)
		if c.Err() != nil || !inside && got != nil || inside && !sameRow(got, &s.rows[at]) {
			s.t.Fatalf("seed %d: row %d of %d is %v, %v", s.seed, at, len(s.rows), got, c.Err())
		}
		if got == nil || n == 0 {
			return
		}
		got = c.Step()
		at += step
	}
}

// get looks for the newest row of a key at a place.
func (s *shapes) get() {
	at := s.place()
	want := slices.IndexFunc(s.rows, func(r record.Row) bool {
		return bytes.Equal(r.User, at.User) && r.Version <= at.Version && r.Sequence <= at.Sequence
	})
	var row record.Row
	ok, err := found(s.table, &at, &row)
	if err != nil || ok != (want >= 0) || ok && (row.Version != s.rows[want].Version || row.Sequence != s.rows[want].Sequence ||
		row.Kind != s.rows[want].Kind || row.Expiry != s.rows[want].Expiry || !bytes.Equal(row.Value, s.rows[want].Value)) {
		s.t.Fatalf("seed %d: Get(%v) gives %v, %v, %v; want row %d", s.seed, at, row, ok, err, want)
	}
}

// TestRowsOfEveryShapeAreFoundWhereTheyAre compares cursors both ways, and Get, with a list.
func TestRowsOfEveryShapeAreFoundWhereTheyAre(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for n := range uint64(60) {
		s := &shapes{t: t, seed: seed + n, random: rand.New(rand.NewPCG(seed+n, 7))}
		s.draw()
		fs := vfs.NewMem()
		writeTableWith(t, fs, "t", 1, s.rows, Options{
			BlockBytes: 1 + s.random.IntN(200), Compression: Compression(s.random.IntN(4)), ApartBytes: s.random.IntN(3) * 4})
		var err error
		if s.table, err = openTable(fs, "t", 1, NewCache(s.random.IntN(3)*20000)); err != nil {
			t.Fatalf("seed %d: %v", s.seed, err)
		}
		if err := s.table.Verify(t.Context()); err != nil {
			t.Fatalf("seed %d: %v", s.seed, err)
		}
		c := s.table.NewCursor(s.random.IntN(2) == 0)
		for range 60 {
			s.walk(c)
			s.get()
		}
		if err := s.table.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
