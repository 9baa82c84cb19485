package engine_test

import (
	"fmt"
	"log"
	"os"

	"github.com/lightning-db/lightning/engine"
)

// A store whose Apply returns when the batch is on the disk, for good.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

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
