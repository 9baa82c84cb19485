package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/vfs"
)

// randomRows makes sorted rows: keys with common prefixes, several versions of some, tombstones,
// expiries, empty and large values.
func randomRows(r *rand.Rand, n int) []record.Row {
	var rows []record.Row
	for i := range n {
		user := fmt.Appendf(nil, "user/%03d/%d", r.IntN(n/4+1), r.IntN(3))
		row := record.Row{
			Key:  record.Key{User: user, Version: 1 + r.Uint64N(1<<uint(1+r.IntN(62))), Sequence: uint64(i + 1)},
			Kind: record.Kind(min(r.IntN(5), 1)),
		}
		if row.Kind == record.Put {
			row.Value = bytes.Repeat([]byte{byte(i)}, r.IntN(60))
			if r.IntN(8) == 0 {
				row.Value = bytes.Repeat([]byte{byte(i), byte(r.Uint32())}, r.IntN(1000))
			}
			if r.IntN(40) == 0 {
				row.Value = make([]byte, 5000)
				for j := range row.Value {
					row.Value[j] = byte(r.Uint32())
				}
			}
			row.Expiry = uint64(max(0, r.IntN(1000)-700))
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b record.Row) int { return record.Compare(a.Key, b.Key) })
	return rows
}

func writeTable(t testing.TB, fs vfs.FS, name string, number uint64, rows []record.Row, blockBytes int) Properties {
	t.Helper()
	return writeTableWith(t, fs, name, number, rows, Options{BlockBytes: blockBytes, Compression: S2})
}

func writeTableWith(t testing.TB, fs vfs.FS, name string, number uint64, rows []record.Row, o Options) Properties {
	t.Helper()
	f, err := fs.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w := NewWriter(f, number, o)
	for i := range rows {
		if err := w.Add(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	p, size, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := f.Size(); uint64(n) != size {
		t.Fatalf("Finish says %d bytes, the file has %d", size, n)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return p
}

func openTable(fs vfs.FS, name string, number uint64, c *Cache) (*Reader, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	return Open(f, name, number, c)
}

func sameRow(a, b *record.Row) bool {
	var value []byte
	return a != nil && a.Load(&value) == nil && b != nil && record.Compare(a.Key, b.Key) == 0 && a.Kind == b.Kind &&
		a.Expiry == b.Expiry && bytes.Equal(a.Value, b.Value)
}

// found is Get with the value, wherever it is.
func found(table *Reader, k *record.Key, row *record.Row) (ok bool, err error) {
	ok, err = table.Get(k, keyhash.Of(k.User), row)
	if ok && err == nil && row.Far.Raw > 0 {
		row.Value, _, err = table.Value(&row.Far, nil, row.Far.Raw%2 == 0)
		row.Far = record.Far{}
	}
	return ok, err
}

func TestEveryRowIsFoundInBothDirections(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		rows := randomRows(r, 1+r.IntN(3000))
		fs := vfs.NewMem()
		o := Options{BlockBytes: []int{64, 1024, 8192}[r.IntN(3)], Compression: Compression(r.IntN(4)), ApartBytes: []int{0, 1, 64, 512}[r.IntN(4)]}
		writeTableWith(t, fs, "t", 7, rows, o)
		table, err := openTable(fs, "t", 7, NewCache(r.IntN(2)*1<<20))
		if err != nil {
			t.Fatal(err)
		}
		checkWalks(t, seed, table, rows)
		checkSeeks(t, seed, r, table, rows)
		if err := table.Verify(context.Background()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if err := table.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func checkWalks(t *testing.T, seed uint64, table *Reader, rows []record.Row) {
	t.Helper()
	c := table.NewCursor(true)
	i := 0
	for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
		if !sameRow(c.Row(), &rows[i]) {
			t.Fatalf("seed %d: forward row %d differs: %+v, want %+v", seed, i, *c.Row(), rows[i])
		}
		i++
	}
	if i != len(rows) || c.Err() != nil {
		t.Fatalf("seed %d: forward %d of %d rows, %v", seed, i, len(rows), c.Err())
	}
	for c.Seek(nil, record.Backward); c.Row() != nil; c.Step() {
		i--
		if !sameRow(c.Row(), &rows[i]) {
			t.Fatalf("seed %d: backward row %d differs", seed, i)
		}
	}
	if i != 0 || c.Err() != nil {
		t.Fatalf("seed %d: backward left %d rows, %v", seed, i, c.Err())
	}
}

func checkSeeks(t *testing.T, seed uint64, r *rand.Rand, table *Reader, rows []record.Row) {
	t.Helper()
	c := table.NewCursor(true)
	for range 300 {
		k := rows[r.IntN(len(rows))].Key
		switch r.IntN(4) {
		case 0:
			k = record.FirstOf(k.User)
		case 1:
			k.Sequence = r.Uint64N(uint64(len(rows) + 2))
		case 2:
			k.User = append(slices.Clone(k.User), byte(r.IntN(256)))
		}
		at, _ := slices.BinarySearchFunc(rows, k, func(a record.Row, k record.Key) int { return record.Compare(a.Key, k) })
		c.Seek(&k, record.Forward)
		for j := at; j < min(at+5, len(rows)+1); j++ {
			if j == len(rows) {
				if c.Row() != nil {
					t.Fatalf("seed %d: a row after the last", seed)
				}
				break
			}
			if !sameRow(c.Row(), &rows[j]) {
				t.Fatalf("seed %d: seek forward differs", seed)
			}
			c.Step()
		}
		c.Seek(&k, record.Backward)
		for j := at - 1; j >= max(at-5, -1); j-- {
			if j < 0 {
				if c.Row() != nil {
					t.Fatalf("seed %d: a row before the first", seed)
				}
				break
			}
			if !sameRow(c.Row(), &rows[j]) {
				t.Fatalf("seed %d: seek backward differs", seed)
			}
			c.Step()
		}
		checkGet(t, seed, table, rows, k)
	}
}

func checkGet(t *testing.T, seed uint64, table *Reader, rows []record.Row, k record.Key) {
	t.Helper()
	var want *record.Row
	for i := range rows {
		if bytes.Equal(rows[i].User, k.User) && rows[i].Version <= k.Version && rows[i].Sequence <= k.Sequence {
			want = &rows[i]
			break
		}
	}
	var got record.Row
	ok, err := found(table, &k, &got)
	if err != nil || ok != (want != nil) || ok && !sameRow(&got, want) {
		t.Fatalf("seed %d: Get(%q@%d) differs: %v %v", seed, k.User, k.Version, ok, err)
	}
}

func TestEveryFlippedBitIsDetectedOrHarmless(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	rows := randomRows(r, 60)
	fs := vfs.NewMem()
	writeTableWith(t, fs, "t", 7, rows, Options{BlockBytes: 1024, Compression: S2, ApartBytes: 30})
	good, err := vfs.ReadFile(fs, "t")
	if err != nil {
		t.Fatal(err)
	}
	for offset := range good {
		bad := slices.Clone(good)
		bad[offset] ^= 1 << r.IntN(8)
		f, _ := fs.Create("bad")
		f.Write(bad)
		f.Close()
		if err := readAll(fs, "bad", rows); !errors.Is(err, corrupt.Err) {
			t.Fatalf("flip at %d of %d: %v", offset, len(good), err)
		}
	}
	for length := range len(good) {
		f, _ := fs.Create("bad")
		f.Write(good[:length])
		f.Close()
		if _, err := openTable(fs, "bad", 7, nil); !errors.Is(err, corrupt.Err) {
			t.Fatalf("cut to %d of %d: %v", length, len(good), err)
		}
	}
	if _, err := openTable(fs, "t", 8, nil); !errors.Is(err, corrupt.Err) {
		t.Fatalf("a table under another number: %v", err)
	}
}

// readAll fails with a plain error if a wrong row is served.
func readAll(fs vfs.FS, name string, rows []record.Row) error {
	table, err := openTable(fs, name, 7, nil)
	if err != nil {
		return err
	}
	defer table.Close()
	c := table.NewCursor(true)
	i := 0
	var value []byte
	for c.Seek(nil, record.Forward); c.Row() != nil; c.Step() {
		if err := c.Row().Load(&value); err != nil {
			return err
		}
		if i >= len(rows) || !sameRow(c.Row(), &rows[i]) {
			return errors.New("a wrong row was served")
		}
		i++
	}
	return c.Err()
}
