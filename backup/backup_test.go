package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/backup/record"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
	"github.com/lightning-db/lightning/router"
)

// model is a cluster of a few shards whose rows are known.
type model struct {
	ends []uint32 // of the shards, in order
	rows map[string]record.Record
	fail func(slot api.Slot, block int) error
}

func newModel(r *rand.Rand, keys int) *model {
	m := &model{ends: []uint32{5000, 5001, api.SlotCount}, rows: make(map[string]record.Record)}
	for i := range keys {
		key := fmt.Sprintf("key-%d", i)
		row := record.Record{Kind: record.Row, Key: []byte(key), Value: make([]byte, r.IntN(3000))}
		for n := range row.Value {
			row.Value[n] = byte(r.IntN(1 + i%256))
		}
		if i%3 == 0 {
			row.ExpiryMillis = r.Uint64()
		}
		row.ValueBytes = uint64(len(row.Value))
		m.rows[key] = row
	}
	long := record.Record{Kind: record.Long, Key: []byte("long"), Value: bytes.Repeat([]byte("0123456789abcdef"), 150_000)}
	long.ValueBytes = uint64(len(long.Value))
	m.rows["long"] = long
	return m
}

// stream is a Source.
func (m *model) stream(_ context.Context, slot api.Slot, to Sink) (rows, size uint64, err error) {
	arc, id := router.Arc{}, api.ShardID(0)
	for i, end := range m.ends {
		if uint32(slot) < end {
			arc.End, id = end, api.ShardID(i+1)
			break
		}
		arc.Start = end
	}
	if err := to.Begin(Cut{Shard: id, Arc: arc, Epoch: 1, Index: 77, TimeMillis: 88}); err != nil {
		return 0, 0, err
	}
	var block []byte
	blocks := 0
	add := func(r record.Record) {
		if block = r.Append(block); len(block) >= 16<<10 && err == nil {
			if m.fail != nil {
				err = m.fail(slot, blocks)
			}
			if err == nil {
				err = to.Block(block)
			}
			block, blocks = nil, blocks+1
		}
	}
	for _, key := range slices.Sorted(maps.Keys(m.rows)) {
		row := m.rows[key]
		if !arc.Contains(router.Slot(0, row.Key)) {
			continue
		}
		rows, size = rows+1, size+uint64(len(row.Key)+len(row.Value))
		if row.Kind == record.Row {
			add(row)
			continue
		}
		value := row.Value
		row.Value = nil
		add(row)
		for piece := range slices.Chunk(value, record.MaxPieceBytes) {
			add(record.Record{Kind: record.Piece, Value: piece})
		}
	}
	if len(block) > 0 && err == nil {
		err = to.Block(block)
	}
	return rows, size, err
}

var options = Options{ID: ID{1, 2, 3}, Cluster: "a cluster", Version: "1.2.3", TimeMillis: 1000, Revision: 9}

func written(t *testing.T, m *model) *vfs.Mem {
	t.Helper()
	fsys := vfs.NewMem()
	if _, err := Write(t.Context(), fsys, "b", m.stream, options); err != nil {
		t.Fatal(err)
	}
	return fsys
}

// restored reads all rows of a backup that verifies.
func restored(t *testing.T, fsys vfs.FS) map[string]record.Record {
	t.Helper()
	b, err := Verify(t.Context(), fsys, "b", nil)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]record.Record)
	for i := range b.Shards {
		key := ""
		err := b.Rows(&b.Shards[i], func(block []byte) error {
			return record.Each(block, func(r *record.Record) error {
				if r.Kind == record.Piece {
					row := found[key]
					row.Value = append(row.Value, r.Value...)
					found[key] = row
					return nil
				}
				key = string(r.Key)
				row := *r
				row.Key, row.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
				found[key] = row
				return nil
			})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func same(t *testing.T, got, want map[string]record.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for key, w := range want {
		g := got[key]
		if g.Kind != w.Kind || g.ExpiryMillis != w.ExpiryMillis || g.ValueBytes != w.ValueBytes || !bytes.Equal(g.Value, w.Value) {
			t.Fatalf("%s came back other than it was", key)
		}
	}
}

func TestWhatIsBackedUpComesBack(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for round := range uint64(5) {
		m := newModel(rand.New(rand.NewPCG(seed, round)), int(round)*300)
		same(t, restored(t, written(t, m)), m.rows)
	}
}

func TestAShardWhoseStreamBreaksBeginsAgain(t *testing.T) {
	m := newModel(rand.New(rand.NewPCG(1, 2)), 500)
	broken := 0
	m.fail = func(slot api.Slot, block int) error {
		if slot == 0 && block == 3 && broken == 0 {
			broken++
			return api.Errorf(api.CodeUnavailable, "the leader is gone")
		}
		return nil
	}
	same(t, restored(t, written(t, m)), m.rows)
	if broken != 1 {
		t.Error("nothing broke")
	}
}

// The disk goes at any moment: what is there afterwards is no backup, or the whole one.
func TestABackupThatIsThereAfterACrashIsWhole(t *testing.T) { // BK1
	seed := uint64(testkit.Seed(t))
	r := rand.New(rand.NewPCG(seed, 0))
	m := newModel(r, 200)
	fsys := vfs.NewMem()
	var disks []*vfs.Mem
	crash := func() {
		for _, keep := range []vfs.Keep{vfs.KeepNone, vfs.KeepRandom, vfs.KeepRandom} {
			disks = append(disks, fsys.CrashClone(vfs.CrashOptions{KeepUnsynced: keep, Rand: r}))
		}
	}
	fsys.OnCall(func(vfs.Op, string) { crash() })
	if _, err := Write(t.Context(), fsys, "b", m.stream, options); err != nil {
		t.Fatal(err)
	}
	fsys.OnCall(nil)
	crashes := len(disks)
	crash()
	whole := 0
	for i, disk := range disks {
		_, err := Verify(t.Context(), disk, "b", nil)
		var damaged *DamagedError
		switch {
		case err == nil:
			whole++
			same(t, restored(t, disk), m.rows)
		case i >= crashes:
			t.Errorf("a backup that was written is gone after a crash: %v", err)
		case !errors.As(err, &damaged):
			t.Errorf("crash %d: %v", i, err)
		case damaged.Damages[0].File != ManifestName:
			t.Errorf("crash %d left a manifest, and not what it names: %v", i, err)
		}
	}
	t.Logf("of %d crashes %d left a backup, all of it", len(disks), whole)
}

func TestABackupThatBreaksOffIsNone(t *testing.T) { // BK1
	m := newModel(rand.New(rand.NewPCG(1, 2)), 500)
	m.fail = func(slot api.Slot, _ int) error {
		if slot > 0 {
			return api.Errorf(api.CodeInvalid, "never")
		}
		return nil
	}
	fsys := vfs.NewMem()
	if _, err := Write(t.Context(), fsys, "b", m.stream, options); !errors.Is(err, api.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	var damaged *DamagedError
	if _, err := Verify(t.Context(), fsys, "b", nil); !errors.As(err, &damaged) || damaged.Damages[0].File != ManifestName {
		t.Fatalf("got %v", err)
	}
	if _, err := Write(t.Context(), fsys, "b", m.stream, options); !errors.Is(err, api.ErrInvalid) {
		t.Errorf("a directory that is not empty was taken: %v", err)
	}
}

func TestARowOutsideItsSlotsIsRefused(t *testing.T) { // BK3
	row := record.Record{Kind: record.Row, Key: []byte("k")}
	slot := uint32(router.Slot(0, row.Key))
	source := func(_ context.Context, _ api.Slot, to Sink) (uint64, uint64, error) {
		if err := to.Begin(Cut{Shard: 1, Arc: router.Arc{End: slot}}); err != nil {
			return 0, 0, err
		}
		return 1, 1, to.Block(row.Append(nil))
	}
	if _, err := Write(t.Context(), vfs.NewMem(), "b", source, options); !errors.Is(err, record.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

// contents are the files of a directory.
func contents(t *testing.T, fsys vfs.FS) map[string][]byte {
	t.Helper()
	names, err := fsys.List("b")
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, name := range names {
		if files[name], err = vfs.ReadFile(fsys, "b/"+name); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func put(t *testing.T, files map[string][]byte) vfs.FS {
	t.Helper()
	fsys := vfs.NewMem()
	if err := fsys.MkdirAll("b"); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		f, err := fsys.Create("b/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(content); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return fsys
}

// anotherBackup has a manifest which is good by itself: then it is the other files that are wrong.
const anotherBackup = "file of another backup"

// damage changes files and returns the name of one that is wrong now, and where it may be told at the latest.
func damage(r *rand.Rand, files map[string][]byte, other map[string][]byte) (name string, latest int, what string) {
	names := slices.Sorted(maps.Keys(files))
	name = names[r.IntN(len(names))]
	content := bytes.Clone(files[name])
	at := r.IntN(len(content))
	latest = at
	switch r.IntN(8) {
	case 0:
		what = "bit flip"
		content[at] ^= 1 << r.IntN(8)
	case 1:
		what = "truncation"
		content = content[:at]
	case 2:
		what, latest = "longer", len(content)
		content = append(content, byte(r.IntN(256)))
	case 3:
		what, latest = "lost", 0
		delete(files, name)
		return name, latest, what
	case 4:
		what, latest = "extra file", 0
		name = fmt.Sprintf("extra-%d", r.IntN(10))
		content = []byte("x")
	case 5:
		second := names[(slices.Index(names, name)+1)%len(names)]
		what, latest = "swapped", 0
		files[name], files[second] = files[second], files[name]
		return name, latest, what
	case 6:
		end := min(len(content), at+1+r.IntN(4096))
		what = "zeroes"
		before := bytes.Clone(content)
		clear(content[at:end])
		if bytes.Equal(before, content) {
			content[at] ^= 0x80
		}
	case 7:
		what, latest = anotherBackup, len(content)
		content = other[name]
	}
	files[name] = content
	return name, latest, what
}

func TestADamagedBackupIsRefusedWithFileAndOffset(t *testing.T) { // BK2
	seed := uint64(testkit.Seed(t))
	m := newModel(rand.New(rand.NewPCG(seed, 0)), 300)
	good := contents(t, written(t, m))
	second := vfs.NewMem()
	o := options
	o.ID, o.TimeMillis = ID{9}, 2000
	if _, err := Write(t.Context(), second, "b", m.stream, o); err != nil {
		t.Fatal(err)
	}
	other := contents(t, second)
	kinds := make(map[string]int)
	for round := range uint64(240) {
		r := rand.New(rand.NewPCG(seed, round+1))
		files := maps.Clone(good)
		name, latest, what := damage(r, files, other)
		_, err := Verify(t.Context(), put(t, files), "b", nil)
		var damaged *DamagedError
		if !errors.As(err, &damaged) || len(damaged.Damages) == 0 {
			t.Fatalf("round %d: %s of %s: got %v", round, what, name, err)
		}
		kinds[what]++
		// A manifest that is wrong hides what else is.
		i := slices.IndexFunc(damaged.Damages, func(d *Damage) bool { return d.File == name || d.File == ManifestName || what == anotherBackup })
		if i < 0 || damaged.Damages[i].Offset > int64(latest) && damaged.Damages[i].File == name {
			t.Errorf("round %d: %s of %s at %d was told as %v", round, what, name, latest, err)
		}
		if !strings.Contains(err.Error(), " at offset ") {
			t.Errorf("round %d: %v", round, err)
		}
	}
	t.Logf("refused: %v", kinds)
}

func TestEachDamagedFileIsNamed(t *testing.T) {
	files := contents(t, written(t, newModel(rand.New(rand.NewPCG(1, 2)), 300)))
	damagedFiles := 0
	for name, content := range files {
		if name != ManifestName {
			content[len(content)-1] ^= 1
			damagedFiles++
		}
	}
	var damaged *DamagedError
	if _, err := Verify(t.Context(), put(t, files), "b", nil); !errors.As(err, &damaged) || len(damaged.Damages) != damagedFiles {
		t.Errorf("%d files are damaged: %v", damagedFiles, err)
	}
}
