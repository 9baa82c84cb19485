package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lightning-db/lightning/engine/internal/record"
	"github.com/lightning-db/lightning/engine/internal/txn"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/entropy"
)

// Isolation says which other transactions make a commit fail.
type Isolation uint8

// The levels of isolation.
const (
	// SnapshotIsolation lets a transaction commit if nobody has committed a write to a key that it wrote, or read with
	// GetForUpdate, since it began. No update is lost. Two transactions may each read what the other one writes, and both
	// commit: write skew.
	SnapshotIsolation Isolation = iota
	// Serializable also checks every key that was read, there or not, and every range that was walked. Transactions of this
	// level, among themselves, do what they would do one after another in the order of their commits.
	Serializable
)

// TxOptions are the settings of one transaction. The zero value is usable.
type TxOptions struct {
	// Isolation is SnapshotIsolation by default: only writes are checked, so reads cost what they cost outside.
	Isolation Isolation

	// MaxBytes bounds what the transaction remembers: keys and values that it writes, and keys and ranges that are checked
	// at the commit. Beyond it writes and reads fail with ErrTooLarge. Default 64 MiB, half of what a batch may have.
	// Bounds 1 KiB to MaxBatchBytes.
	MaxBytes int

	// MaxTries is how often Update runs a transaction that conflicts. Default 10: from the second try on nobody overtakes it on
	// the keys that it used before, so more than three mean that it looks at other keys each time. Bounds 1 to 1,000.
	MaxTries int
}

func (o TxOptions) withDefaults() TxOptions {
	setDefault(&o.MaxBytes, 64<<20)
	setDefault(&o.MaxTries, 10)
	return o
}

// Validate reports every setting that is out of its bounds.
func (o TxOptions) Validate() error {
	o = o.withDefaults()
	return errors.Join(
		within("Isolation", int(o.Isolation), int(SnapshotIsolation), int(Serializable)),
		within("MaxBytes", o.MaxBytes, 1<<10, MaxBatchBytes),
		within("MaxTries", o.MaxTries, 1, 1000),
	)
}

// Errors of transactions.
var (
	// ErrConflict is matched by every ConflictError.
	ErrConflict = errors.New("transaction conflicts with another one")
	// ErrTxDone is returned by every call of a transaction, and of its iterators, after Commit or Rollback.
	ErrTxDone = errors.New("transaction has ended")
)

// ConflictError is returned by Commit when another one has committed what this transaction depends on. Nothing was written:
// begin again. It matches ErrConflict.
type ConflictError struct {
	// Key is one on which they conflict.
	Key []byte
	// Start and End are the range that was walked, if that is where the key was seen missing or otherwise, or that was deleted; nil for
	// no bound.
	Start, End []byte
	// Range says that Start and End count.
	Range bool
	// Written says that this transaction wrote the key, too, or deleted the range. Otherwise it has read it.
	Written bool
}

// Error implements error. Keys are not in the text, which may go into logs.
func (e *ConflictError) Error() string {
	what := "a key that it read"
	switch {
	case e.Range && e.Written:
		what = "a range that it deleted"
	case e.Range:
		what = "a range that it walked over"
	case e.Written:
		what = "a key that it wrote"
	}
	return fmt.Sprintf("transaction conflicts with another one on %s, begin again", what)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Tx is a transaction: reads see the store as it was when it began, and its own writes, which nobody else sees before
// Commit. Nothing is locked: Commit finds out whether others were faster. It keeps the rows that it may read from being
// dropped, as a Snapshot does, until it ends. It is for one goroutine.
type Tx struct {
	db       *DB
	options  TxOptions
	snapshot Snapshot
	buffers  *txn.Buffers // nil while there is nothing to remember
	err      error        // the first error of a write: the transaction cannot commit
	families []*Family    // that it wrote to
	done     bool
	since    uint64 // up to this sequence there is no conflict
	head     bool   // what is set aside is for this one
}

// Begin begins a transaction, to be ended by Commit or Rollback. An open one costs a few hundred bytes.
func (db *DB) Begin(o TxOptions) (*Tx, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if db.view.Load() == nil {
		return nil, ErrClosed
	}
	return db.begin(o.withDefaults()), nil
}

func (db *DB) begin(o TxOptions) *Tx {
	t := &Tx{db: db, options: o}
	t.snapshot.db, t.snapshot.applied = db, db.snapshots.open(&db.applied)
	return t
}

// Position is the position of the last batch that the transaction sees.
func (t *Tx) Position() Position { return t.snapshot.Position() }

// Get reads the newest row of a key, as the transaction sees it. The row's bytes are read-only and stay good. A row that the
// transaction has written itself has Version 0.
func (t *Tx) Get(key []byte) (Row, bool, error) {
	return t.get(key, t.options.Isolation == Serializable)
}

// GetForUpdate is Get, and makes Commit fail if anybody else has committed a write to the key by then, although this
// transaction does not write it.
func (t *Tx) GetForUpdate(key []byte) (Row, bool, error) { return t.get(key, true) }

// GetInto is Get into memory of the caller's, as DB.GetInto: the row's value is dst[:0] with the value appended, and its key is
// key itself.
func (t *Tx) GetInto(dst, key []byte) (Row, bool, error) {
	if w, own, err := t.look(key, t.options.Isolation == Serializable); own || err != nil {
		row, ok := t.ownRow(w)
		row.Key, row.Value = key, append(dst[:0], row.Value...)
		return row, ok && err == nil, err
	}
	return t.snapshot.GetInto(dst, key, MaxVersion)
}

func (t *Tx) get(key []byte, checked bool) (Row, bool, error) {
	if w, own, err := t.look(key, checked); own || err != nil {
		row, ok := t.ownRow(w)
		row.Key, row.Value = append([]byte{}, row.Key...), append([]byte{}, row.Value...)
		return row, ok && err == nil, err
	}
	return t.snapshot.Get(key, MaxVersion)
}

// look gives the transaction's own write of a key, if there is one. Otherwise it notes the read if it is to be checked.
func (t *Tx) look(key []byte, checked bool) (w txn.Write, own bool, err error) {
	if t.done {
		return w, false, ErrTxDone
	}
	if t.buffers != nil {
		if w, own = t.buffers.Writes.Get(key); own {
			return w, true, nil
		}
		if t.buffers.Deleted.Len() > 0 && t.buffers.Deleted.Covering(key) != nil {
			return txn.Write{Kind: record.Delete}, true, nil
		}
	}
	if checked {
		t.remember().Reads.Add(key)
		err = t.checkSize(0)
	}
	return w, false, err
}

// ownRow is what a write of the transaction shows.
func (t *Tx) ownRow(w txn.Write) (Row, bool) {
	if w.Kind == record.Delete || t.db.expired(w.Expiry) {
		return Row{}, false
	}
	return Row{Key: w.Key, Value: w.Value, ExpiryMillis: w.Expiry}, true
}

// remember gives the buffers.
func (t *Tx) remember() *txn.Buffers {
	if t.buffers == nil {
		t.buffers = txn.Get()
	}
	return t.buffers
}

// checkSize refuses what would make the transaction remember too much.
func (t *Tx) checkSize(more int) error {
	if t.buffers == nil || t.buffers.Bytes()+more <= t.options.MaxBytes {
		return nil
	}
	return fmt.Errorf("transaction of more than %d bytes, write and read less in one or raise TxOptions.MaxBytes: %w", t.options.MaxBytes, ErrTooLarge)
}

// Put sets a key. Key and value are copied. An expiry of zero means never, as in Batch.Put. After an error of Put or
// Delete the transaction cannot commit: Commit returns it again.
func (t *Tx) Put(key, value []byte, expiryMillis uint64) error {
	if err := t.checkRaw(); err != nil {
		return err
	}
	return t.write(record.Put, key, value, expiryMillis)
}

// checkRaw refuses a key without a family in a store that has some.
func (t *Tx) checkRaw() error {
	if t.db.options.Families {
		return fmt.Errorf("key without a column family, use Tx.In: %w", ErrFamilies)
	}
	return nil
}

// PutTTL is Put of a row that lives for so long from now on. It needs Options.Clock.
func (t *Tx) PutTTL(key, value []byte, ttl time.Duration) error {
	expiry, err := t.db.ExpiresIn(ttl)
	if err != nil {
		return err
	}
	return t.Put(key, value, expiry)
}

// Delete makes a key absent.
func (t *Tx) Delete(key []byte) error {
	if err := t.checkRaw(); err != nil {
		return err
	}
	return t.write(record.Delete, key, nil, 0)
}

// DeleteRange makes every key from start up to end, which is excluded, absent, as Batch.DeleteRange does. At every level of isolation the
// commit fails if anybody else has written or deleted a key of the range since the transaction began.
func (t *Tx) DeleteRange(start, end []byte) error {
	if err := t.checkRaw(); err != nil {
		return err
	}
	return t.deleteRange(start, end)
}

func (t *Tx) deleteRange(start, end []byte) error {
	if t.done {
		return ErrTxDone
	}
	if t.err != nil {
		return t.err
	}
	if t.err = checkRange(start, end); t.err == nil {
		t.err = t.checkSize(len(start) + len(end))
	}
	if t.err == nil {
		t.remember().DeleteRange(start, end)
	}
	return t.err
}

func (t *Tx) write(kind record.Kind, key, value []byte, expiryMillis uint64) error {
	if t.done {
		return ErrTxDone
	}
	if t.err != nil {
		return t.err
	}
	err := checkRow(key, value)
	if err == nil {
		err = t.checkSize(len(key) + len(value))
	}
	if err != nil {
		t.err = err
		return err
	}
	t.remember().Writes.Set(kind, key, value, expiryMillis)
	return nil
}

// Rollback ends the transaction without a trace. After Commit it does nothing, so that it can be deferred.
func (t *Tx) Rollback() {
	if !t.done {
		t.end()
	}
}

// end gives back what the transaction holds.
func (t *Tx) end() {
	t.done = true
	t.snapshot.Close()
	if t.buffers != nil {
		txn.Put(t.buffers)
		t.buffers = nil
	}
}

// Update runs a function in a transaction and commits it. When the commit conflicts, all of it runs again, up to
// TxOptions.MaxTries times; then the ConflictError is returned. An error of the function rolls the transaction back and is
// returned as it is. The function must not use the transaction after it has returned, and must not commit or end it.
//
// A transaction that lost once stands in line: one at a time tries again, and while it does, no other transaction
// commits on the keys that it used before. So under contention every try is somebody's success. A function
// that waits for another Update of the same store may wait for itself; after a second it goes on without the line.
func (db *DB) Update(ctx context.Context, o TxOptions, do func(*Tx) error) error {
	if err := o.Validate(); err != nil {
		return err
	}
	o = o.withDefaults()
	var line retryLine
	defer func() { line.leave(db) }()
	for try := 1; ; try++ {
		if db.view.Load() == nil {
			return ErrClosed
		}
		t := db.begin(o)
		t.head = line.head
		err := t.run(do)
		var conflict *ConflictError
		if !t.lost(err, &conflict) || try == o.MaxTries {
			t.Rollback()
			return err
		}
		err = line.stand(ctx, db, t)
		t.Rollback()
		if err != nil {
			return err
		}
	}
}

// run calls the function and commits. After a conflict the transaction keeps what it remembers.
func (t *Tx) run(do func(*Tx) error) error {
	defer func() {
		if p := recover(); p != nil {
			t.Rollback()
			panic(p)
		}
	}()
	if err := do(t); err != nil {
		t.Rollback()
		return err
	}
	if t.done {
		return ErrTxDone
	}
	err := t.commit()
	if !errors.Is(err, ErrConflict) {
		t.Rollback()
	}
	return err
}

// lost reports whether it was the transaction itself that conflicted, and not what the function did otherwise.
func (t *Tx) lost(err error, conflict **ConflictError) bool {
	return !t.done && errors.As(err, conflict)
}

// lineLimit is how long a transaction waits for its turn in the line, with some jitter: far longer than one try takes.
const lineLimit = time.Second

// retryLine is where transactions stand that lost. The one at its head has its keys for itself.
type retryLine struct{ head bool }

// stand waits for the head of the line, sets aside what the transaction used, and waits until that is visible which the
// transaction conflicted with: a try that begins earlier would conflict again.
func (l *retryLine) stand(ctx context.Context, db *DB, t *Tx) error {
	if !l.head {
		if err := l.wait(ctx, db); err != nil {
			return err
		}
	}
	db.write.Lock()
	if l.head {
		db.write.setAside = t.buffers.Used()
	}
	number := db.write.last.batch
	db.write.Unlock()
	if db.log == nil {
		return ctx.Err()
	}
	if db.applied.Load().batch < number {
		if err := db.logFailure(db.log.Commit(number, &wal.Waiter{})); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (l *retryLine) wait(ctx context.Context, db *DB) error {
	bits, err := entropy.System().Uint64()
	if err != nil {
		return err
	}
	timer := time.NewTimer(lineLimit + time.Duration(bits%uint64(lineLimit/4)))
	defer timer.Stop()
	select {
	case db.retry <- struct{}{}:
		l.head = true
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// leave lets the next one to the head.
func (l *retryLine) leave(db *DB) {
	if !l.head {
		return
	}
	db.write.Lock()
	db.write.setAside = nil
	db.write.Unlock()
	<-db.retry
}
