package engine_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/lightning-db/lightning/engine"
)

// open gives an empty store and what removes it again.
func open(o engine.Options) (*engine.DB, func()) {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	db, err := engine.Open(dir, o)
	if err != nil {
		log.Fatal(err)
	}
	return db, func() {
		if err := errors.Join(db.Close(), os.RemoveAll(dir)); err != nil {
			log.Fatal(err)
		}
	}
}

// A counter that loses no increment, however many goroutines do this at once.
func ExampleDB_Update() {
	db, done := open(engine.Options{Log: engine.LogAlways})
	defer done()
	increment := func(tx *engine.Tx) error {
		row, found, err := tx.Get([]byte("visits"))
		if err != nil {
			return err
		}
		count := uint64(0)
		if found {
			count = binary.BigEndian.Uint64(row.Value)
		}
		return tx.Put([]byte("visits"), binary.BigEndian.AppendUint64(nil, count+1), 0)
	}
	for range 3 {
		if err := db.Update(context.Background(), engine.TxOptions{}, increment); err != nil {
			log.Fatal(err)
		}
	}
	row, _, err := db.Get([]byte("visits"), engine.MaxVersion)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(binary.BigEndian.Uint64(row.Value))
	// Output: 3
}

// Two doctors are on call, and one must stay. Each transaction reads what the other one writes; only one may commit.
func ExampleDB_Begin() {
	db, done := open(engine.Options{})
	defer done()
	batch := db.NewBatch()
	batch.Put([]byte("on call/anna"), nil, 0, 0)
	batch.Put([]byte("on call/ben"), nil, 0, 0)
	if err := db.Apply(batch); err != nil {
		log.Fatal(err)
	}
	leave := func(name string) *engine.Tx {
		tx, err := db.Begin(engine.TxOptions{Isolation: engine.Serializable})
		if err != nil {
			log.Fatal(err)
		}
		on := 0
		it := tx.NewIterator(engine.IteratorOptions{Start: []byte("on call/"), End: []byte("on call0")})
		for ok := it.First(); ok; ok = it.Next() {
			on++
		}
		if err := it.Close(); err != nil {
			log.Fatal(err)
		}
		if on > 1 {
			if err := tx.Delete([]byte("on call/" + name)); err != nil {
				log.Fatal(err)
			}
		}
		return tx
	}
	anna, ben := leave("anna"), leave("ben")
	fmt.Println(anna.Commit())
	err := ben.Commit()
	var conflict *engine.ConflictError
	fmt.Println(errors.As(err, &conflict), string(conflict.Key))
	// Output:
	// <nil>
	// true on call/anna
}

// A session store whose rows are gone after half an hour, beside users who stay.
func ExampleDB_CreateFamily() {
	db, done := open(engine.Options{Families: true, Clock: engine.SystemClock()})
	defer done()
	users, err := db.CreateFamily("users", engine.FamilyOptions{})
	if err != nil {
		log.Fatal(err)
	}
	sessions, err := db.CreateFamily("sessions", engine.FamilyOptions{TTL: 30 * time.Minute})
	if err != nil {
		log.Fatal(err)
	}
	batch := db.NewBatch()
	batch.In(users).Put([]byte("anna"), []byte("Anna"), 0)
	batch.In(sessions).Put([]byte("7d1f"), []byte("anna"), 0)
	if err := db.Apply(batch); err != nil { // both or neither
		log.Fatal(err)
	}
	row, found, err := sessions.Get([]byte("7d1f"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(found, string(row.Value), row.ExpiryMillis > 0)
	for _, f := range db.Families() {
		fmt.Println(f.Name())
	}
	// Output:
	// true anna true
	// sessions
	// users
}
