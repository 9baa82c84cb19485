package engine

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

// TestACommittedTransactionIsWholeAfterACrash lets several workers move money between accounts in two families, takes what
// crashes would leave at random calls to the disk, and opens each: no money is made or lost, and with LogAlways every transfer
// whose commit had returned is there.
func TestACommittedTransactionIsWholeAfterACrash(t *testing.T) {
	seed := uint64(testkit.Seed(t))
	points := 0
	for sub := range uint64(8) {
		random := rand.New(rand.NewPCG(seed+sub, 5))
		o := small(vfs.NewMem())
		o.Families, o.Log = true, []LogMode{LogAlways, LogAlways, LogNever, LogOff}[random.IntN(4)]
		points += crashBank(t, fmt.Sprintf("seed %d, log mode %d", seed+sub, o.Log), random, o)
	}
	t.Logf("engine: %d crash points of transactions, seed %d: each was whole or not there", points, seed)
}

// bankCrash is a disk as a crash left it, and how many transfers of each worker had been acknowledged before.
type bankCrash struct {
	disk *vfs.Mem
	done [bankWorkers]int64
}

const (
	bankWorkers  = 4
	bankAccounts = 10
)

func crashBank(t *testing.T, what string, random *rand.Rand, o Options) int {
	disk := o.FS.(*vfs.Mem)
	db := mustOpen(t, "db", o)
	families := []*Family{mustCreate(t, db, "private"), mustCreate(t, db, "business")}
	opened := db.NewBatch()
	for i := range bankAccounts {
		opened.In(families[i%2]).Put(account(i), amount(initial), 0)
	}
	if err := db.Apply(opened); err != nil {
		t.Fatal(err)
	}
	if err := db.Sync(); err != nil {
		t.Fatal(err)
	}
	start := random.Uint64() // from here on the disk's calls use random
	var done [bankWorkers]atomic.Int64
	var mu sync.Mutex
	var crashes []bankCrash
	disk.OnCall(func(vfs.Op, string) {
		mu.Lock()
		defer mu.Unlock()
		if random.IntN(4) > 0 {
			return
		}
		c := bankCrash{}
		for w := range done {
			c.done[w] = done[w].Load()
		}
		c.disk = disk.CrashClone(vfs.CrashOptions{KeepUnsynced: vfs.KeepRandom, Rand: random, BlockBytes: 512})
		crashes = append(crashes, c)
	})
	var workers sync.WaitGroup
	for w := range bankWorkers {
		own := rand.New(rand.NewPCG(start, uint64(w)))
		workers.Go(func() { crashWorker(t, db, families, own, w, &done[w]) })
	}
	workers.Wait()
	disk.OnCall(nil)
	mustClose(t, db)
	for i, c := range crashes {
		o.FS = c.disk
		checkBank(t, fmt.Sprintf("%s, crash %d of %d", what, i, len(crashes)), o, c)
	}
	return len(crashes)
}

// crashWorker makes transfers, each with the number of those before by this worker.
func crashWorker(t *testing.T, db *DB, families []*Family, random *rand.Rand, worker int, done *atomic.Int64) {
	for n := range int64(25) {
		err := db.Update(t.Context(), TxOptions{Isolation: Isolation(random.IntN(2)), MaxTries: 100}, func(tx *Tx) error {
			from := random.IntN(bankAccounts)
			to := (from + 1 + random.IntN(bankAccounts-1)) % bankAccounts
			for i, sum := range map[int]int64{from: -5, to: 5} {
				row, _, err := tx.In(families[i%2]).Get(account(i))
				if err != nil {
					return err
				}
				now := int64(binary.BigEndian.Uint64(row.Value))
				if err := tx.In(families[i%2]).Put(account(i), amount(now+sum), 0); err != nil {
					return err
				}
			}
			padding := make([]byte, random.IntN(2000)) // so that there are flushes
			return tx.In(families[0]).Put(fmt.Appendf(nil, "done/%d", worker), append(amount(n+1), padding...), 0)
		})
		if err != nil {
			t.Error(err)
			return
		}
		done.Store(n + 1)
		if random.IntN(20) == 0 {
			if err := db.Flush(); err != nil {
				t.Error(err)
			}
		}
	}
}

func checkBank(t *testing.T, what string, o Options, c bankCrash) {
	t.Helper()
	db := mustOpen(t, "db", o)
	var sum int64
	for i := range bankAccounts {
		f, err := db.Family([]string{"private", "business"}[i%2])
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		row, ok, err := f.Get(account(i))
		if err != nil || !ok {
			t.Fatalf("%s: account %d: %v, %v", what, i, ok, err)
		}
		sum += int64(binary.BigEndian.Uint64(row.Value))
	}
	if sum != bankAccounts*initial {
		t.Fatalf("%s: there is %d, want %d: half a transaction is there", what, sum, bankAccounts*initial)
	}
	private, err := db.Family("private")
	if err != nil {
		t.Fatal(err)
	}
	for w, want := range c.done {
		row, ok, err := private.Get(fmt.Appendf(nil, "done/%d", w))
		if err != nil {
			t.Fatal(err)
		}
		if o.Log == LogAlways && want > 0 && (!ok || int64(binary.BigEndian.Uint64(row.Value[:8])) < want) {
			t.Fatalf("%s: transfer %d of worker %d was acknowledged and is lost", what, want, w)
		}
	}
	mustClose(t, db)
}
