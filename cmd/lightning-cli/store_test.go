package main

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lightning-db/lightning/engine"
)

// makeStore makes a store with tables and, as a process that died leaves it, a log.
func makeStore(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "store")
	db, err := engine.Open(dir, engine.Options{Log: engine.LogAlways})
	if err != nil {
		t.Fatal(err)
	}
	put := func(from, to int) {
		b := db.NewBatch()
		for i := from; i < to; i++ {
			b.Put(fmt.Appendf(nil, "key%04d", i), make([]byte, 100), 0, 0)
		}
		if err := db.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	put(0, 1000)
	if err := db.Flush(); err != nil {
		t.Fatal(err)
	}
	put(1000, 1010)
	left := filepath.Join(t.TempDir(), "left")
	if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return left
}

func treeOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		files[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// glob gives the one file of a store that matches.
func glob(t *testing.T, dir, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no %s in %s, %v", pattern, dir, err)
	}
	return names[0]
}

func expectAnswer(t *testing.T, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

func TestStoreVerbsThatReadChangeNothing(t *testing.T) {
	dir := makeStore(t)
	before := treeOf(t, dir)
	s := &shell{}
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"stats", dir}, []string{"tables\t1,", "level 0\t1 tables", "1000 rows", "log\t1 batches"}},
		{[]string{"stats", dir, "-o", "json"}, []string{`"log_batches":1`, `"rows":1000`, `"replica":false`}},
		{[]string{"get", dir, "key1009"}, []string{"\x00"}},
		{[]string{"scan", dir, "--prefix", "key100", "--keys-only"}, []string{"key1000\n", "key1009\n"}},
		{[]string{"scan", dir, "--limit", "1", "--reverse", "--keys-only", "-o", "json"}, []string{`{"key":"key1009","version":"2"}`}},
		{[]string{"health", dir}, []string{"healthy"}},
		{[]string{"check", dir}, []string{"1 tables", "0 damaged files"}},
		{[]string{"check", dir, "-o", "json"}, []string{`"damage":[]`}},
		{[]string{"dump", dir + "/MANIFEST"}, []string{"manifest next_file=", "log_used=true", "table level=0"}},
		{[]string{"dump", glob(t, dir, "*.table")}, []string{"rows=1000", "row key=key0999 version=1", "value_bytes=100"}},
		{[]string{"dump", glob(t, dir, "*.log"), "-o", "json"}, []string{`"kind":"segment"`, `"kind":"batch"`, `"key":"key1000"`}},
		{[]string{"clear-cache", dir}, []string{"nothing to clear"}},
	} {
		got := s.do(append([]string{"store"}, c.args...)...)
		expectAnswer(t, got, c.want...)
		if strings.Contains(got, "exit ") {
			t.Errorf("%v: %s", c.args, got)
		}
	}
	if after := treeOf(t, dir); !maps.Equal(before, after) {
		t.Fatalf("%d files became %d, or others", len(before), len(after))
	}
}

func TestStoreVerbsThatWriteRefuseANodesDirectory(t *testing.T) {
	embedded := makeStore(t)
	data := t.TempDir()
	replica := filepath.Join(data, "shards", "7", "engine-000001")
	if err := os.CopyFS(replica, os.DirFS(embedded)); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(t.TempDir(), "engine-000001")
	if err := os.CopyFS(copied, os.DirFS(embedded)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(data, "node.json"), filepath.Join(filepath.Dir(copied), "CURRENT")} {
		if err := os.WriteFile(name, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	checkpoint := filepath.Join(t.TempDir(), "checkpoint")
	db, err := engine.Open(checkpoint, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	b.Put([]byte("k"), []byte("v"), 0, 0)
	b.SetPosition(engine.Position{Index: 12, Term: 1})
	if err := db.Apply(b); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := &shell{}
	for _, dir := range []string{replica, copied, checkpoint} {
		before := treeOf(t, dir)
		for _, args := range [][]string{{"put", dir, "k", "v"}, {"delete", dir, "k"}, {"compact", dir}, {"repair", dir}} {
			expectAnswer(t, s.do(append([]string{"store"}, args...)...), "differs from its peers", "exit 7")
		}
		expectAnswer(t, s.do("store", "check", dir), "0 damaged files")
		if !maps.Equal(before, treeOf(t, dir)) {
			t.Errorf("%s has changed", dir)
		}
	}
	expectAnswer(t, s.do("store", "create", filepath.Join(data, "mine")), "exit 7")
}

func TestStoreSaysWhoHasTheDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db, err := engine.Open(dir, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &shell{}
	for _, args := range [][]string{{"get", dir, "k"}, {"put", dir, "k", "v"}, {"repair", dir}, {"check", dir}} {
		expectAnswer(t, s.do(append([]string{"store"}, args...)...), filepath.Join(dir, "LOCK"), "is in use", "exit 5")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStoreFindsDamageAndRepairsIt(t *testing.T) {
	dir := makeStore(t)
	name := glob(t, dir, "*.table")
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &shell{}
	base := filepath.Base(name)
	expectAnswer(t, s.do("store", "check", dir), "damaged: "+base, "at offset ", "1 damaged files", "exit 9")
	expectAnswer(t, s.do("store", "get", dir, "key0000"), base, "exit 9")
	expectAnswer(t, s.do("store", "dump", name), "table number=", base, "exit 9")
	expectAnswer(t, s.do("store", "repair", dir), "lost from ", "repaired: ", "moved to lost", "lost/report.txt")
	expectAnswer(t, s.do("store", "repair", dir, "-o", "json"), `"changed":false`)
	expectAnswer(t, s.do("store", "check", dir), "0 damaged files")
	expectAnswer(t, s.do("store", "scan", dir, "--keys-only"), "key0999\n", "key1009\n")
	expectAnswer(t, s.do("store", "health", dir), "lost", "exit 4")
	if moved, err := os.ReadFile(filepath.Join(dir, "lost", base)); err != nil || !bytes.Equal(moved, b) {
		t.Errorf("the damaged table is not in lost: %v", err)
	}
}

func TestStoreCompactsAndMeasures(t *testing.T) {
	dir := makeStore(t)
	s := &shell{}
	expectAnswer(t, s.do("store", "compact", dir), "compacted ", " before\n")
	expectAnswer(t, s.do("store", "stats", dir), "tables\t1,", "log\t0 batches")
	made := filepath.Join(t.TempDir(), "bench")
	got := s.do("store", "bench", made, "--duration", "5ms", "--keys", "100", "--profile", "development")
	expectAnswer(t, got, "put ", "put, batches of 100", "get ", "scan of 100")
	if _, err := os.Stat(made); !os.IsNotExist(err) {
		t.Errorf("bench left %s: %v", made, err)
	}
}

func TestStoreVerbsReadStoresWithFamilies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	db, err := engine.Open(dir, engine.Options{Families: true})
	if err != nil {
		t.Fatal(err)
	}
	f, err := db.CreateFamily("users", engine.FamilyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b := db.NewBatch()
	b.In(f).Put([]byte("anna"), []byte("v"), 0)
	if err := db.Apply(b); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := &shell{}
	expectAnswer(t, s.do("store", "scan", dir), "anna\tv\n")
	expectAnswer(t, s.do("store", "check", dir), "0 damaged files")
	expectAnswer(t, s.do("store", "compact", dir), "compacted")
	expectAnswer(t, s.do("store", "put", dir, "k", "v"), "without a column family", "exit 2")
}
