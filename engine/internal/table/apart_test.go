package table

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/keyhash"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// goldenApartRows have values that stand apart but for the second one.
func goldenApartRows() []record.Row {
	return []record.Row{
		{Key: record.Key{User: []byte("k1"), Version: 2, Sequence: 3}, Kind: record.Put, Value: []byte("0123456789abcdef")},
		{Key: record.Key{User: []byte("k2"), Version: 2, Sequence: 4}, Kind: record.Put, Value: []byte("near")},
		{Key: record.Key{User: []byte("k3"), Version: 2, Sequence: 5}, Kind: record.Put, Value: []byte("fedcba9876543210+")},
	}
}

func apartTable(t testing.TB) []byte {
	fs := vfs.NewMem()
	writeTableWith(t, fs, "t", 7, goldenApartRows(), Options{BlockBytes: 1024, ApartBytes: 16})
	b, err := vfs.ReadFile(fs, "t")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestValuesStandApartAsInTheDocument(t *testing.T) {
	got := apartTable(t)
	want := testkit.Golden(t, "table-apart.hex")
	if !bytes.Equal(got, want) {
		t.Errorf("written as\n%x\nwant\n%x", got, want)
	}
	fs := vfs.NewMem()
	f, _ := fs.Create("t")
	f.Write(want)
	f.Close()
	table, err := openTable(fs, "t", 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	checkWalks(t, 0, table, goldenApartRows())
	if err := table.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// kibRows have values of 1 KiB of which half is random.
func kibRows(n int) (rows []record.Row) {
	noise := random(n * 512)
	for i := range n {
		value := append(slices.Clone(noise[512*i:512*(i+1)]), bytes.Repeat([]byte{'v'}, 512)...)
		rows = append(rows, benchRow(fmt.Appendf(nil, "user%012d", i), value, i))
	}
	return rows
}

// A walk over keys needs the blocks of keys, one point read the frame of one value, and a walk over values reads many of them at once.
func TestOnlyValuesThatAreAskedForAreRead(t *testing.T) {
	const count = 2000
	rows := kibRows(count)
	fs := vfs.NewMem()
	writeTableWith(t, fs, "t", 7, rows, Options{BlockBytes: 8 << 10, Compression: S2, ApartBytes: 512})
	f, err := fs.Open("t")
	if err != nil {
		t.Fatal(err)
	}
	file := &countedFile{File: f}
	table, err := Open(file, "t", 7, NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	read := func(what string, calls, bytes int, do func(c *Cursor)) {
		t.Helper()
		c := table.NewCursor(true)
		file.reads, file.bytes = 0, 0
		do(c)
		t.Logf("%s: %d calls, %d bytes of %d", what, file.reads, file.bytes, table.Size())
		if c.Err() != nil || file.reads > calls || file.bytes > bytes {
			t.Errorf("%s: %d calls read %d bytes, at most %d and %d are needed: %v", what, file.reads, file.bytes, calls, bytes, c.Err())
		}
	}
	walk := func(c *Cursor, values bool) {
		n := 0
		var value []byte
		for r := c.Seek(nil, record.Forward); r != nil; r = c.Step() {
			if values && (r.Load(&value) != nil || !bytes.Equal(r.Value, rows[n].Value)) {
				t.Fatalf("row %d differs", n)
			}
			n++
		}
		if n != count {
			t.Fatalf("%d rows", n)
		}
	}
	read("keys", 12, 60_000, func(c *Cursor) { walk(c, false) })
	read("values", 20, int(table.Size())+60_000, func(c *Cursor) { walk(c, true) })
	read("one value", 1, 700, func(*Cursor) {
		k := record.FirstOf(rows[777].User)
		var row record.Row
		if ok, err := table.Get(&k, keyhash.Of(k.User), &row); !ok || err != nil {
			t.Fatal(ok, err)
		}
		value, shared, err := table.Value(&row.Far, nil, false)
		if err != nil || shared || !bytes.Equal(value, rows[777].Value) {
			t.Fatal(err, shared)
		}
	})
}

// Documents that are alike are compressed together if they are small; half random values, large ones and those of tables without
// compression are alone.
func TestValuesStandApartWhereThatCostsLittleRoom(t *testing.T) {
	orders := documents()
	large := slices.Clone(orders[:100])
	for i := range large {
		large[i].Value = bytes.Repeat(large[i].Value, 40)
	}
	for name, c := range map[string]struct {
		rows  []record.Row
		mode  Compression
		apart bool
	}{
		"documents": {orders[:2000], S2, false}, "documents, dense": {orders[:2000], Dense, false}, "documents, plain": {orders[:400], None, true},
		"half random": {kibRows(400), S2, true}, "half random, dense": {kibRows(400), Dense, true}, "large documents": {large, S2, true},
	} {
		choice := newApartChoice(Options{BlockBytes: 8 << 10, Compression: c.mode, ApartBytes: 100})
		apart := 0
		for i := range c.rows {
			if choice.apart(c.rows[i].Value) {
				apart++
			}
		}
		if c.apart != (apart == len(c.rows)) || !c.apart && apart > len(c.rows)/10 {
			t.Errorf("%s: %d of %d values stand apart", name, apart, len(c.rows))
		}
	}
}

// B5. Neither a block nor the index may say of values what cannot be.
func TestMalformedPlacesOfValuesAreRefused(t *testing.T) {
	row := goldenApartRows()[0]
	build := func(starts, lengths []uint64, kind record.Kind, value string) []byte {
		var b blockBuilder
		for i := range lengths {
			r := record.Row{Key: record.Key{User: fmt.Appendf(nil, "k%d", i), Version: 1, Sequence: 1}, Kind: kind, Value: []byte(value)}
			b.add(&r)
		}
		// The columns are laid as layAparts does, whatever they say.
		w := &b.columns
		w.body, w.header = w.body[:0], append(w.header[:0], byte(b.keys.prefix))
		b.keys.lay(w)
		for _, n := range []*numbers{&b.versions, &b.sequences, &b.kinds, &b.expiries} {
			w.gathered(n)
		}
		w.add(b.starts)
		w.add(starts)
		w.add(lengths)
		w.body = append(w.body, b.keys.bytes[:b.keys.prefix]...)
		w.body = append(append(w.body, b.keys.own...), b.values...)
		return w.finish(b.rows())
	}
	if _, err := parseBlock(build([]uint64{0, 20, 20}, []uint64{15, 0}, row.Kind, "")); err != nil {
		t.Fatal("a good one is refused")
	}
	for name, raw := range map[string][]byte{
		"begins late":            build([]uint64{1, 20, 20}, []uint64{15, 0}, record.Put, ""),
		"goes back":              build([]uint64{0, 20, 10}, []uint64{15, 15}, record.Put, ""),
		"a length without bytes": build([]uint64{0, 20, 20}, []uint64{15, 3}, record.Put, ""),
		"bytes without a length": build([]uint64{0, 20, 40}, []uint64{15, 0}, record.Put, ""),
		"only a frame":           build([]uint64{0, 5, 5}, []uint64{1, 0}, record.Put, ""),
		"too long":               build([]uint64{0, 20, 20}, []uint64{maxBlockBytes + 1, 0}, record.Put, ""),
		"too far":                build([]uint64{0, 1 << 40, 1 << 40}, []uint64{15, 0}, record.Put, ""),
		"a value here, too":      build([]uint64{0, 20, 20}, []uint64{15, 0}, record.Put, "v"),
		"of a tombstone":         build([]uint64{0, 20, 20}, []uint64{15, 0}, record.Delete, ""),
	} {
		if _, err := parseBlock(raw); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	var x indexBuilder
	x.add(handle{20, 10, 10}, 20)
	if _, err := parseIndex(x.finish(), 35); err != nil {
		t.Fatal("a good index is refused")
	}
	for _, far := range []uint64{31, 1 << 40, 1<<64 - 1} {
		var x indexBuilder
		x.add(handle{20, 10, 10}, far)
		if _, err := parseIndex(x.finish(), 35); err == nil {
			t.Errorf("%d bytes of values before a block of 10 in 35 are taken", far)
		}
	}
}

// B5. An index that says less or more of the values of a block than the block does is damage, though all checksums are right.
func TestABlockAndTheIndexAgreeOnValues(t *testing.T) {
	var data blockBuilder
	r := goldenApartRows()[0]
	var b []byte
	frame := func(raw []byte) (h handle) {
		b, h = appendFrame(b, raw, uint64(len(b)), 7, &compressor{})
		return h
	}
	value := frame(r.Value)
	data.addApart(&r, value.end()+1)
	h := frame(data.finish())
	var index indexBuilder
	index.add(h, value.end())
	foot := footer{number: 7, index: frame(index.finish()), filter: frame(buildFilter([]uint64{keyhash.Of(r.User)}))}
	p := Properties{Rows: 1, Keys: 1, Smallest: r.User, Largest: r.User}
	foot.properties = frame(p.append(nil))
	fs := vfs.NewMem()
	f, _ := fs.Create("t")
	f.Write(foot.append(b))
	f.Close()
	table, err := openTable(fs, "t", 7, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	c := table.NewCursor(false)
	if c.Seek(nil, record.Forward) != nil || !errors.Is(c.Err(), corrupt.Err) {
		t.Fatalf("a row, or %v", c.Err())
	}
	if _, err := found(table, &r.Key, new(record.Row)); !errors.Is(err, corrupt.Err) {
		t.Fatal(err)
	}
}
