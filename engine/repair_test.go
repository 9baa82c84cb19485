package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// tree gives the bytes of every file of a store, those in its directories, too.
func tree(t testing.TB, disk vfs.FS, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	names, err := disk.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if b, err := vfs.ReadFile(disk, dir+"/"+name); err == nil {
			files[name] = string(b)
			continue
		}
		for below, content := range tree(t, disk, dir+"/"+name) {
			files[name+"/"+below] = content
		}
	}
	return files
}

// checkRepaired opens a store that was repaired and compares it with what was in it: whatever is missing or old must have been told.
func checkRepaired(t *testing.T, what string, disk *vfs.Mem, m *model, report *RepairReport) (missing, old int) {
	t.Helper()
	db, err := Open("db", small(disk))
	if err != nil {
		t.Fatalf("%s: %v\n%+v", what, err, report)
	}
	defer mustClose(t, db)
	if err := db.Verify(t.Context()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	exposed := map[string]bool{}
	for _, key := range report.Exposed {
		exposed[string(key)] = true
	}
	if report.ExposedCount != uint64(len(exposed)) {
		t.Fatalf("%s: %d keys exposed, %d listed", what, report.ExposedCount, len(exposed))
	}
	for _, key := range m.keys {
		row, ok, err := db.Get([]byte(key), MaxVersion)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		want, wanted := m.get([]byte(key), MaxVersion, m.applied.sequence)
		ok = ok && !m.expired(row)
		switch {
		case ok && wanted && equalRow(row, want) || !ok && !wanted:
		case !ok:
			missing++
			if !report.AnyKey && report.TornFile == "" && !lostRange(report, key) {
				t.Fatalf("%s: %q is gone, and nobody said so: %+v", what, key, report)
			}
		default:
			old++
			if !report.AnyKey && report.TornFile == "" && !exposed[key] {
				t.Fatalf("%s: %q shows version %d, and nobody said so: %+v", what, key, row.Version, report)
			}
			if !slices.ContainsFunc(m.rows[key], func(r record.Row) bool { return r.Version == uint64(row.Version) && bytes.Equal(r.Value, row.Value) }) {
				t.Fatalf("%s: %q has a value that it never had", what, key)
			}
		}
	}
	apply(t, db, func(b *Batch) { b.Put([]byte("k/after"), []byte("repair"), 0, 0) })
	if err := db.Compact(t.Context()); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	expectValue(t, db, "k/after", "repair")
	return missing, old
}

// lostRange reports whether a key lies where rows are told to be lost.
func lostRange(report *RepairReport, key string) bool {
	return slices.ContainsFunc(report.Damage, func(d RepairDamage) bool {
		return d.Hole && key >= string(d.Start) && key <= string(d.End)
	})
}

// checkOriginals wants every file that was there to be there still, in its place or in lost (SV1).
func checkOriginals(t *testing.T, what string, before, after map[string]string) {
	t.Helper()
	var kept []string
	for name, content := range after {
		if strings.HasPrefix(name, "lost/") {
			kept = append(kept, content)
		}
	}
	for name, content := range before {
		if name != "LOCK" && after[name] != content && !slices.Contains(kept, content) {
			t.Fatalf("%s: %s is not as it was and not in lost", what, name)
		}
	}
}

// repaired runs Repair and checks all that must hold whatever was damaged.
func repaired(t *testing.T, what string, disk *vfs.Mem, m *model) *RepairReport {
	t.Helper()
	before := tree(t, disk, "db")
	report, err := Repair(t.Context(), "db", small(disk))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	after := tree(t, disk, "db")
	checkOriginals(t, what, before, after)
	again, err := Repair(t.Context(), "db", small(disk))
	if err != nil || again.Changed || len(again.Damage) > 0 || !maps.Equal(after, tree(t, disk, "db")) {
		t.Fatalf("%s: a second repair: %+v, %v", what, again, err)
	}
	checkRepaired(t, what, disk.CrashClone(vfs.CrashOptions{}), m, report)
	return report
}

func TestRepairOfAWholeStoreChangesNothing(t *testing.T) {
	s := newStore(t, 1)
	before := tree(t, s.disk, "db")
	report := repaired(t, "whole", s.disk, s.model)
	if report.Changed || report.ExposedCount != 0 || !maps.Equal(before, tree(t, s.disk, "db")) {
		t.Fatalf("%+v", report)
	}
}

// TestRepairKeepsWhatVerifiesAndTellsTheRest damages files in every way of TestDamageIsNamedAndNeverServed.
func TestRepairKeepsWhatVerifiesAndTellsTheRest(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	var s *store
	total, missing, old := 0, 0, 0
	for n := range *damageCount / 10 {
		if n%20 == 0 {
			s = newStoreOf(t, seed+uint64(n), 2+n%3*3)
		}
		name := s.pick()
		bad, how := s.harm(name)
		disk := s.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
		if bad == nil {
			if err := disk.Remove("db/" + name); err != nil {
				t.Fatal(err)
			}
		} else {
			overwrite(t, disk, "db/"+name, bad)
		}
		what := fmt.Sprintf("seed %d, round %d: %s %s", seed, n, name, how)
		report := repaired(t, what, disk, s.model)
		if !report.Changed && !bytes.Equal(bad, s.bytes[name]) {
			t.Fatalf("%s: not noticed", what)
		}
		gone, back := checkRepaired(t, what, disk, s.model, report)
		total, missing, old = total+len(s.model.keys), missing+gone, old+back
	}
	t.Logf("engine: repair of %d damaged stores: of %d keys %d are lost and %d show an older value, all told", *damageCount/10, total, missing, old)
}

// harm gives what a file is after some damage; nil for none at all.
func (s *store) harm(name string) (bad []byte, how string) {
	bad = bytes.Clone(s.bytes[name])
	at := s.random.IntN(len(bad))
	switch s.random.IntN(8) {
	case 0:
		return bad[:at], fmt.Sprintf("cut at %d", at)
	case 1:
		return nil, "missing"
	case 2:
		clear(bad[at/512*512 : min(at/512*512+512, len(bad))])
		return bad, fmt.Sprintf("sector zeroed at %d", at)
	case 3:
		for range 3 {
			bad[s.random.IntN(len(bad))] ^= 1 << s.random.IntN(8)
		}
		return bad, "three bits flipped"
	}
	bad[at] ^= 1 << s.random.IntN(8)
	return bad, fmt.Sprintf("bit flipped at %d", at)
}

// TestACrashDuringARepairLeavesADirectoryThatIsRepaired takes what a crash leaves at each call that changes something.
func TestACrashDuringARepairLeavesADirectoryThatIsRepaired(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	random := rand.New(rand.NewPCG(seed, 9))
	for round := range 48 {
		what := []string{"table", "MANIFEST", "both"}[round%3]
		s := newStore(t, seed+uint64(round))
		disk := s.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
		if what != "MANIFEST" {
			name := s.files["table"][random.IntN(len(s.files["table"]))]
			bad := bytes.Clone(s.bytes[name])
			bad[len(bad)/3] ^= 4
			overwrite(t, disk, "db/"+name, bad)
		}
		if what != "table" {
			overwrite(t, disk, "db/MANIFEST", []byte("nonsense"))
		}
		if err := disk.SyncDir("db"); err != nil {
			t.Fatal(err)
		}
		before := tree(t, disk, "db")
		var crashes []*vfs.Mem
		disk.OnCall(func(vfs.Op, string) {
			crashes = append(crashes, disk.CrashClone(vfs.CrashOptions{}),
				disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: rand.New(rand.NewPCG(random.Uint64(), 1))}))
		})
		want, err := Repair(t.Context(), "db", small(disk))
		disk.OnCall(nil)
		if err != nil {
			t.Fatal(err)
		}
		rows := rowsIn(t, disk)
		for n, crashed := range crashes {
			at := fmt.Sprintf("seed %d, %s damaged, crash %d of %d", seed, what, n, len(crashes))
			if db, err := Open("db", small(crashed.CrashClone(vfs.CrashOptions{}))); err == nil {
				_ = db.Close() // what it shows is right, or the error of a read
			} else if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnrepaired) {
				t.Fatalf("%s: %v", at, err)
			}
			report, err := Repair(t.Context(), "db", small(crashed))
			if err != nil {
				t.Fatalf("%s: %v", at, err)
			}
			checkOriginals(t, at, before, tree(t, crashed, "db"))
			if got := rowsIn(t, crashed); !slices.EqualFunc(got, rows, equalRow) {
				t.Fatalf("%s: %d rows, want %d", at, len(got), len(rows))
			}
			if !report.Resumed && report.Changed && report.ExposedCount != want.ExposedCount {
				t.Fatalf("%s: %d keys exposed, want %d", at, report.ExposedCount, want.ExposedCount)
			}
		}
		if len(crashes) < 20 {
			t.Fatalf("%d crash points", len(crashes))
		}
	}
}

// rowsIn opens a store and gives all of its rows.
func rowsIn(t *testing.T, disk *vfs.Mem) (rows []Row) {
	t.Helper()
	o := small(disk)
	o.ReadOnly = true
	db := mustOpen(t, "db", o)
	defer mustClose(t, db)
	snapshot := db.Snapshot()
	defer snapshot.Close()
	it := snapshot.NewIterator(IteratorOptions{})
	for ok := it.First(); ok; ok = it.Next() {
		r := it.Row()
		r.Key, r.Value = bytes.Clone(r.Key), bytes.Clone(r.Value)
		rows = append(rows, r)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestAFailedRepairLosesNothingAndIsRunAgain fails each call to the disk.
func TestAFailedRepairLosesNothingAndIsRunAgain(t *testing.T) {
	s := newStore(t, 3)
	damagedDisk := func() *vfs.Mem {
		disk := s.disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll})
		overwrite(t, disk, "db/MANIFEST", []byte("nonsense"))
		return disk
	}
	disk := damagedDisk()
	before := tree(t, disk, "db")
	for n, failed := 1, true; failed; n++ {
		disk = damagedDisk()
		rules := vfs.NewRules(vfs.Rule{Ops: vfs.OpAny &^ vfs.OpClose, Nth: n, Err: syscall.EACCES})
		_, err := Repair(t.Context(), "db", small(vfs.NewFault(disk, rules)))
		if failed = rules.Hits() > 0; failed && err == nil {
			t.Fatalf("call %d failed, and Repair did not", n)
		}
		if failed && !errors.Is(err, syscall.EACCES) {
			t.Fatalf("call %d: %v", n, err)
		}
		report, err := Repair(t.Context(), "db", small(disk))
		if err != nil {
			t.Fatalf("after call %d failed: %v", n, err)
		}
		checkOriginals(t, fmt.Sprint("call ", n), before, tree(t, disk, "db"))
		checkRepaired(t, fmt.Sprint("call ", n), disk, s.model, report)
	}
}

func TestRepairTakesWhatADamagedLogStillHas(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	for round := range 10 {
		disk, m := leftBehind(t, seed+uint64(round), LogAlways)
		random := rand.New(rand.NewPCG(seed, uint64(round)))
		what := fmt.Sprintf("seed %d, round %d", seed, round)
		if round%2 == 0 {
			if err := disk.Remove("db/" + manifest.Name); err != nil {
				t.Fatal(err)
			}
		}
		whole := shownBy(m)
		if round >= 2 {
			name := "db/" + logFiles(t, disk)[0]
			b, err := vfs.ReadFile(disk, name)
			if err != nil {
				t.Fatal(err)
			}
			b[4096+24+random.IntN(400)] ^= 1
			overwrite(t, disk, name, b)
			if db, err := Open("db", small(disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepAll}))); err == nil {
				mustClose(t, db)
				continue // in a record that tables have, and that is not needed
			}
		}
		report := repaired(t, what, disk, m)
		if round < 2 {
			if got := slices.DeleteFunc(rowsIn(t, disk), m.expired); !slices.EqualFunc(got, whole, equalRow) {
				t.Fatalf("%s: %d rows, want %d: %+v", what, len(got), len(whole), report)
			}
		} else if round%2 == 1 && len(report.Damage) == 0 {
			t.Fatalf("%s: %+v", what, report)
		}
	}
}

// shownBy is what a walk over everything shows.
func shownBy(m *model) []Row { return m.list(MaxVersion, m.applied.sequence, nil, nil) }

// TestKeysThatACompactionHadDroppedAreListed puts a table back that a compaction has replaced, as a crash can leave it, and loses the
// manifest: nothing says any more that what it has was deleted.
func TestKeysThatACompactionHadDroppedAreListed(t *testing.T) {
	disk := vfs.NewMem()
	db := mustOpen(t, "db", small(disk))
	var old []byte
	for n := range 2 {
		apply(t, db, func(b *Batch) {
			for i := range 20 {
				if n == 0 {
					b.Put(fmt.Appendf(nil, "k%02d", i), []byte("v"), 0, 0)
				} else if i < 5 {
					b.Delete(fmt.Appendf(nil, "k%02d", i), 0)
				}
			}
		})
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			old = readFile(t, disk, "db/000001.table")
		}
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, db)
	overwrite(t, disk, "db/000001.table", old)
	if err := disk.Remove("db/MANIFEST"); err != nil {
		t.Fatal(err)
	}
	report, err := Repair(t.Context(), "db", small(disk))
	if err != nil {
		t.Fatal(err)
	}
	if report.ExposedCount != 5 || string(bytes.Join(report.Exposed, nil)) != "k00k01k02k03k04" {
		t.Fatalf("%+v", report)
	}
	if list := readFile(t, disk, "db/"+report.ReportFile); strings.Count(string(list), "may be old or deleted") != 5 {
		t.Fatalf("%s", list)
	}
}

func readFile(t *testing.T, disk *vfs.Mem, name string) []byte {
	t.Helper()
	b, err := vfs.ReadFile(disk, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestDeletedKeysDoNotComeBackUnsaid damages the one block that says that some keys are deleted.
func TestDeletedKeysDoNotComeBackUnsaid(t *testing.T) {
	disk := vfs.NewMem()
	o := small(disk)
	o.CompactCount, o.StopCount, o.RetainVersions = 64, 65, true
	db := mustOpen(t, "db", o)
	for n := range 2 {
		apply(t, db, func(b *Batch) {
			for i := range 400 {
				key := fmt.Appendf(nil, "k%03d", i)
				if n == 0 {
					b.Put(key, make([]byte, 100), 0, 0)
				} else if i >= 50 && i < 350 {
					b.Delete(key, 0)
				}
			}
		})
		if err := db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	mustClose(t, db)
	b := readFile(t, disk, "db/000002.table")
	b[len(b)/4] ^= 1
	overwrite(t, disk, "db/000002.table", b)
	report, err := Repair(t.Context(), "db", o)
	if err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, "db", o)
	defer mustClose(t, db)
	back := 0
	for i := 50; i < 350; i++ {
		key := fmt.Appendf(nil, "k%03d", i)
		if _, ok, err := db.Get(key, MaxVersion); err != nil || ok {
			back++
			if !slices.ContainsFunc(report.Exposed, func(k []byte) bool { return bytes.Equal(k, key) }) {
				t.Fatalf("%s is back, %v, and not listed: %+v", key, err, report)
			}
		}
	}
	if back == 0 || back == 300 || report.AnyKey {
		t.Fatalf("%d deleted keys are back: %+v", back, report)
	}
}

func TestRepairIsForStoresThatNobodyHasOpen(t *testing.T) {
	disk := vfs.NewMem()
	if err := disk.MkdirAll("empty"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"none", "empty"} {
		if _, err := Repair(t.Context(), dir, small(disk)); !errors.Is(err, ErrNoStore) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	db := mustOpen(t, "db", small(disk))
	if _, err := Repair(t.Context(), "db", small(disk)); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	mustClose(t, db)
}

func TestAStoreWithFamiliesIsRepairedAsOne(t *testing.T) {
	disk := vfs.NewMem()
	o := small(disk)
	o.Families = true
	db := mustOpen(t, "db", o)
	f, err := db.CreateFamily("users", FamilyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, db, func(b *Batch) { b.In(f).Put([]byte("k"), []byte("v"), 0) })
	mustClose(t, db)
	if err := disk.Remove("db/MANIFEST"); err != nil {
		t.Fatal(err)
	}
	if _, err := Repair(t.Context(), "db", o); err != nil {
		t.Fatal(err)
	}
	db = mustOpen(t, "db", o)
	defer mustClose(t, db)
	if f, err = db.Family("users"); err != nil {
		t.Fatal(err)
	}
	if row, ok, err := f.Get([]byte("k")); err != nil || !ok || string(row.Value) != "v" {
		t.Fatal(row, ok, err)
	}
}
