package vfs

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// TestCrashKeepsWhatWasSynced runs short histories and says what each kind of crash leaves (D1, D2).
func TestCrashKeepsWhatWasSynced(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, m *Mem)
		none string // "name=content" of what the strictest crash leaves
		all  string
	}{
		{"NothingSynced", func(t *testing.T, m *Mem) {
			put(t, m, "a", "x")
		}, "", "a=x"},
		{"FileSyncedButNotItsName", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "x")
		}, "", "a=x"},
		{"NameSyncedButNotItsFile", func(t *testing.T, m *Mem) {
			put(t, m, "a", "x")
			ok(t, m.SyncDir("."))
		}, "a=", "a=x"},
		{"BothSynced", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "x")
			ok(t, m.SyncDir("."))
		}, "a=x", "a=x"},
		{"AppendedAfterSync", func(t *testing.T, m *Mem) {
			f := must(m.Create("a"))(t)
			write(t, f, "x")
			ok(t, f.Sync(), m.SyncDir("."))
			write(t, f, "y")
		}, "a=x", "a=xy"},
		{"TruncatedWithoutSync", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "old")
			ok(t, m.SyncDir("."))
			put(t, m, "a", "n")
		}, "a=old", "a=n"},
		{"TruncatedAndSynced", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "old")
			ok(t, m.SyncDir("."))
			putSynced(t, m, "a", "n")
		}, "a=n", "a=n"},
		{"RenamedWithoutSync", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "old")
			putSynced(t, m, "b", "new")
			ok(t, m.SyncDir("."), m.Rename("b", "a"))
		}, "a=old b=new", "a=new"},
		{"RenamedAndSynced", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "old")
			putSynced(t, m, "b", "new")
			ok(t, m.Rename("b", "a"), m.SyncDir("."))
		}, "a=new", "a=new"},
		{"RemovedWithoutSync", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "x")
			ok(t, m.SyncDir("."), m.Remove("a"))
		}, "a=x", ""},
		{"RemovedAndSynced", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "x")
			ok(t, m.SyncDir("."), m.Remove("a"), m.SyncDir("."))
		}, "", ""},
		{"LinkedAndSynced", func(t *testing.T, m *Mem) {
			putSynced(t, m, "a", "x")
			ok(t, m.Link("a", "b"), m.SyncDir("."), m.Remove("a"))
		}, "a=x b=x", "b=x"},
		{"MovedTreeWithTargetSynced", func(t *testing.T, m *Mem) {
			ok(t, m.MkdirAll("from/tree"), m.MkdirAll("to"))
			putSynced(t, m, "from/tree/a", "x")
			ok(t, m.SyncDir("from/tree"), m.Rename("from/tree", "to/tree"), m.SyncDir("to"))
		}, "to/tree/a=x", "to/tree/a=x"},
		{"DirectoryMadeByMkdirAll", func(t *testing.T, m *Mem) {
			ok(t, m.MkdirAll("d/e"))
			putSynced(t, m, "d/e/a", "x")
			ok(t, m.SyncDir("d/e"))
		}, "d/e/a=x", "d/e/a=x"},
		{"MkdirAllSyncsTheExistingParentsName", func(t *testing.T, m *Mem) {
			ok(t, m.MkdirAll("d"), m.Rename("d", "moved"), m.MkdirAll("moved"))
			putSynced(t, m, "moved/a", "x")
			ok(t, m.SyncDir("moved"))
		}, "moved/a=x", "moved/a=x"},
		{"WriteFileAtomic", func(t *testing.T, m *Mem) {
			ok(t, WriteFileAtomic(m, ".", "a", []byte("one")), WriteFileAtomic(m, ".", "a", []byte("two")))
		}, "a=two", "a=two"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := NewMem()
			tt.run(t, m)
			before := dump(t, m)
			none := m.CrashClone(CrashOptions{})
			all := m.CrashClone(CrashOptions{KeepUnsynced: KeepAll})
			if got := dump(t, none); got != tt.none {
				t.Errorf("strict crash leaves %q, want %q", got, tt.none)
			}
			if got := dump(t, all); got != tt.all || before != tt.all {
				t.Errorf("death of the process leaves %q of %q, want %q", got, before, tt.all)
			}
			if got := dump(t, none.CrashClone(CrashOptions{})); got != tt.none {
				t.Errorf("a second crash leaves %q, want %q: what survived one crash is durable", got, tt.none)
			}
		})
	}
}

func TestRandomCrashLeavesOldOrNewFileAfterRename(t *testing.T) {
	r := testkit.Rand(t)
	m := NewMem()
	ok(t, WriteFileAtomic(m, ".", "a", []byte("old")))
	putSynced(t, m, "a.tmp", "new")
	ok(t, m.Rename("a.tmp", "a"))
	seen := map[string]int{}
	for range 200 {
		seen[dump(t, m.CrashClone(CrashOptions{KeepUnsynced: KeepRandom, Rand: r}))]++
	}
	want := []string{"a=new", "a=old", "a=old a.tmp=new"}
	for _, w := range want {
		if seen[w] == 0 {
			t.Errorf("never saw %q in %v", w, seen)
		}
		delete(seen, w)
	}
	if len(seen) > 0 {
		t.Errorf("a crash left %v", seen)
	}
}

func TestRandomCrashLosesAndTearsUnsyncedBlocksOnly(t *testing.T) {
	r := testkit.Rand(t)
	m := NewMem()
	f := must(m.Create("a"))(t)
	synced, unsynced := strings.Repeat("s", 700), strings.Repeat("u", 4000)
	write(t, f, synced)
	ok(t, f.Sync(), m.SyncDir("."))
	write(t, f, unsynced)
	var full, torn, holes, empty int
	for range 300 {
		b := must(ReadFile(m.CrashClone(CrashOptions{KeepUnsynced: KeepRandom, Rand: r, BlockBytes: 512}), "a"))(t)
		if !bytes.HasPrefix(b, []byte(synced)) {
			t.Fatalf("synced bytes are gone: %q", b)
		}
		tail := b[len(synced):]
		switch {
		case len(tail) == 0:
			empty++
		case string(tail) == unsynced:
			full++
		case len(b)%512 != 0 && tail[len(tail)-1] == 'u':
			torn++
		case tail[0] != 'u':
			holes++
		}
	}
	if full == 0 || torn == 0 || holes == 0 || empty == 0 {
		t.Errorf("full %d, torn %d, holes %d, empty %d: want some of each", full, torn, holes, empty)
	}
}

func TestEqualSeedsGiveEqualClones(t *testing.T) {
	m := NewMem()
	for i := range 20 {
		put(t, m, fmt.Sprint("f", i), strings.Repeat("x", 100*i))
		if i%3 == 0 {
			ok(t, m.SyncDir("."))
		}
	}
	seed := testkit.Seed(t)
	crash := func() string {
		return dump(t, m.CrashClone(CrashOptions{KeepUnsynced: KeepRandom, Rand: testkit.NewRand(seed)}))
	}
	if a, b := crash(), crash(); a != b {
		t.Errorf("one seed gave %q and %q", a, b)
	}
}

// TestCloneAndOriginAreIndependent proves D4 in both directions, for appends and overwrites.
func TestCloneAndOriginAreIndependent(t *testing.T) {
	m := NewMem()
	f := must(m.Create("a"))(t)
	write(t, f, "synced")
	ok(t, f.Sync(), m.SyncDir("."))
	second := must(m.Create("b"))(t)
	ok(t, second.Sync(), m.SyncDir("."))
	clone := m.CrashClone(CrashOptions{})
	write(t, f, " origin")
	wantFile(t, clone, "a", "synced")
	put(t, clone, "a", "other!")
	wantFile(t, m, "a", "synced origin")
	ok(t, clone.Remove("b"))
	wantList(t, m, ".", "a", "b")

	shared := m.CrashClone(CrashOptions{KeepUnsynced: KeepAll})
	again := must(m.Create("a"))(t)
	write(t, again, "ORIGIN")
	wantFile(t, shared, "a", "synced origin")
	write(t, f, "!") // its offset is now beyond the end: a hole of zeros
	wantFile(t, m, "a", "ORIGIN\x00\x00\x00\x00\x00\x00\x00!")
}

func TestTwoHandlesMayOverwriteSyncedBytes(t *testing.T) {
	m := NewMem()
	a := must(m.Create("a"))(t)
	b := must(m.Create("a"))(t)
	write(t, a, "first")
	ok(t, a.Sync(), m.SyncDir("."))
	write(t, b, "FI")
	wantFile(t, m, "a", "FIrst")
	wantFile(t, m.CrashClone(CrashOptions{}), "a", "first")
	ok(t, b.Sync())
	wantFile(t, m.CrashClone(CrashOptions{}), "a", "FIrst")
}

func TestCloneHasNoLocksAndKeepsHardLinks(t *testing.T) {
	m := NewMem()
	lock := must(m.Lock("LOCK"))(t)
	putSynced(t, m, "a", "x")
	ok(t, m.Link("a", "b"), m.SyncDir("."))
	clone := m.CrashClone(CrashOptions{})
	l := must(clone.Lock("LOCK"))(t)
	ok(t, l.Close(), lock.Close())
	put(t, clone, "a", "y") // truncates the file, not the name
	wantFile(t, clone, "b", "y")
}

// TestFailedSyncLosesTheBytes proves D3: a second sync that succeeds does not bring them back.
func TestFailedSyncLosesTheBytes(t *testing.T) {
	m := NewMem()
	rules := NewRules(Rule{Ops: OpSync, Err: syscall.EIO})
	fsys := NewFault(NewFault(m, NewRules()), rules)
	f := must(fsys.Create("a"))(t)
	write(t, f, "lost")
	ok(t, fsys.SyncDir("."))
	wantError(t, f.Sync(), syscall.EIO, "first sync")
	write(t, f, " kept")
	ok(t, f.Sync())
	wantFile(t, m, "a", "lost kept") // the page cache still has them
	wantFile(t, m.CrashClone(CrashOptions{}), "a", "\x00\x00\x00\x00 kept")
}

func TestOnCallSeesEachStateBeforeItChanges(t *testing.T) {
	m := NewMem()
	var states []string
	m.OnCall(func(op Op, name string) {
		states = append(states, fmt.Sprintf("%v %s [%s]", op, name, dump(t, m.CrashClone(CrashOptions{KeepUnsynced: KeepAll}))))
	})
	ok(t, WriteFileAtomic(m, ".", "a", []byte("x")))
	m.OnCall(nil)
	ok(t, m.Remove("a"))
	want := []string{
		"create ./a.tmp []",
		"write ./a.tmp [a.tmp=]",
		"sync ./a.tmp [a.tmp=x]",
		"rename ./a [a.tmp=x]",
		"syncdir . [a=x]",
	}
	if !slices.Equal(states, want) {
		t.Errorf("saw\n%s\nwant\n%s", strings.Join(states, "\n"), strings.Join(want, "\n"))
	}
}

func putSynced(t *testing.T, fsys FS, name, content string) {
	t.Helper()
	f := must(fsys.Create(name))(t)
	write(t, f, content)
	ok(t, f.Sync(), f.Close())
}

// dump lists all files as "name=content", sorted.
func dump(t *testing.T, m *Mem) string {
	t.Helper()
	var files []string
	var walk func(dir string)
	walk = func(dir string) {
		for _, name := range must(m.List(dir))(t) {
			p := strings.TrimPrefix(dir+"/"+name, "./")
			if b, err := ReadFile(m, p); err == nil {
				files = append(files, p+"="+string(b))
				continue
			}
			walk(p)
		}
	}
	walk(".")
	return strings.Join(files, " ")
}
