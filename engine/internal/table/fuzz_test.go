package table

import (
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
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0}, []byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, raw, user []byte, version uint64) {
		parsed, err := parseBlock(raw)
		if err != nil {
			return
		}
		var c blockCursor
		c.enter(parsed)
		forward := 0
		for ok := c.first(); ok; ok = c.step() {
			forward++
		}
		if c.bad {
			return
		}
		backward := 0
		for ok := c.last(); ok; ok = c.stepBack() {
			backward++
		}
		if c.bad || forward != backward {
			t.Fatalf("%d rows forward, %d backward", forward, backward)
		}
		c.seek(record.Key{User: user, Version: version})
		c.seekBefore(record.Key{User: user, Version: version})
	})
}

// FuzzTable reads arbitrary bytes as a table: a CorruptionError or rows, no panic.
func FuzzTable(f *testing.F) {
	for _, rows := range [][]record.Row{goldenRows(), goldenS2Rows()} {
		fs := vfs.NewMem()
		writeTable(f, fs, "t", 7, rows, 1024)
		b, err := vfs.ReadFile(fs, "t")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
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
		for c.Seek(nil, d); c.Row() != nil; c.Step() {
		}
		if err := c.Err(); err != nil && !errors.Is(err, corrupt.Err) {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"apple", "b", "pear", "z"} {
		k := record.Key{User: []byte(user), Version: 250, Sequence: 100}
		c.Seek(&k, record.Forward)
		c.Seek(&k, record.Backward)
		table.Get(k)
	}
}

// FuzzTree reads arbitrary blocks, framed and with right checksums, as a table's tree: whatever
// they say of each other, walks end, in a CorruptionError or with rows.
func FuzzTree(f *testing.F) {
	var data, index, top blockBuilder
	for _, r := range goldenRows() {
		data.add(&r)
	}
	last := goldenRows()[3].Key
	index.add(&record.Row{Key: last, Kind: record.Put, Value: handle{0, uint32(data.size()), uint32(data.size())}.append(nil)})
	at := handle{uint64(data.size() + frameBytes), uint32(index.size()), uint32(index.size())}
	top.add(&record.Row{Key: last, Kind: record.Put, Value: at.append(nil)})
	f.Add(data.finish(), index.finish(), top.finish())
	f.Fuzz(func(t *testing.T, data, index, top []byte) {
		var b []byte
		frame := func(raw []byte) (h handle) {
			b, h = appendFrame(b, raw, uint64(len(b)), 7, false)
			return h
		}
		frame(data)
		frame(index)
		foot := footer{number: 7, top: frame(top), filter: frame(buildFilter(nil))}
		p := Properties{Rows: 1, Keys: 1}
		foot.properties = frame(p.append(nil))
		readTable(t, foot.append(b))
	})
}

// FuzzParts reads arbitrary bytes as what lies inside checksummed blocks and the footer.
func FuzzParts(f *testing.F) {
	p := Properties{Rows: 4, Keys: 3, Smallest: []byte("a"), Largest: []byte("b")}
	f.Add(p.append(nil))
	f.Add(handle{1, 2, 3}.append(nil))
	foot := footer{number: 7}
	f.Add(foot.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, ok := parseProperties(b); ok {
			again, ok := parseProperties(p.append(nil))
			if !ok || string(again.append(nil)) != string(p.append(nil)) {
				t.Fatal("properties do not survive")
			}
		}
		if h, ok := parseHandle(b); ok {
			if again, ok := parseHandle(h.append(nil)); !ok || again != h {
				t.Fatal("a handle does not survive")
			}
		}
		parseFooter(b, "t", 0, 7)
		s := source{name: "t", number: 7}
		if len(b) > 6 {
			s.unpack(b[1:], b[0], handle{stored: uint32(len(b) - 1), raw: uint32(b[1]) | uint32(b[2])<<8})
		}
	})
}
