package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestTheTreeFindsWhatABinarySearchFinds has trees of one to four levels, with numbers that are equal.
func TestTheTreeFindsWhatABinarySearchFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(uint64(testkit.Seed(t)), 1))
	for _, n := range []int{0, 1, 15, 16, 17, 255, 256, 257, 4096, 5000} {
		numbers := make([]uint64, n)
		for i := range numbers {
			numbers[i] = r.Uint64N(uint64(n))
			if i%7 == 0 {
				numbers[i] = ^uint64(0) - uint64(i%3)
			}
		}
		slices.Sort(numbers)
		tree := newTree(numbers)
		for _, number := range append(slices.Clone(numbers), 0, 1, ^uint64(0), r.Uint64N(uint64(n+1))) {
			if want, _ := slices.BinarySearch(numbers, number); tree.find(number) != want {
				t.Fatalf("%d of %d numbers are below %d, the tree says %d", want, n, number, tree.find(number))
			}
		}
	}
}

// TestKeysOfManyVersionsAreFoundInAnyBlock has keys whose rows fill many blocks, beside keys of one row, with keys that have
// eight bytes and more in common behind the prefix of all.
func TestKeysOfManyVersionsAreFoundInAnyBlock(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for round := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, round))
		var rows []record.Row
		for n := range 30 {
			user := fmt.Appendf(nil, "%d/common-part-of-keys/%02d", n/10, n)
			versions := 1
			if r.IntN(3) == 0 {
				versions = 1 + r.IntN(200)
			}
			for v := range versions {
				rows = append(rows, record.Row{
					Key:  record.Key{User: user, Version: 1 + uint64(v/3), Sequence: 1 + uint64(v)},
					Kind: record.Put, Value: fmt.Appendf(nil, "value %d", v),
				})
			}
		}
		slices.SortFunc(rows, func(a, b record.Row) int { return record.Compare(a.Key, b.Key) })
		fs := vfs.NewMem()
		writeTable(t, fs, "t", 7, rows, 100)
		table, err := openTable(fs, "t", 7, NewCache(1<<20))
		if err != nil {
			t.Fatal(err)
		}
		checkWalks(t, seed, table, rows)
		checkSeeks(t, seed, r, table, rows)
		for _, row := range rows {
			checkGet(t, seed, table, rows, row.Key)
			checkGet(t, seed, table, rows, record.Key{User: row.User, Version: row.Version, Sequence: row.Sequence - 1})
		}
		if err := table.Verify(t.Context()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		table.Close()
	}
}

// TestAPointReadAllocatesNothing finds its block in the cache.
func TestAPointReadAllocatesNothing(t *testing.T) {
	rows := benchRows(1000)
	fs := vfs.NewMem()
	writeTable(t, fs, "t", 7, rows, 8<<10)
	table, err := openTable(fs, "t", 7, NewCache(4<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	var row record.Row
	get := func(i int) {
		k := record.FirstOf(rows[i].User)
		if ok, err := table.Get(&k, keyhash.Of(k.User), &row); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	for i := range rows {
		get(i)
	}
	i := 0
	if n := testing.AllocsPerRun(500, func() { get(i % len(rows)); i++ }); n > 0 {
		t.Fatalf("%v allocations", n)
	}
}
