package merge

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/record"
)

// list is a cursor over rows in memory that may fail after some moves.
type list struct {
	rows      []record.Row
	at        int
	direction record.Direction
	moves     int // until err; negative for never
	err       error
}

var errBroken = errors.New("broken")

func (l *list) move(at int) {
	l.at = at
	if l.moves--; l.moves == 0 {
		l.err = errBroken
	}
}

func (l *list) Seek(k *record.Key, d record.Direction) *record.Row {
	l.direction = d
	at := len(l.rows)
	if k != nil {
		at, _ = slices.BinarySearchFunc(l.rows, *k, func(r record.Row, k record.Key) int { return record.Compare(r.Key, k) })
	} else if d == record.Forward {
		at = 0
	}
	if d == record.Backward {
		at--
	}
	l.move(at)
	return l.Row()
}

func (l *list) Step() *record.Row {
	if l.direction == record.Backward {
		l.move(l.at - 1)
	} else {
		l.move(l.at + 1)
	}
	return l.Row()
}

func (l *list) Row() *record.Row {
	if l.err != nil || l.at < 0 || l.at >= len(l.rows) {
		return nil
	}
	return &l.rows[l.at]
}

func (l *list) Err() error { return l.err }

// parts deals rows out to lists.
func parts(random *rand.Rand, n, lists int) (all []record.Row, cursors []record.Cursor) {
	dealt := make([]*list, lists)
	for i := range dealt {
		dealt[i] = &list{moves: -1}
		cursors = append(cursors, dealt[i])
	}
	for i := range n {
		r := record.Row{Key: record.Key{User: fmt.Appendf(nil, "%05d", i), Version: 1, Sequence: uint64(i)}}
		all = append(all, r)
		l := dealt[random.IntN(lists)]
		l.rows = append(l.rows, r)
	}
	return all, cursors
}

func TestMergeIsTheUnionInOrder(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		all, cursors := parts(random, random.IntN(200), 1+random.IntN(9))
		c := New(cursors...)
		i := 0
		for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
			if record.Compare(c.Row().Key, all[i].Key) != 0 {
				t.Fatalf("seed %d: row %d differs", seed, i)
			}
			i++
		}
		for c.Seek(nil, record.Backward); c.Row() != nil; c.Step() {
			i--
			if record.Compare(c.Row().Key, all[i].Key) != 0 {
				t.Fatalf("seed %d: row %d differs backward", seed, i)
			}
		}
		if i != 0 || c.Err() != nil {
			t.Fatalf("seed %d: %d rows left, %v", seed, i, c.Err())
		}
	}
}

// TestErrorEndsTheWalk checks G1: the rows before an error are a prefix, and none follow.
func TestErrorEndsTheWalk(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 2))
		all, cursors := parts(random, 100, 2+random.IntN(5))
		cursors[random.IntN(len(cursors))].(*list).moves = 1 + random.IntN(10)
		c := New(cursors...)
		i := 0
		for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
			if record.Compare(c.Row().Key, all[i].Key) != 0 {
				t.Fatalf("seed %d: row %d is served past a gap", seed, i)
			}
			i++
		}
		if i == len(all) || !errors.Is(c.Err(), errBroken) {
			t.Fatalf("seed %d: %d rows, %v", seed, i, c.Err())
		}
	}
}
