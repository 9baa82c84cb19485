package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestRowsAndFilesGoWhenTheLastSnapshotOfThemIsClosed overwrites everything many times below open snapshots and transactions: what
// they see stays, and when they are closed the rows, the files and the list of snapshots come back to what they were.
func TestRowsAndFilesGoWhenTheLastSnapshotOfThemIsClosed(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", small(fs))
	const keys, rounds = 300, 12
	var snapshots []*Snapshot
	var transactions []*Tx
	for round := range rounds {
		for k := range keys {
			apply(t, db, func(b *Batch) { b.Put(fmt.Appendf(nil, "key%04d", k), fmt.Appendf(nil, "%d %0100d", round, k), 0, 0) })
		}
		if round < rounds-1 {
			snapshots, transactions = append(snapshots, db.Snapshot()), append(transactions, mustBegin(t, db, TxOptions{}))
		}
	}
	if err := db.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := rowsOf(tablesIn(db)); n != keys*rounds {
		t.Fatalf("%d rows, want %d: each round has a snapshot", n, keys*rounds)
	}
	for i, s := range snapshots {
		for _, get := range []func() (Row, bool, error){
			func() (Row, bool, error) { return s.Get([]byte("key0007"), MaxVersion) },
			func() (Row, bool, error) { return transactions[i].Get([]byte("key0007")) },
		} {
			if row, ok, err := get(); err != nil || !ok || string(row.Value) != fmt.Sprintf("%d %0100d", i, 7) {
				t.Fatalf("snapshot %d sees %q %v %v", i, row.Value, ok, err)
			}
		}
		s.Close()
		transactions[i].Rollback()
	}
	if n := db.snapshots.count(); n != 0 || cap(db.snapshots.opens) > 64 {
		t.Fatalf("%d snapshots are listed", n)
	}
	testkit.Eventually(t, time.Minute, func() bool { return rowsOf(tablesIn(db)) == keys }, "rows that nobody sees stay")
	testkit.Eventually(t, time.Minute, func() bool {
		names, err := fs.List("db")
		return err == nil && len(names) <= len(tablesIn(db))+2 // MANIFEST and LOCK
	}, "files that nobody needs stay")
	mustClose(t, db)
}

// FuzzTxOptions takes any options, which are refused or good for a transaction.
func FuzzTxOptions(f *testing.F) {
	f.Add(uint8(0), 0, 0)
	f.Add(uint8(1), 1<<10, 1)
	f.Add(uint8(2), -1, 1001)
	f.Fuzz(func(t *testing.T, isolation uint8, bytes, tries int) {
		db := mustOpen(t, "db", small(vfs.NewMem()))
		o := TxOptions{Isolation: Isolation(isolation), MaxBytes: bytes, MaxTries: tries}
		err := db.Update(t.Context(), o, func(tx *Tx) error { return tx.Put([]byte("k"), []byte("v"), 0) })
		if (err == nil) != (o.Validate() == nil) {
			t.Fatalf("%+v: %v, validated: %v", o, err, o.Validate())
		}
		mustClose(t, db)
	})
}
