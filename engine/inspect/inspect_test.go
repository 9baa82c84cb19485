package inspect

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/testkit"
)

// directory is a store with tables and a log, as a process that died leaves it.
type directory struct {
	dir   string
	files map[string][]byte // by name
	rows  map[string]string // that were ever put
}

func newDirectory(t *testing.T) *directory {
	t.Helper()
	d := &directory{dir: filepath.Join(t.TempDir(), "left"), files: map[string][]byte{}, rows: map[string]string{}}
	open := filepath.Join(t.TempDir(), "store")
	db, err := engine.Open(open, engine.Options{Log: engine.LogAlways, LogSegmentBytes: 64 << 10, BlockBytes: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	put := func(from, to int) {
		b := db.NewBatch()
		for i := from; i < to; i++ {
			key, value := fmt.Sprintf("key%04d", i), strings.Repeat(fmt.Sprint(i, " "), 20)
			d.rows[key] = value
			b.Put([]byte(key), []byte(value), 0, uint64(i%3)*1_000_000)
		}
		b.Delete([]byte("key0000"), 0)
		b.DeleteRange([]byte("key2"), []byte("key3"), 0)
		b.SetPosition(engine.Position{Index: uint64(to), Term: 7})
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	put(0, 300)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		put(300+i*10, 310+i*10)
	}
	if err := os.CopyFS(d.dir, os.DirFS(open)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(d.dir + "/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 0 { // LOCK is empty
			d.files[filepath.Base(name)] = b
		}
	}
	return d
}

// field is what an item says under a name; nil for nothing.
func (i *Item) field(name string) any {
	for _, f := range i.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// dump shows a file and counts its pieces by kind. Each row was put.
func (d *directory) dump(t *testing.T, name string) (kinds map[string]int, err error) {
	t.Helper()
	kinds = map[string]int{}
	err = File(filepath.Join(d.dir, name), func(i *Item) error {
		kinds[i.Kind]++
		if i.Kind != "row" || i.field("deleted") == true {
			return nil
		}
		key, value := i.field("key").([]byte), i.field("value").([]byte)
		if d.rows[string(key)] != string(value) {
			t.Errorf("%s: %q has a value that it never had", name, key)
		}
		return nil
	})
	return kinds, err
}

func TestEveryPieceOfAFileIsShown(t *testing.T) {
	d := newDirectory(t)
	tables, logs := 0, 0
	for name := range d.files {
		kinds, err := d.dump(t, name)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		switch {
		case name == "MANIFEST":
			if kinds["manifest"] != 1 || kinds["table"] != 1 {
				t.Errorf("%s: %v", name, kinds)
			}
		case strings.HasSuffix(name, ".table"):
			// key0000 is deleted by the batch that puts it, so nothing is left of it.
			if tables++; kinds["table"] != 1 || kinds["row"] != 299 {
				t.Errorf("%s: %v", name, kinds)
			}
		default:
			if logs++; kinds["segment"] != 1 || kinds["damage"]+kinds["torn"] != 0 || kinds["range"] != kinds["batch"] {
				t.Errorf("%s: %v", name, kinds)
			}
		}
	}
	if tables != 1 || logs == 0 {
		t.Fatalf("%d tables, %d files of the log", tables, logs)
	}
}

func TestTheStateOfADirectoryIsThatOfItsManifest(t *testing.T) {
	d := newDirectory(t)
	s, err := Manifest(d.dir)
	if err != nil || s.Index != 300 || s.Term != 7 || !s.LogUsed || s.TableCount != 1 || s.Families || s.Retained() {
		t.Fatalf("%+v, %v", s, err)
	}
	if s, err := Manifest(t.TempDir()); s != nil || err != nil {
		t.Fatalf("of an empty directory: %+v, %v", s, err)
	}
}

func TestAFileThatIsNoneOfAStoreIsRefused(t *testing.T) {
	d := newDirectory(t)
	for _, name := range []string{"LOCK", "x.table", "99999999999999999999.table", "x.log", "README", "."} {
		if _, err := d.dump(t, name); !errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"000999.table", "000999.log", "none/MANIFEST"} {
		if _, err := d.dump(t, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnErrorOfVisitEndsADump(t *testing.T) {
	d := newDirectory(t)
	enough := errors.New("enough")
	for name := range d.files {
		for stop := 1; stop < 4; stop++ {
			n := 0
			err := File(filepath.Join(d.dir, name), func(*Item) error {
				if n++; n == stop {
					return enough
				}
				return nil
			})
			if n >= stop && !errors.Is(err, enough) || n > stop {
				t.Errorf("%s: %d pieces, %v", name, n, err)
			}
		}
	}
}

// TestADamagedFileIsNamedAndNothingElseIsShown damages files in many ways. A dump ends, shows rows that were put, takes memory in proportion
// to the file, and tells what is damaged.
func TestADamagedFileIsNamedAndNothingElseIsShown(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	random := rand.New(rand.NewPCG(seed, 1))
	d := newDirectory(t)
	told, harmless := 0, 0
	for name, good := range d.files {
		whole, err := d.dump(t, name)
		if err != nil {
			t.Fatal(err)
		}
		for range 60 {
			bad, how := harm(random, good)
			if err := os.WriteFile(filepath.Join(d.dir, name), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			before := allocated()
			kinds, err := d.dump(t, name)
			if took := allocated() - before; took > 64<<20 {
				t.Fatalf("seed %d: %s, %s: %d bytes of memory", seed, name, how, took)
			}
			var c *engine.CorruptionError
			switch {
			case err == nil && kinds["torn"] == 0:
				// A log whose last records are cut, or zeroed, is one that ends before them.
				shorter := strings.HasSuffix(name, ".log") && kinds["batch"] < whole["batch"]
				if harmless++; fmt.Sprint(kinds) != fmt.Sprint(whole) && !shorter {
					t.Fatalf("seed %d: %s, %s: shows %v without a word, want %v", seed, name, how, kinds, whole)
				}
			case err == nil:
				told++
			case !errors.As(err, &c) || c.File != name:
				t.Fatalf("seed %d: %s, %s: %v", seed, name, how, err)
			default:
				told++
			}
		}
		if err := os.WriteFile(filepath.Join(d.dir, name), good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d damaged files: %d told, %d harmless, seed %d", told+harmless, told, harmless, seed)
}

func harm(random *rand.Rand, good []byte) (bad []byte, how string) {
	bad = bytes.Clone(good)
	at := random.IntN(len(bad))
	switch random.IntN(6) {
	case 0:
		return bad[:at], fmt.Sprintf("cut at %d", at)
	case 1:
		clear(bad[at:min(at+512, len(bad))])
		return bad, fmt.Sprintf("zeroed at %d", at)
	case 2:
		for i := range bad {
			bad[i] = byte(random.Uint32())
		}
		return bad, "random bytes"
	case 3:
		for i := at; i < min(at+16, len(bad)); i++ {
			bad[i] = 0xff
		}
		return bad, fmt.Sprintf("lengths of 0xff at %d", at)
	}
	bad[at] ^= 1 << random.IntN(8)
	return bad, fmt.Sprintf("bit flipped at %d", at)
}

// allocated is how many bytes this process has ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// TestAFileWhoseLengthIsDamagedIsNotReadIntoMemory makes files of many gigabytes, with nothing in them.
func TestAFileWhoseLengthIsDamagedIsNotReadIntoMemory(t *testing.T) {
	d := newDirectory(t)
	for name := range d.files {
		if err := os.Truncate(filepath.Join(d.dir, name), 8<<30); err != nil {
			t.Fatal(err)
		}
		before := allocated()
		_, err := d.dump(t, name)
		var c *engine.CorruptionError
		if !errors.As(err, &c) || c.File != name {
			t.Errorf("%s: %v", name, err)
		}
		if took := allocated() - before; took > 64<<20 {
			t.Errorf("%s: %d bytes of memory", name, took)
		}
	}
}
