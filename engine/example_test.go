package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/lightning-db/lightning/engine"
)

// temporary makes a directory for an example, and what removes it.
func temporary() (dir string, remove func()) {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }
}

// opened opens a store in a directory of its own, with some rows.
func opened(keys ...string) (db *engine.DB, done func()) {
	dir, remove := temporary()
	db, err := engine.Open(filepath.Join(dir, "db"), engine.Options{Log: engine.LogAlways})
	if err != nil {
		log.Fatal(err)
	}
	batch := db.NewBatch()
	for i, key := range keys {
		batch.Put([]byte(key), fmt.Appendf(nil, "value %d", i), 0, 0)
	}
	if err := db.Apply(batch); err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if err := db.Close(); err != nil {
			log.Fatal(err)
		}
		remove()
	}
}

// A store whose Apply returns when the batch is on the disk, for good.
func ExampleOpen() {
	dir, remove := temporary()
	defer remove()

	db, err := engine.Open(dir, engine.Options{Log: engine.LogAlways})
	if err != nil {
		log.Fatal(err)
	}
	batch := db.NewBatch()
	batch.Put([]byte("account/anna"), []byte("90"), 0, 0)
	batch.Put([]byte("account/ben"), []byte("110"), 0, 0)
	if err := db.Apply(batch); err != nil { // both or neither, also after a power cut
		log.Fatal(err)
	}
	row, found, err := db.Get([]byte("account/ben"), engine.MaxVersion)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found, string(row.Value))
	if err := db.Close(); err != nil {
		log.Fatal(err)
	}
	// Output: true 110
}

// A profile is a set of options for a purpose; change what you know better.
func ExampleProfile_Options() {
	dir, remove := temporary()
	defer remove()

	o := engine.LowMemory.Options()
	o.CacheBytes = 1 << 20
	db, err := engine.Open(dir, o)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(engine.LowMemory, db.Close())
	// Output: low-memory <nil>
}

// A missing key is no error.
func ExampleDB_Get() {
	db, done := opened("a")
	defer done()

	for _, key := range []string{"a", "b"} {
		row, found, err := db.Get([]byte(key), engine.MaxVersion)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(key, found, string(row.Value))
	}
	// Output:
	// a true value 0
	// b false
}

// A batch is visible, and durable, all or not at all. It may be used again.
func ExampleDB_Apply() {
	db, done := opened("old")
	defer done()

	batch := db.NewBatch()
	batch.Put([]byte("new"), []byte("moved"), 0, 0)
	batch.Delete([]byte("old"), 0)
	if err := db.Apply(batch); err != nil {
		log.Fatal(err)
	}
	_, found, err := db.Get([]byte("old"), engine.MaxVersion)
	fmt.Println(found, err)
	// Output: false <nil>
}

// An iterator walks over the keys from Start up to End, which is out, both ways.
func ExampleSnapshot_NewIterator() {
	db, done := opened("user/anna", "user/ben", "user/cleo", "zebra")
	defer done()

	snapshot := db.Snapshot()
	defer snapshot.Close()
	it := snapshot.NewIterator(engine.IteratorOptions{Start: []byte("user/"), End: []byte("user0")})
	for ok := it.First(); ok; ok = it.Next() {
		fmt.Println(string(it.Row().Key))
	}
	if it.Last() {
		fmt.Println("last:", string(it.Row().Key))
	}
	if err := it.Close(); err != nil { // a walk that ends early because of damage says so here
		log.Fatal(err)
	}
	// Output:
	// user/anna
	// user/ben
	// user/cleo
	// last: user/cleo
}

// A snapshot sees what was there when it was made.
func ExampleDB_Snapshot() {
	db, done := opened("k")
	defer done()

	snapshot := db.Snapshot()
	defer snapshot.Close()
	batch := db.NewBatch()
	batch.Put([]byte("k"), []byte("changed"), 0, 0)
	if err := db.Apply(batch); err != nil {
		log.Fatal(err)
	}
	then, _, err := snapshot.Get([]byte("k"), engine.MaxVersion)
	if err != nil {
		log.Fatal(err)
	}
	now, _, err := db.Get([]byte("k"), engine.MaxVersion)
	fmt.Println(string(then.Value), "->", string(now.Value), err)
	// Output: value 0 -> changed <nil>
}

// A checkpoint is a store of its own, made by hard links while writes go on.
func ExampleDB_Checkpoint() {
	db, done := opened("k")
	defer done()
	dir, remove := temporary()
	defer remove()

	copied := filepath.Join(filepath.Dir(dir), filepath.Base(dir)+"-copy") // on the same file system
	defer os.RemoveAll(copied)
	if _, err := db.Checkpoint(copied); err != nil {
		log.Fatal(err)
	}
	backup, err := engine.Open(copied, engine.Options{ReadOnly: true})
	if err != nil {
		log.Fatal(err)
	}
	_, found, err := backup.Get([]byte("k"), engine.MaxVersion)
	fmt.Println(found, err, backup.Close())
	// Output: true <nil> <nil>
}

// Events tell what the store does, on a goroutine of their own.
func ExampleOptions_events() {
	dir, remove := temporary()
	defer remove()

	flushed := make(chan bool, 1)
	db, err := engine.Open(dir, engine.Options{Events: func(e engine.Event) {
		if e.Kind == engine.EventFlushEnd && e.Err == nil {
			select {
			case flushed <- e.Bytes > 0:
			default: // a listener never waits
			}
		}
	}})
	if err != nil {
		log.Fatal(err)
	}
	batch := db.NewBatch()
	batch.Put([]byte("k"), []byte("v"), 0, 0)
	if err := errors.Join(db.Apply(batch), db.Flush()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-flushed, db.Close())
	// Output: true <nil>
}

// Repair keeps what can be read of a damaged store, and says what is lost.
func ExampleRepair() {
	dir, remove := temporary()
	defer remove()

	db, err := engine.Open(dir, engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	batch := db.NewBatch()
	batch.Put([]byte("k"), []byte("v"), 0, 0)
	if err := errors.Join(db.Apply(batch), db.Close(), os.Remove(filepath.Join(dir, "MANIFEST"))); err != nil {
		log.Fatal(err)
	}
	_, err = engine.Open(dir, engine.Options{})
	fmt.Println(errors.Is(err, engine.ErrCorrupt))

	report, err := engine.Repair(context.Background(), dir, engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.ManifestRebuilt, report.Rows, report.ExposedCount)
	// Output:
	// true
	// true 1 0
}
