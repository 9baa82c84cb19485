package vfs

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// calls makes one call of each kind on files below d.
func calls(fsys FS) map[Op]error {
	errs := map[Op]error{}
	f, err := fsys.Create("d/a")
	errs[OpCreate] = err
	if f != nil {
		_, errs[OpWrite] = f.Write([]byte("abc"))
		if _, errs[OpRead] = f.ReadAt(make([]byte, 1), 0); errors.Is(errs[OpRead], io.EOF) {
			errs[OpRead] = nil // the write failed
		}
		errs[OpSync] = f.Sync()
		_, errs[OpSize] = f.Size()
		errs[OpClose] = f.Close()
	}
	_, errs[OpOpen] = fsys.Open("d/here")
	_, errs[OpUpdate] = fsys.Update("d/here")
	errs[OpLink] = fsys.Link("d/here", "d/link")
	errs[OpRename] = fsys.Rename("d/here", "d/there")
	errs[OpRemove] = fsys.Remove("d/gone")
	errs[OpMkdirAll] = fsys.MkdirAll("d/sub")
	_, errs[OpList] = fsys.List("d")
	errs[OpSyncDir] = fsys.SyncDir("d")
	errs[OpRemoveAll] = fsys.RemoveAll("d/sub")
	l, err := fsys.Lock("d/LOCK")
	errs[OpLock] = err
	if l != nil {
		_ = l.Close()
	}
	return errs
}

func newTree(t *testing.T) *Mem {
	m := NewMem()
	ok(t, m.MkdirAll("d"))
	put(t, m, "d/here", "x")
	put(t, m, "d/gone", "x")
	return m
}

func TestEachKindOfCallFailsAsToldAndAlone(t *testing.T) {
	for _, cause := range []error{syscall.EIO, syscall.ENOSPC, syscall.EACCES, syscall.EROFS, syscall.EMFILE} {
		for op := OpCreate; op <= OpClose; op <<= 1 {
			for got, err := range calls(NewFault(newTree(t), NewRules(Rule{Ops: op, Err: cause}))) {
				if got != op {
					ok(t, err)
				} else if !errors.Is(err, cause) || !strings.Contains(err.Error(), op.String()) {
					t.Errorf("%v: error %v, want %v", op, err, cause)
				}
			}
		}
	}
	wantError(t, calls(NewFault(newTree(t), NewRules(Rule{Ops: OpOpen, Err: syscall.EACCES})))[OpOpen], fs.ErrPermission, "open")
}

func TestRulesPickCallsByNumberKindAndName(t *testing.T) {
	const n = 6
	tests := []struct {
		name string
		rule Rule
		file string
		want string // one letter a write: F failed, . passed
	}{
		{"FirstByDefault", Rule{Err: syscall.EIO}, "a", "......"}, // the first mutating call is the create
		{"FirstWrite", Rule{Ops: OpWrite, Err: syscall.EIO}, "a", "F....."},
		{"Third", Rule{Ops: OpWrite, Nth: 3, Err: syscall.EIO}, "a", "..F..."},
		{"ThirdAndAfter", Rule{Ops: OpWrite, Nth: 3, Forever: true, Err: syscall.EIO}, "a", "..FFFF"},
		{"NameMatches", Rule{Ops: OpWrite, Pattern: "*.table", Forever: true, Err: syscall.EIO}, "x/1.table", "FFFFFF"},
		{"NameDiffers", Rule{Ops: OpWrite, Pattern: "*.table", Forever: true, Err: syscall.EIO}, "x/1.log", "......"},
		{"OtherKind", Rule{Ops: OpRead | OpSync, Forever: true, Err: syscall.EIO}, "a", "......"},
		{"NoErrorOnlyCounts", Rule{Ops: OpWrite, Forever: true}, "a", "......"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := NewMem()
			ok(t, m.MkdirAll("x"))
			rules := NewRules()
			fsys := NewFault(m, rules)
			f := must(fsys.Create(tt.file))(t)
			rules.Set(tt.rule)
			if tt.rule.Ops == 0 {
				_, _ = fsys.Create("other")
			}
			got := ""
			for range n {
				if _, err := f.Write([]byte("x")); err != nil {
					got += "F"
				} else {
					got += "."
				}
			}
			if got != tt.want {
				t.Errorf("writes went %s, want %s", got, tt.want)
			}
			if failed := strings.Count(tt.want, "F"); tt.rule.Ops != 0 && rules.Hits() != failed {
				t.Errorf("%d hits, want %d", rules.Hits(), failed)
			}
			if matches := tt.rule.Ops&OpWrite != 0 && !strings.Contains(tt.name, "Differs"); matches && rules.Count(0) != n {
				t.Errorf("counted %d, want %d", rules.Count(0), n)
			}
		})
	}
}

func TestShortWriteLeavesAPart(t *testing.T) {
	for _, tt := range []struct {
		bytes int
		want  string
	}{{0, ""}, {2, "ab"}, {3, "abc"}, {9, "abc"}, {-1, ""}} {
		m := NewMem()
		f := must(NewFault(m, NewRules(Rule{Ops: OpWrite, Err: &ShortWrite{tt.bytes, syscall.ENOSPC}})).Create("a"))(t)
		n, err := f.Write([]byte("abc"))
		wantError(t, err, syscall.ENOSPC, "write")
		if n != len(tt.want) {
			t.Errorf("short write of %d wrote %d", tt.bytes, n)
		}
		wantFile(t, m, "a", tt.want)
	}
}

func TestFailedCloseClosesTheFile(t *testing.T) {
	f := must(NewFault(NewMem(), NewRules(Rule{Ops: OpClose, Err: syscall.EIO})).Create("a"))(t)
	wantError(t, f.Close(), syscall.EIO, "close")
	wantError(t, f.Sync(), fs.ErrClosed, "sync after close")
}

func TestInjectorFuncIsAHook(t *testing.T) {
	var seen []string
	fsys := NewFault(NewMem(), InjectorFunc(func(op Op, name string) error {
		seen = append(seen, op.String()+" "+name)
		return nil
	}))
	put(t, fsys, "a", "x")
	if got := strings.Join(seen, ", "); got != "create a, write a, close a" {
		t.Errorf("saw %s", got)
	}
}

// TestWriteFileAtomicSurvivesEveryFailure fails the n-th call for every n: the file is old or new.
func TestWriteFileAtomicSurvivesEveryFailure(t *testing.T) {
	for n := 1; ; n++ {
		m := NewMem()
		ok(t, WriteFileAtomic(m, ".", "a", []byte("old")))
		rules := NewRules(Rule{Ops: OpAny, Nth: n, Err: syscall.EIO})
		err := WriteFileAtomic(NewFault(m, rules), ".", "a", []byte("new"))
		for _, keep := range []Keep{KeepNone, KeepAll} {
			b := must(ReadFile(m.CrashClone(CrashOptions{KeepUnsynced: keep}), "a"))(t)
			if string(b) != "new" && (err == nil || string(b) != "old") {
				t.Fatalf("call %d failed, keep %d: error %v, file holds %q", n, keep, err, b)
			}
		}
		if rules.Hits() == 0 {
			ok(t, err)
			return
		}
		wantError(t, err, syscall.EIO, "call", n)
	}
}

func TestOpNamesItsKinds(t *testing.T) {
	for op, want := range map[Op]string{OpCreate: "create", OpClose: "close", OpWrite | OpSync: "write|sync", 0: ""} {
		if op.String() != want {
			t.Errorf("%d is %q, want %q", op, op, want)
		}
	}
	if want := OpClose<<1 - 1; OpAny != want {
		t.Errorf("OpAny is %v, want %v", OpAny, want)
	}
}

func TestUpdatedFilesFailAsTold(t *testing.T) {
	for _, tt := range []struct {
		op   Op
		call func(UpdatedFile) error
	}{
		{OpRead, func(f UpdatedFile) error { _, err := f.ReadAt(make([]byte, 1), 0); return err }},
		{OpWrite, func(f UpdatedFile) error { _, err := f.WriteAt([]byte("yz"), 0); return err }},
		{OpSync, func(f UpdatedFile) error { return f.SyncData() }},
		{OpSize, func(f UpdatedFile) error { _, err := f.Size(); return err }},
		{OpClose, func(f UpdatedFile) error { return f.Close() }},
	} {
		m := newTree(t)
		f := must(NewFault(m, NewRules(Rule{Ops: tt.op, Err: syscall.EIO})).Update("d/here"))(t)
		wantError(t, tt.call(f), syscall.EIO, tt.op.String())
		wantFile(t, m, "d/here", "x")
	}
	m := newTree(t)
	f := must(NewFault(m, NewRules(Rule{Ops: OpWrite, Err: &ShortWrite{1, syscall.ENOSPC}})).Update("d/here"))(t)
	if n, err := f.WriteAt([]byte("yz"), 0); n != 1 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("short write in place: %d, %v", n, err)
	}
	wantFile(t, m, "d/here", "y")
}
