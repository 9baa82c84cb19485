package levels

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/rangedel"
	"github.com/lightning-db/lightning/engine/internal/table"
)

// build makes a set of descriptions such as "1:a-c/100", a table at level 1 with keys a to c and
// 100 KiB, and optional parts: g50@7 for 50 % garbage up to version and sequence 7, e50@7 for 50 %
// expiring at 7, rb-d@7 a range tombstone of version and sequence 7. Tables are of version and sequence 1.
func build(t *testing.T, descriptions ...string) *Set {
	t.Helper()
	var placed []Placed
	for i, d := range descriptions {
		head, rest, _ := strings.Cut(d, " ")
		var level, size int
		var from, to string
		if _, err := fmt.Sscanf(strings.NewReplacer(":", " ", "-", " ", "/", " ").Replace(head), "%d %s %s %d", &level, &from, &to, &size); err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		p := &table.Properties{Rows: 100, Smallest: []byte(from), Largest: []byte(to), MinVersion: 1, MaxVersion: 1, MaxSequence: 1}
		var ranges []rangedel.Tombstone
		for part := range strings.FieldsSeq(rest) {
			if part[0] == 'r' {
				ranges = append(ranges, rangeOf(t, part[1:]))
				p.MaxVersion, p.MaxSequence = max(p.MaxVersion, ranges[0].Version), max(p.MaxSequence, ranges[0].Sequence)
				continue
			}
			var share, at uint64
			if _, err := fmt.Sscanf(part[1:], "%d@%d", &share, &at); err != nil {
				t.Fatalf("%s: %v", d, err)
			}
			if part[0] == 'g' {
				p.Garbage, p.GarbageVersion, p.GarbageSequence = share, at, at
			} else {
				p.Expiring, p.MinExpiry, p.MaxExpiry = share, at, at
			}
		}
		placed = append(placed, Placed{level, &Table{Number: uint64(i + 1), Size: uint64(size) << 10, Properties: p, Ranges: rangedel.NewSet(ranges)}})
	}
	return New(placed)
}

func rangeOf(t *testing.T, part string) rangedel.Tombstone {
	t.Helper()
	var start, end string
	var at uint64
	if _, err := fmt.Sscanf(strings.NewReplacer("-", " ", "@", " ").Replace(part), "%s %s %d", &start, &end, &at); err != nil {
		t.Fatalf("%s: %v", part, err)
	}
	return rangedel.Tombstone{Start: []byte(start), End: []byte(end), Version: at, Sequence: at}
}

func describe(p *Pick) string {
	if p == nil {
		return "none"
	}
	s := fmt.Sprintf("%s %d>%d", p.Reason, p.Level, p.Output)
	for _, t := range p.Inputs {
		s += fmt.Sprintf(" %d", t.Number)
	}
	if len(p.Below) > 0 {
		s += " +"
		for _, t := range p.Below {
			s += fmt.Sprintf(" %d", t.Number)
		}
	}
	if p.Move {
		s += " move"
	}
	if p.Drop {
		s += " drop"
	}
	return s
}

func TestPick(t *testing.T) {
	targets := Targets{CompactCount: 4, LevelBytes: 1 << 20, TableBytes: 256 << 10}
	all := Droppable{Version: 100, ExpiryMillis: 100, OldestSnapshot: 100}
	small := make([]string, 8)
	for i := range small {
		small[i] = fmt.Sprintf("2:%c-%c/10", 'a'+i, 'a'+i)
	}
	for _, c := range []struct {
		name   string
		tables []string
		drop   Droppable
		want   string
	}{
		{"empty", nil, all, "none"},
		{"three in level 0", []string{"0:a-z/100", "0:a-z/100", "0:a-z/100"}, all, "none"},
		{"four in level 0, newest first, with what they overlap",
			[]string{"0:b-c/100", "0:d-e/100", "0:b-b/100", "0:c-d/100", "1:a-a/100", "1:b-d/100", "1:e-g/100", "1:h-i/100"},
			all, "count 0>1 4 3 2 1 + 6 7"},
		{"level 1 over its size, the cheapest table",
			[]string{"1:a-c/600", "1:d-f/600", "2:a-b/200", "2:c-e/300", "2:e-g/100"}, all, "size 1>2 2 + 4 5"},
		{"nothing below: moved", []string{"1:a-c/600", "1:d-f/600", "2:a-b/200"}, all, "size 1>2 2 move"},
		{"nothing below, but small: rewritten", []string{"1:a-c/1100", "1:d-f/10", "2:a-b/200"}, all, "size 1>2 2"},
		{"level 2 has ten times the room", []string{"2:a-c/9000"}, all, "none"},
		{"garbage at the bottom stays in its level", []string{"3:a-c/100 g30@7"}, all, "garbage 3>3 1"},
		{"too little garbage", []string{"3:a-c/100 g20@7"}, all, "none"},
		{"garbage goes down to what it hides", []string{"1:a-c/100 g30@7", "3:b-d/100"}, all, "garbage 1>2 1"},
		{"garbage in level 0 takes all of level 0", []string{"0:a-c/100", "0:d-e/100 g100@7", "1:a-z/100"}, all, "garbage 0>1 2 1 + 3"},
		{"the horizon has not passed all of it", []string{"3:a-c/100 g30@7"}, Droppable{Version: 6, OldestSnapshot: 100}, "none"},
		{"a snapshot needs some of it", []string{"3:a-c/100 g30@7"}, Droppable{Version: 100, OldestSnapshot: 6}, "none"},
		{"expired", []string{"3:a-c/100 e40@50"}, all, "garbage 3>3 1"},
		{"not yet expired", []string{"3:a-c/100 e40@101"}, all, "none"},
		{"unordered: memory has a lower version", []string{"3:a-c/100 g30@7"},
			Droppable{Version: 100, OldestSnapshot: 100, Unordered: true, MemoryVersion: 6}, "none"},
		{"unordered: a shallower table has a lower version", []string{"3:a-c/100 g30@7", "1:b-d/100"},
			Droppable{Version: 100, OldestSnapshot: 100, Unordered: true, MemoryVersion: 100}, "none"},
		{"a range tombstone covers a table", []string{"2:b-c/100", "1:a-d/100 ra-d@7"}, all, "covered 2>2 1 drop"},
		{"it ends with the last key of the table", []string{"2:b-c/100", "1:a-d/100 ra-c@7"}, all, "none"},
		{"it begins behind the first key", []string{"2:b-c/100", "1:a-d/100 rba-d@7"}, all, "none"},
		{"two cover it together", []string{"2:b-c/100", "1:a-d/100 ra-bz@7 rbz-d@8"}, all, "none"},
		{"it is older than the table", []string{"2:b-c/100 rb-ba@9", "1:a-d/100 ra-d@7"}, all, "none"},
		{"a snapshot sees the table", []string{"2:b-c/100", "1:a-d/100 ra-d@7"}, Droppable{Version: 100, OldestSnapshot: 6}, "none"},
		{"an older tombstone will do for the snapshot", []string{"2:b-c/100", "1:a-d/100 ra-d@7 ra-d@5"}, Droppable{Version: 100, OldestSnapshot: 6}, "covered 2>2 1 drop"},
		{"versions of the table are read", []string{"2:b-c/100", "1:a-d/100 ra-d@7"}, Droppable{Version: 6, OldestSnapshot: 100}, "none"},
		{"seven small neighbours", small[:7], all, "none"},
		{"eight small neighbours", small, all, "small 2>2 1 2 3 4 5 6 7 8"},
		{"a large one parts them", append([]string{"2:dd-dz/200"}, small...), all, "none"},
	} {
		if got := describe(build(t, c.tables...).Pick(targets, c.drop)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTheOldestTableOfLevelZeroIsMovedWhereNothingLies(t *testing.T) {
	targets := Targets{CompactCount: 3, LevelBytes: 1 << 20, TableBytes: 256 << 10}
	for _, c := range []struct {
		name   string
		tables []string
		want   string
	}{
		{"level 1 is empty", []string{"0:a-z/200", "0:a-z/200", "0:a-z/200"}, "count 0>1 1 move"},
		{"ascending keys", []string{"0:c-d/200", "0:e-f/200", "0:g-h/200", "1:a-b/200"}, "count 0>1 1 move"},
		{"only a newer one fits", []string{"0:b-d/200", "0:e-f/200", "0:g-h/200", "1:a-b/200"}, "count 0>1 3 2 1 + 4"},
		{"a very small one is merged", []string{"0:a-z/30", "0:a-z/200", "0:a-z/200"}, "count 0>1 3 2 1"},
	} {
		if got := describe(build(t, c.tables...).Pick(targets, Droppable{})); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestGarbageThatLevelZeroWillRewriteWaitsWhileRowsAreWritten(t *testing.T) {
	all := Droppable{Version: 100, ExpiryMillis: 100, OldestSnapshot: 100}
	for _, c := range []struct {
		name          string
		tables        []string
		rest, writing string
	}{
		{"in level 0", []string{"0:a-z/200 g90@7", "1:a-c/200"}, "garbage 0>1 1 + 2", "none"},
		{"in level 1, below level 0", []string{"0:a-c/200", "1:b-d/200 g90@7"}, "garbage 1>1 2", "none"},
		{"in level 1, beside level 0", []string{"0:a-c/200", "1:d-e/200 g90@7"}, "garbage 1>1 2", "garbage 1>1 2"},
		{"deeper", []string{"0:a-c/200", "2:b-d/200 g90@7"}, "garbage 2>2 2", "garbage 2>2 2"},
	} {
		targets := Targets{CompactCount: 3, LevelBytes: 1 << 20, TableBytes: 256 << 10}
		if got := describe(build(t, c.tables...).Pick(targets, all)); got != c.rest {
			t.Errorf("%s, at rest: %s, want %s", c.name, got, c.rest)
		}
		targets.Writing = true
		if got := describe(build(t, c.tables...).Pick(targets, all)); got != c.writing {
			t.Errorf("%s, while rows are written: %s, want %s", c.name, got, c.writing)
		}
	}
}

func TestPickAllGoesToTheDeepestLevelInUse(t *testing.T) {
	if got := describe(build(t, "0:a-z/1", "1:a-b/1", "3:a-b/1").PickAll()); got != "manual 0>3 1 2 3" {
		t.Error(got)
	}
	if got := describe(build(t, "0:a-z/1").PickAll()); got != "manual 0>1 1" {
		t.Error(got)
	}
	if build(t).PickAll() != nil {
		t.Error("an empty set has something to compact")
	}
}

func TestTablesAreReleasedOnceAfterTheirLastSet(t *testing.T) {
	released := map[uint64]int{}
	s := build(t, "0:a-z/1", "1:a-b/1")
	a, b := s.Levels[0][0], s.Levels[1][0]
	for _, table := range []*Table{a, b} {
		table.Released = func(t *Table) { released[t.Number]++ }
	}
	next := s.With([]*Table{a}, nil)
	moved := next.With([]*Table{b}, []Placed{{2, b}})
	s.Ref()
	s.Unref()
	next.Unref()
	if len(released) != 0 || moved.Levels[2][0] != b || moved.TableCount() != 1 {
		t.Fatalf("released %v, moved %v", released, moved.Levels)
	}
	s.Unref()
	if released[a.Number] != 1 || released[b.Number] != 0 {
		t.Fatalf("released %v", released)
	}
	moved.Unref()
	if released[b.Number] != 1 {
		t.Fatalf("released %v", released)
	}
}

// TestPicksBesideThoseThatRun begins with what a set asks for, then asks again while that runs, until nothing more can.
func TestPicksBesideThoseThatRun(t *testing.T) {
	all := Droppable{Version: 100, ExpiryMillis: 100, OldestSnapshot: 100}
	level0 := []string{"0:a-z/100", "0:a-z/100", "0:a-z/100", "0:a-z/100"}
	for _, c := range []struct {
		name   string
		count  int
		tables []string
		want   string
	}{
		{"one at a time", 1, append([]string{"3:a-c/100 g30@7"}, level0...), "count 0>1 2 move"},
		{"level 0, and garbage far below it", 2, append([]string{"3:a-c/100 g30@7"}, level0...), "count 0>1 2 move; garbage 3>3 1"},
		{"not what level 0 goes into", 2, append([]string{"1:a-c/100 g30@7"}, level0...), "count 0>1 5 4 3 2 + 1"},
		{"beside its keys", 2, []string{"0:a-c/100", "0:a-c/100", "0:a-c/100", "0:a-c/100", "1:a-d/100", "1:e-f/100 g30@7"},
			"count 0>1 4 3 2 1 + 5; garbage 1>1 6"},
		{"one is kept for level 0", 2, []string{"1:a-c/600", "1:d-f/600", "1:g-h/600"}, "size 1>2 1 move"},
		{"two that do not overlap", 3, []string{"1:a-c/600", "1:d-f/600", "1:g-h/1100", "2:a-f/100"}, "size 1>2 3 move; size 1>2 1 + 4"},
		{"what runs makes room", 3, []string{"1:a-c/600", "1:d-f/600"}, "size 1>2 1 move"},
		{"both into one table below wait for each other", 3, []string{"1:a-c/1200", "1:d-f/1200", "2:b-e/100"}, "size 1>2 1 + 3"},
		{"a level and the next one", 3, []string{"1:a-b/1200", "2:m-n/11000"}, "size 1>2 1 move; size 2>3 2 move"},
		{"not in the same keys", 3, []string{"1:a-b/1200", "2:a-c/200", "2:b1-n/11000"}, "size 1>2 1 + 2"},
	} {
		s := build(t, c.tables...)
		targets := Targets{CompactCount: 4, LevelBytes: 1 << 20, TableBytes: 256 << 10, MaxCount: c.count}
		var running []*Pick
		var got []string
		for len(running) < c.count {
			p := s.Pick(targets, all, running...)
			if p == nil {
				break
			}
			running, got = append(running, p), append(got, describe(p))
		}
		if text := strings.Join(got, "; "); text != c.want {
			t.Errorf("%s: %s, want %s", c.name, text, c.want)
		}
	}
}

func TestNothingBeginsBesideACompactionOfEverything(t *testing.T) {
	all := Droppable{Version: 100, ExpiryMillis: 100, OldestSnapshot: 100}
	s := build(t, "0:a-b/100", "0:a-b/100", "1:c-d/5000", "3:e-f/100 g90@7")
	if p := s.Pick(Targets{CompactCount: 2, LevelBytes: 1 << 20, TableBytes: 256 << 10, MaxCount: 3}, all, s.PickAll()); p != nil {
		t.Error(describe(p))
	}
}

// TestWhatManyRangeTombstonesCoverIsNotCountedForEach has ten thousand of them over a hundred tables.
func TestWhatManyRangeTombstonesCoverIsNotCountedForEach(t *testing.T) {
	descriptions := []string{"0:a-zzz/10"}
	for i := range 100 {
		descriptions = append(descriptions, fmt.Sprintf("3:k%03d-k%03dz/10", i, i))
	}
	s := build(t, descriptions...)
	var ranges []rangedel.Tombstone
	for i := range 10_000 {
		ranges = append(ranges, rangedel.Tombstone{Start: []byte("a"), End: fmt.Appendf(nil, "l%05d", i), Version: uint64(i + 2), Sequence: uint64(i + 2)})
	}
	s.Levels[0][0].Ranges, s.hasRanges = rangedel.NewSet(ranges), true
	if n := len(s.ranged().covered); n != 100 {
		t.Fatalf("%d covered tables, want 100", n)
	}
}
