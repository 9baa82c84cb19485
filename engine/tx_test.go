package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
	"github.com/lightning-db/lightning/internal/vfs"
)

func mustBegin(t testing.TB, db *DB, o TxOptions) *Tx {
	t.Helper()
	tx, err := db.Begin(o)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func mustPut(t testing.TB, tx *Tx, key, value string) {
	t.Helper()
	if err := tx.Put([]byte(key), []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

func expectConflict(t testing.TB, err error, key string) *ConflictError {
	t.Helper()
	var conflict *ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, ErrConflict) || string(conflict.Key) != key {
		t.Fatalf("commit: %v (%+v), want a conflict on %s", err, conflict, key)
	}
	return conflict
}

// TestBankTransfersLoseNothing moves money between accounts, 500 times, from 16 workers: no transfer is lost, none is done
// twice, and nearly all are done within three tries.
func TestBankTransfersLoseNothing(t *testing.T) {
	for _, o := range []Options{{}, {Log: LogAlways}, {Log: LogInterval}} {
		for _, isolation := range []Isolation{SnapshotIsolation, Serializable} {
			for _, accounts := range []int{100, 5} {
				o.FS = vfs.NewMem()
				b := &bank{t: t, db: mustOpen(t, "db", o), accounts: accounts, options: TxOptions{Isolation: isolation}}
				b.run(16, 500)
				mustClose(t, b.db)
			}
		}
	}
}

type bank struct {
	t        *testing.T
	db       *DB
	accounts int
	options  TxOptions

	next  atomic.Int64
	moved [1000]atomic.Int64 // by account
	tries [16]atomic.Int64
}

const initial = 1000

func (b *bank) run(workers, transfers int) {
	apply(b.t, b.db, func(batch *Batch) {
		for i := range b.accounts {
			batch.Put(account(i), amount(initial), 0, 0)
		}
	})
	seed := uint64(testkit.Seed(b.t))
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			for b.next.Add(1) <= int64(transfers) {
				b.transfer(random)
			}
		})
	}
	group.Wait()
	var within int64
	for tries := range b.tries {
		if n := b.tries[tries].Load(); tries <= 3 {
			within += n
		}
	}
	b.t.Logf("engine: bank, log mode %d, isolation %d, %d accounts: %d of %d transfers within three tries, seed %d",
		b.db.options.Log, b.options.Isolation, b.accounts, within, transfers, seed)
	if within < int64(transfers)*99/100 {
		b.t.Fatalf("%d of %d transfers were done within three tries", within, transfers)
	}
	for i := range b.accounts {
		expectValue(b.t, b.db, string(account(i)), string(amount(initial+b.moved[i].Load())))
	}
}

func account(i int) []byte { return fmt.Appendf(nil, "account/%03d", i) }

func amount(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func (b *bank) transfer(random *rand.Rand) {
	from := random.IntN(b.accounts)
	to := (from + 1 + random.IntN(b.accounts-1)) % b.accounts
	sum := int64(random.IntN(10))
	tries := 0
	err := b.db.Update(b.t.Context(), b.options, func(tx *Tx) error {
		tries++
		for _, move := range []struct {
			account int
			sum     int64
		}{{from, -sum}, {to, sum}} {
			row, ok, err := tx.Get(account(move.account))
			if err != nil || !ok {
				return fmt.Errorf("account %d: %v, %w", move.account, ok, err)
			}
			now := int64(binary.BigEndian.Uint64(row.Value))
			runtime.Gosched()
			if err := tx.Put(account(move.account), amount(now+move.sum), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Errorf("transfer: %v", err)
		return
	}
	b.moved[from].Add(-sum)
	b.moved[to].Add(sum)
	b.tries[min(tries, len(b.tries)-1)].Add(1)
}

// TestWriteSkewIsPossibleAndRefusedWhenSerializable has two transactions that each read what the other one writes.
func TestWriteSkewIsPossibleAndRefusedWhenSerializable(t *testing.T) {
	reads := map[string]func(tx *Tx, key string) error{
		"get": func(tx *Tx, key string) error { _, _, err := tx.Get([]byte(key)); return err },
		"walk": func(tx *Tx, _ string) error {
			it := tx.NewIterator(IteratorOptions{Start: []byte("doctor/"), End: []byte("doctor0")})
			for ok := it.First(); ok; ok = it.Next() {
			}
			return it.Close()
		},
		"walk back": func(tx *Tx, _ string) error {
			it := tx.NewIterator(IteratorOptions{Start: []byte("doctor/")})
			for ok := it.Last(); ok; ok = it.Prev() {
			}
			return it.Close()
		},
		"update": func(tx *Tx, key string) error { _, _, err := tx.GetForUpdate([]byte(key)); return err },
	}
	for name, read := range reads {
		for _, isolation := range []Isolation{SnapshotIsolation, Serializable} {
			db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
			if name != "get" { // otherwise absent keys
				apply(t, db, func(b *Batch) { b.Put([]byte("doctor/a"), nil, 0, 0); b.Put([]byte("doctor/b"), nil, 0, 0) })
			}
			one, two := mustBegin(t, db, TxOptions{Isolation: isolation}), mustBegin(t, db, TxOptions{Isolation: isolation})
			if err := errors.Join(read(one, "doctor/b"), read(two, "doctor/a")); err != nil {
				t.Fatal(err)
			}
			mustPut(t, one, "doctor/a", "off")
			mustPut(t, two, "doctor/b", "off")
			if err := one.Commit(); err != nil {
				t.Fatal(err)
			}
			err := two.Commit()
			if isolation == SnapshotIsolation && name != "update" {
				if err != nil {
					t.Fatalf("%s: write skew is refused at snapshot isolation: %v", name, err)
				}
			} else if c := expectConflict(t, err, "doctor/a"); c.Written || c.Range != (name[0] == 'w') {
				t.Fatalf("%s: %+v", name, c)
			}
			mustClose(t, db)
		}
	}
}

// TestAWalkOverKeysOfATransactionShowsNoValues, neither the store's nor its own.
func TestAWalkOverKeysOfATransactionShowsNoValues(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
	apply(t, db, func(b *Batch) {
		for _, key := range []string{"a", "b", "c"} {
			b.Put([]byte(key), []byte("stored"), 0, 0)
		}
	})
	tx := mustBegin(t, db, TxOptions{})
	mustPut(t, tx, "b", "own")
	mustPut(t, tx, "d", "own")
	it := tx.NewIterator(IteratorOptions{KeysOnly: true})
	var there, back string
	for ok := it.First(); ok; ok = it.Next() {
		there += string(it.Row().Key) + string(it.Row().Value)
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		back += string(it.Row().Key) + string(it.Row().Value)
	}
	if there != "abcd" || back != "dcba" {
		t.Errorf("the walks show %q and %q", there, back)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	tx.Rollback()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestPhantomsAreConflictsOfWhatWasWalkedOnly inserts rows beside and into what a serializable transaction walked over, in
// memory and in tables.
func TestPhantomsAreConflictsOfWhatWasWalkedOnly(t *testing.T) {
	walks := map[string]func(it *TxIterator){
		"all there is from b to d": func(it *TxIterator) {
			for ok := it.SeekGE([]byte("b")); ok && string(it.Row().Key) < "d"; ok = it.Next() {
			}
		},
		"back from d1 to b": func(it *TxIterator) {
			for ok := it.SeekLT([]byte("d\x00")); ok && string(it.Row().Key) > "b"; ok = it.Prev() {
			}
		},
		"d, c, b, c": func(it *TxIterator) { it.SeekGE([]byte("d")); it.Prev(); it.Prev(); it.Next() },
	}
	for name, walk := range walks {
		for inserted, conflicts := range map[string]bool{"a5": false, "b": true, "b5": true, "c5": true, "d": true, "d5": false} {
			for _, flush := range []bool{false, true} {
				db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
				apply(t, db, func(b *Batch) {
					for _, key := range []string{"a", "b", "c", "d", "e"} {
						b.Put([]byte(key), nil, 0, 0)
					}
				})
				tx := mustBegin(t, db, TxOptions{Isolation: Serializable})
				it := tx.NewIterator(IteratorOptions{})
				walk(it)
				if err := it.Close(); err != nil {
					t.Fatal(err)
				}
				apply(t, db, func(b *Batch) { b.Put([]byte(inserted), nil, 0, 0) })
				if flush {
					if err := db.Compact(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				mustPut(t, tx, "z", "")
				if err := tx.Commit(); errors.Is(err, ErrConflict) != conflicts {
					t.Fatalf("%s, then %s is inserted (flushed: %v): %v", name, inserted, flush, err)
				}
				mustClose(t, db)
			}
		}
	}
}

// TestABatchThatWaitsForTheLogIsAConflict commits while an earlier batch with the same key is staged and not visible.
func TestABatchThatWaitsForTheLogIsAConflict(t *testing.T) {
	fs := vfs.NewMem()
	db := mustOpen(t, "db", Options{FS: fs, Log: LogAlways})
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), []byte("0"), 0, 0) })
	tx := mustBegin(t, db, TxOptions{})
	mustPut(t, tx, "k", "tx")
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	fs.OnCall(func(op vfs.Op, _ string) {
		if op == vfs.OpSync {
			once.Do(func() {
				close(reached)
				<-release
			})
		}
	})
	first := make(chan error)
	go func() {
		b := db.NewBatch()
		b.Put([]byte("k"), []byte("1"), 0, 0)
		first <- db.Apply(b)
	}()
	<-reached // the batch is in memory and in the log's file, and its sync has begun
	late := mustBegin(t, db, TxOptions{})
	mustPut(t, late, "k", "late")
	expectValue(t, db, "k", "0")
	results := make(chan error, 2) // were there no conflict, the commits would wait for the sync
	go func() { results <- tx.Commit() }()
	go func() { results <- late.Commit() }()
	if !db.refusesBoth(results) {
		close(release)
		t.Fatal("a commit does not see that a staged batch has its key")
	}
	close(release)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	fs.OnCall(nil)
	expectValue(t, db, "k", "1")
	mustClose(t, db)
}

// refusesBoth tells whether both commits end in a conflict. One that has none is taken, and waits for the log.
func (db *DB) refusesBoth(results chan error) bool {
	batches := func() uint64 {
		db.write.Lock()
		defer db.write.Unlock()
		return db.write.last.batch
	}
	before := batches()
	for refused := 0; refused < 2; runtime.Gosched() {
		select {
		case err := <-results:
			if !errors.Is(err, ErrConflict) {
				return false
			}
			refused++
		default:
			if batches() != before {
				return false
			}
		}
	}
	return true
}

// TestATransactionSeesTheStoreAsItWasAndItsOwnWrites compares random reads, walks and writes with a map, while others write.
func TestATransactionSeesTheStoreAsItWasAndItsOwnWrites(t *testing.T) {
	seed := testkit.Seed(t)
	for sub := range int64(40) {
		r := &txRun{t: t, random: testkit.NewRand(seed + sub), what: fmt.Sprintf("seed %d", seed+sub)}
		r.db = mustOpen(t, "db", small(vfs.NewMem()))
		r.present = map[string]string{}
		for range 5 {
			r.transaction()
		}
		mustClose(t, r.db)
	}
}

type txRun struct {
	t       *testing.T
	what    string
	random  *rand.Rand
	db      *DB
	present map[string]string // what is committed
	seen    map[string]string // by the transaction
}

func (r *txRun) key() string { return fmt.Sprintf("k%02d", r.random.IntN(40)) }

// other writes something that the transaction must not see, into a key of its own where the transaction commits.
func (r *txRun) other(prefix string) {
	key, value := prefix+r.key(), fmt.Sprint(r.random.Uint32())
	apply(r.t, r.db, func(b *Batch) { b.Put([]byte(key), []byte(value), 0, 0) })
	r.present[key] = value
	if r.random.IntN(4) == 0 {
		if err := r.db.Flush(); err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *txRun) transaction() {
	for range r.random.IntN(30) {
		r.other("")
	}
	tx := mustBegin(r.t, r.db, TxOptions{Isolation: Isolation(r.random.IntN(2))})
	r.seen = map[string]string{}
	for k, v := range r.present {
		r.seen[k] = v
	}
	written := map[string]bool{}
	for range r.random.IntN(60) {
		switch key := r.key(); r.random.IntN(8) {
		case 0, 1, 2:
			value := fmt.Sprint("tx", r.random.Uint32())
			mustPut(r.t, tx, key, value)
			r.seen[key], written[key] = value, true
		case 3:
			if err := tx.Delete([]byte(key)); err != nil {
				r.t.Fatal(err)
			}
			delete(r.seen, key)
			written[key] = true
		case 4:
			row, ok, err := tx.Get([]byte(key))
			if want, there := r.seen[key]; err != nil || ok != there || string(row.Value) != want {
				r.t.Fatalf("%s: %s is %q %v %v, want %q", r.what, key, row.Value, ok, err, want)
			}
		case 5:
			r.other("~") // behind all that the transaction uses
		default:
			r.walk(tx, written)
		}
	}
	if r.random.IntN(3) == 0 {
		tx.Rollback()
	} else if err := tx.Commit(); err == nil {
		for key := range written {
			delete(r.present, key)
			if value, ok := r.seen[key]; ok {
				r.present[key] = value
			}
		}
	} else if c, ok := err.(*ConflictError); !ok || c.Key[0] != '~' { // a walk may reach what others write
		r.t.Fatalf("%s: commit: %v", r.what, err)
	}
	for key, want := range r.present {
		expectValue(r.t, r.db, key, want)
	}
}

// walk makes random moves, and writes between them.
func (r *txRun) walk(tx *Tx, written map[string]bool) {
	var o IteratorOptions
	if r.random.IntN(2) == 0 {
		o.Start = []byte(r.key())
	}
	if r.random.IntN(2) == 0 {
		o.End = []byte(r.key())
	}
	it := tx.NewIterator(o)
	defer it.Close()
	for range 20 {
		list := []string{}
		for k := range r.seen {
			if k >= string(o.Start) && (o.End == nil || k < string(o.End)) {
				list = append(list, k)
			}
		}
		slices.Sort(list)
		key, at, ok := r.key(), -1, false
		if it.Valid() {
			at = sort.SearchStrings(list, string(it.Row().Key))
			key = string(it.Row().Key)
		}
		switch n := r.random.IntN(8); {
		case n == 0:
			at, ok = 0, it.First()
		case n == 1:
			at, ok = len(list)-1, it.Last()
		case n == 2:
			key = r.key()
			at, ok = sort.SearchStrings(list, key), it.SeekGE([]byte(key))
		case n == 3:
			key = r.key()
			at, ok = sort.SearchStrings(list, key)-1, it.SeekLT([]byte(key))
		case n == 4: // also the current key
			mustPut(r.t, tx, key, "walk")
			r.seen[key], written[key] = "walk", true
			continue
		case n == 5:
			if err := tx.Delete([]byte(key)); err != nil {
				r.t.Fatal(err)
			}
			delete(r.seen, key)
			written[key] = true
			continue
		case at < 0:
			continue
		case n == 6:
			if at < len(list) && list[at] == key {
				at++
			}
			ok = it.Next()
		default:
			at, ok = at-1, it.Prev()
		}
		want := at >= 0 && at < len(list)
		if ok != want || it.Err() != nil || ok && (string(it.Row().Key) != list[at] || string(it.Row().Value) != r.seen[list[at]]) {
			r.t.Fatalf("%s: at %q %v, want %d of %q; %v", r.what, it.Row().Key, ok, at, list, it.Err())
		}
	}
}

func TestTenThousandOpenTransactionsCostAFewHundredBytesEach(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
	apply(t, db, func(b *Batch) { b.Put([]byte("k"), bytes.Repeat([]byte("v"), 100), 0, 0) })
	const count = 10_000
	goroutines := runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	open := make([]*Tx, count)
	for i := range open {
		open[i] = mustBegin(t, db, TxOptions{})
		if i%100 == 0 {
			apply(t, db, func(b *Batch) { b.Put([]byte("k"), fmt.Append(nil, i), 0, 0) })
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / count
	t.Logf("engine: %d open transactions take %d bytes each", count, each)
	if each > 512 || runtime.NumGoroutine() > goroutines {
		t.Fatalf("an open transaction takes %d bytes, and %d goroutines more run", each, runtime.NumGoroutine()-goroutines)
	}
	for i, tx := range open {
		row, ok, err := tx.Get([]byte("k"))
		want := string(bytes.Repeat([]byte("v"), 100))
		if i > 0 {
			want = fmt.Sprint((i - 1) / 100 * 100)
		}
		if err != nil || !ok || string(row.Value) != want {
			t.Fatalf("transaction %d sees %q %v %v, want %q", i, row.Value, ok, err, want)
		}
		tx.Rollback()
	}
	if n := db.snapshots.count(); n != 0 {
		t.Fatalf("%d snapshots are left", n)
	}
	mustClose(t, db)
}

func TestATransactionIsBoundedAndEndsOnce(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
	for _, o := range []TxOptions{{Isolation: 2}, {MaxBytes: 1}, {MaxBytes: MaxBatchBytes + 1}, {MaxTries: -1}} {
		if tx, err := db.Begin(o); err == nil || tx != nil || db.Update(t.Context(), o, nil) == nil {
			t.Fatalf("%+v is taken", o)
		}
	}
	tx := mustBegin(t, db, TxOptions{MaxBytes: 1 << 10, Isolation: Serializable})
	for i := range 100 {
		if _, _, err := tx.Get(fmt.Appendf(nil, "key%d", i)); err != nil && !errors.Is(err, ErrTooLarge) {
			t.Fatal(err)
		}
	}
	if _, _, err := tx.Get([]byte("one more")); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a read beyond the bound: %v", err)
	}
	tx.Rollback()
	tx = mustBegin(t, db, TxOptions{MaxBytes: 1 << 10})
	mustPut(t, tx, "a", "b")
	if err := tx.Put([]byte("k"), make([]byte, 2<<10), 0); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a write beyond the bound: %v", err)
	}
	if err := tx.Commit(); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("a transaction commits without one of its writes: %v", err)
	}
	expectAbsent(t, db, "a")
	it := tx.NewIterator(IteratorOptions{})
	_, _, err := tx.Get([]byte("a"))
	for _, err := range []error{err, tx.Put([]byte("k"), nil, 0), tx.Commit(), tx.Delete([]byte("k")), it.Close()} {
		if !errors.Is(err, ErrTxDone) {
			t.Fatalf("after its end: %v", err)
		}
	}
	tx.Rollback()
	mustClose(t, db)
	if _, err := db.Begin(TxOptions{}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), TxOptions{}, func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

// TestUpdateTriesAgainOnlyItsOwnConflicts counts the tries of functions that fail, panic, and lose against a writer that is not
// a transaction.
func TestUpdateTriesAgainOnlyItsOwnConflicts(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
	tries, mine := 0, errors.New("mine")
	if err := db.Update(t.Context(), TxOptions{}, func(tx *Tx) error { tries++; return mine }); err != mine || tries != 1 {
		t.Fatalf("%v after %d tries", err, tries)
	}
	func() {
		defer func() { _ = recover() }()
		_ = db.Update(t.Context(), TxOptions{}, func(tx *Tx) error { panic("mine") })
	}()
	tries = 0
	err := db.Update(t.Context(), TxOptions{MaxTries: 4}, func(tx *Tx) error {
		tries++
		apply(t, db, func(b *Batch) { b.Put([]byte("k"), nil, 0, 0) })
		return tx.Put([]byte("k"), nil, 0)
	})
	if expectConflict(t, err, "k"); tries != 4 {
		t.Fatalf("%d tries", tries)
	}
	if db.write.setAside != nil || len(db.retry) != 0 || db.snapshots.count() != 0 {
		t.Fatal("something is left")
	}
	mustClose(t, db)
}

// TestWhoeverLostIsNotOvertaken has a transaction lose, and others try to be faster again.
func TestWhoeverLostIsNotOvertaken(t *testing.T) {
	db := mustOpen(t, "db", Options{FS: vfs.NewMem()})
	tries := 0
	err := db.Update(t.Context(), TxOptions{Isolation: Serializable}, func(tx *Tx) error {
		tries++
		if _, _, err := tx.Get([]byte("read")); err != nil {
			return err
		}
		for _, key := range []string{"read", "written"} {
			other := mustBegin(t, db, TxOptions{})
			mustPut(t, other, key, "other")
			if err := other.Commit(); (err == nil) != (tries == 1) {
				t.Errorf("try %d: another commit on %s: %v", tries, key, err)
			}
		}
		return tx.Put([]byte("written"), []byte("mine"), 0)
	})
	if err != nil || tries != 2 {
		t.Fatalf("%v after %d tries", err, tries)
	}
	expectValue(t, db, "written", "mine")
	mustClose(t, db)
}
