package table

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/vfs"
)

// FuzzBlock reads arbitrary bytes as a block whose checksum was right: no panic, walks that end,
// the same rows both ways.
func FuzzBlock(f *testing.F) {
	var b blockBuilder
	for _, r := range goldenRows() {
		b.add(&r)
	}
	f.Add(append([]byte(nil), b.finish()...), []byte("apple"), uint64(200))
	b.reset()
	for i, r := range goldenApartRows() {
		b.addApart(&r, uint64(100*(i+1)))
	}
	f.Add(append([]byte(nil), b.finish()...), []byte("k"), uint64(1))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, []byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, raw, user []byte, version uint64) {
		b, err := parseBlock(raw)
		if err != nil {
			return
		}
		var row record.Row
		for i := range b.count {
			b.fill(i, &row)
			b.whole(nil, b.data, i)
			if b.far.any {
				if h := b.far.at(b, i, 0); h.raw > 0 && h.end() > b.far.bytes(b) {
					t.Fatalf("the value of row %d ends at %d of %d", i, h.end(), b.far.bytes(b))
				}
			}
		}
		k := record.Key{User: user, Version: version}
		if i, equal := b.seek(&k); i < 0 || i > b.count || equal && i == b.count {
			t.Fatalf("row %d of %d", i, b.count)
		}
		b.find(b.data, user, true)
	})
}

// FuzzTable reads arbitrary bytes as a table: a CorruptionError or rows, no panic.
func FuzzTable(f *testing.F) {
	for _, rows := range [][]record.Row{goldenRows(), goldenPackedRows(), goldenManyRows()} {
		fs := vfs.NewMem()
		writeTable(f, fs, "t", 7, rows, 1024)
		b, err := vfs.ReadFile(fs, "t")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(apartTable(f))
	f.Fuzz(func(t *testing.T, b []byte) { readTable(t, b) })
}

// readTable walks and seeks in a table of any bytes.
func readTable(t *testing.T, b []byte) {
	fs := vfs.NewMem()
	file, _ := fs.Create("t")
	file.Write(b)
	file.Close()
	table, err := openTable(fs, "t", 7, nil)
	if err != nil {
		if !errors.Is(err, corrupt.Err) {
			t.Fatal(err)
		}
		return
	}
	defer table.Close()
	c := table.NewCursor(false)
	for _, d := range []record.Direction{record.Forward, record.Backward} {
		var value []byte
		for c.Seek(nil, d); c.Row() != nil; c.Step() {
			if err := c.Row().Load(&value); err != nil && !errors.Is(err, corrupt.Err) {
				t.Fatal(err)
			}
		}
		if err := c.Err(); err != nil && !errors.Is(err, corrupt.Err) {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"apple", "b", "pear", "z"} {
		k := record.Key{User: []byte(user), Version: 250, Sequence: 100}
		c.Seek(&k, record.Forward)
		c.Seek(&k, record.Backward)
		if _, err := found(table, &k, new(record.Row)); err != nil && !errors.Is(err, corrupt.Err) {
			t.Fatal(err)
		}
	}
}

// FuzzTree reads arbitrary blocks, framed and with right checksums, as a table's tree: whatever
// they say of each other, walks end, in a CorruptionError or with rows.
func FuzzTree(f *testing.F) {
	var data blockBuilder
	rows := goldenRows()
	for _, r := range rows {
		data.add(&r)
	}
	first := append([]byte(nil), data.finish()...)
	var index indexBuilder
	index.add(handle{0, uint32(len(first)), uint32(len(first))}, 0)
	index.separate(&rows[1].Key, &rows[2].Key)
	index.add(handle{uint64(len(first) + frameBytes), uint32(len(first)), uint32(len(first))}, 0)
	f.Add(first, first, index.finish())
	f.Fuzz(func(t *testing.T, first, second, index []byte) {
		var b []byte
		frame := func(raw []byte) (h handle) {
			b, h = appendFrame(b, raw, uint64(len(b)), 7, &compressor{})
			return h
		}
		frame(first)
		frame(second)
		foot := footer{number: 7, index: frame(index), filter: frame(buildFilter(nil))}
		p := Properties{Rows: 1, Keys: 1}
		foot.properties = frame(p.append(nil))
		readTable(t, foot.append(b))
	})
}

// FuzzParts reads arbitrary bytes as what lies inside checksummed blocks and the footer.
func FuzzParts(f *testing.F) {
	p := Properties{Rows: 4, Keys: 3, Smallest: []byte("a"), Largest: []byte("b")}
	f.Add(p.append(nil))
	var x indexBuilder
	x.add(handle{0, 2, 3}, 0)
	f.Add(x.finish())
	foot := footer{number: 7}
	f.Add(foot.append(nil))
	f.Add(appendRanges(nil, goldenRanges()))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parseProperties(b); ok {
			again, ok := parseProperties(p.append(nil))
			if !ok || string(again.append(nil)) != string(p.append(nil)) {
				t.Fatal("properties do not survive")
			}
		}
		if x, err := parseIndex(b, 1<<20); err == nil {
			for i := range x.count {
				x.handle(i)
			}
			if n := x.find(&record.Key{User: b, Version: 1}); n < 0 || n >= x.count {
				t.Fatalf("block %d of %d", n, x.count)
			}
		}
		if list, ok := parseRanges(b); ok {
			if again, ok := parseRanges(appendRanges(nil, list)); !ok || len(again) != len(list) {
				t.Fatal("range tombstones do not survive")
			}
		}
		parseFooter(b, "t", 0, 7)
		s := source{name: "t", number: 7}
		for _, kind := range []byte{typePlain, typeS2, typeZstd, typeSealed} {
			raw := max(announced(b, kind), 0)
			if raw > 1<<20 {
				continue
			}
			body := append(append([]byte(nil), b...), kind)
			framed := binary.LittleEndian.AppendUint32(body, frameSum(body, 0, 7))
			if got, err := s.open(nil, framed, handle{stored: uint32(len(b)), raw: uint32(raw)}); err == nil && len(got) != raw {
				t.Fatal("a block of another length")
			}
		}
	})
}
