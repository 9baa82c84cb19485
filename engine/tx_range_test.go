package engine

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestADeletedRangeConflictsWithWhatOthersDoInIt has one transaction delete a range and another one do something else, in both orders.
func TestADeletedRangeConflictsWithWhatOthersDoInIt(t *testing.T) {
	deletes := func(tx *Tx) error { return tx.DeleteRange([]byte("b"), []byte("d")) }
	for name, c := range map[string]struct {
		do                     func(*Tx) error
		snapshot, serializable bool // there is a conflict when the other one commits last
		asFirst                bool // there is one when it commits first
	}{
		"put inside":      {func(tx *Tx) error { return tx.Put([]byte("c"), nil, 0) }, true, true, true},
		"put at the end":  {func(tx *Tx) error { return tx.Put([]byte("d"), nil, 0) }, false, false, false},
		"delete inside":   {func(tx *Tx) error { return tx.Delete([]byte("b")) }, true, true, true},
		"overlapping":     {func(tx *Tx) error { return tx.DeleteRange([]byte("a"), []byte("c")) }, true, true, true},
		"touching":        {func(tx *Tx) error { return tx.DeleteRange([]byte("d"), []byte("e")) }, false, false, false},
		"read for update": {func(tx *Tx) error { return readAndPut(tx, "c", true) }, true, true, false},
		"read":            {func(tx *Tx) error { return readAndPut(tx, "c", false) }, false, true, false},
		"walk":            {func(tx *Tx) error { return walkAndPut(tx) }, false, true, false},
	} {
		for _, isolation := range []Isolation{SnapshotIsolation, Serializable} {
			for _, flush := range []bool{false, true} {
				for _, first := range []bool{false, true} {
					want := c.asFirst
					if !first {
						want = c.snapshot && isolation == SnapshotIsolation || c.serializable && isolation == Serializable
					}
					err := inTurn(t, TxOptions{Isolation: isolation}, flush, first, deletes, c.do)
					if errors.Is(err, ErrConflict) != want || err != nil && !errors.Is(err, ErrConflict) {
						t.Errorf("%s, isolation %d, flush %v, other first %v: %v, want a conflict: %v", name, isolation, flush, first, err, want)
					}
				}
			}
		}
	}
}

func readAndPut(tx *Tx, key string, forUpdate bool) (err error) {
	if forUpdate {
		_, _, err = tx.GetForUpdate([]byte(key))
	} else {
		_, _, err = tx.Get([]byte(key))
	}
	return errors.Join(err, tx.Put([]byte("z"), nil, 0))
}

func walkAndPut(tx *Tx) error {
	it := tx.NewIterator(IteratorOptions{Start: []byte("a"), End: []byte("c")})
	for ok := it.First(); ok; ok = it.Next() {
	}
	return errors.Join(it.Close(), tx.Put([]byte("z"), nil, 0))
}

// inTurn begins two transactions at once and commits one after the other; the error is that of the later commit.
func inTurn(t *testing.T, o TxOptions, flush, swap bool, first, second func(*Tx) error) error {
	t.Helper()
	db := mustOpen(t, "db", small(vfs.NewMem()))
	defer mustClose(t, db)
	putOne(t, db, "bb", "v", 0)
	if swap {
		first, second = second, first
	}
	a, b := mustBegin(t, db, o), mustBegin(t, db, o)
	if err := errors.Join(first(a), second(b), a.Commit()); err != nil {
		t.Fatal(err)
	}
	if flush {
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	return b.Commit()
}

// TestATransactionSeesItsOwnDeletedRanges compares random transactions with a map.
func TestATransactionSeesItsOwnDeletedRanges(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for sub := range uint64(60) {
		random := rand.New(rand.NewPCG(seed+sub, 21))
		db := mustOpen(t, "db", small(vfs.NewMem()))
		state := map[string]string{}
		for range 12 {
			tx, next := mustBegin(t, db, TxOptions{Isolation: Isolation(random.IntN(2))}), maps.Clone(state)
			for range 1 + random.IntN(25) {
				txStep(t, fmt.Sprintf("seed %d", seed+sub), random, tx, next)
			}
			if random.IntN(4) == 0 {
				tx.Rollback()
				continue
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			state = next
			if random.IntN(4) == 0 {
				if err := db.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
		mustClose(t, db)
	}
}

func txStep(t *testing.T, what string, random *rand.Rand, tx *Tx, want map[string]string) {
	t.Helper()
	key := func() string { return string(rune('a' + random.IntN(20))) }
	k := key()
	var err error
	switch n := random.IntN(10); {
	case n < 3:
		want[k] = fmt.Sprint(random.IntN(1000))
		err = tx.Put([]byte(k), []byte(want[k]), 0)
	case n == 3:
		delete(want, k)
		err = tx.Delete([]byte(k))
	case n < 6:
		end := string(k[0] + byte(1+random.IntN(6)))
		maps.DeleteFunc(want, func(key, _ string) bool { return key >= k && key < end })
		err = tx.DeleteRange([]byte(k), []byte(end))
	case n < 8:
		row, ok, getErr := tx.Get([]byte(k))
		if value, there := want[k]; ok != there || string(row.Value) != value {
			t.Fatalf("%s: %s is %q, %v, want %q", what, k, row.Value, ok, value)
		}
		err = getErr
	default:
		err = txWalk(t, what, random, tx, want)
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// txWalk goes to and fro.
func txWalk(t *testing.T, what string, random *rand.Rand, tx *Tx, want map[string]string) error {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	it := tx.NewIterator(IteratorOptions{})
	at := 0
	ok := it.First()
	for range 40 {
		if inside := at >= 0 && at < len(keys); ok != inside || ok && string(it.Row().Key) != keys[at] {
			t.Fatalf("%s: at %d of %q: %v %q", what, at, keys, ok, it.Row().Key)
		}
		if !ok {
			break
		}
		if random.IntN(3) == 0 {
			ok, at = it.Prev(), at-1
		} else {
			ok, at = it.Next(), at+1
		}
	}
	return it.Close()
}
