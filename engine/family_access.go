package engine

import (
	"fmt"
	"slices"
	"time"

	"github.com/lightning-db/lightning/engine/internal/family"
	"github.com/lightning-db/lightning/engine/internal/record"
)

// appendKey makes the store's key of a key of the family.
func (f *Family) appendKey(buf, key []byte) []byte { return append(append(buf, f.prefix...), key...) }

// checkKey refuses a key that Get and Put may not have.
func (f *Family) checkKey(db *DB, key []byte) error {
	if len(key) == 0 {
		return fmt.Errorf("empty key, must be 1 to %d bytes: %w", MaxKeyBytes-len(f.prefix), ErrTooLarge)
	}
	return f.check(db)
}

// expiry is that of a row that is put with one, or without.
func (f *Family) expiry(expiryMillis uint64) (uint64, error) {
	if expiryMillis != 0 || f.options.TTL == 0 {
		return expiryMillis, nil
	}
	return f.db.ExpiresIn(f.options.TTL)
}

// own gives a row as the family's users know it.
func (f *Family) own(row Row, ok bool, err error) (Row, bool, error) {
	if ok {
		row.Key = row.Key[len(f.prefix):]
	}
	return row, ok, err
}

// bounds are those of an iterator in the store.
func (f *Family) bounds(o IteratorOptions) IteratorOptions {
	o.Start = f.appendKey(nil, o.Start)
	if o.End != nil {
		o.End = f.appendKey(nil, o.End)
	} else {
		o.End = family.End(f.prefix)
	}
	return o
}

// Get reads the newest row of a key of the family, as DB.Get.
func (f *Family) Get(key []byte) (Row, bool, error) {
	if err := f.checkKey(f.db, key); err != nil {
		return Row{}, false, err
	}
	var buf [64]byte
	return f.own(f.db.Get(f.appendKey(buf[:0], key), MaxVersion))
}

// GetInto is Get into memory of the caller's, as DB.GetInto. The row's key is not the caller's.
func (f *Family) GetInto(dst, key []byte) (Row, bool, error) {
	if err := f.checkKey(f.db, key); err != nil {
		return Row{}, false, err
	}
	var buf [64]byte
	return f.own(f.db.GetInto(dst, f.appendKey(buf[:0], key), MaxVersion))
}

// FamilyBatch puts rows of one family into a batch, which may have those of several.
type FamilyBatch struct {
	b *Batch
	f *Family
}

// In gives the batch as seen by a family.
func (b *Batch) In(f *Family) FamilyBatch { return FamilyBatch{b, f} }

// Put sets a key, as Batch.Put does with version 0. Without an expiry the family's time to live counts.
func (b FamilyBatch) Put(key, value []byte, expiryMillis uint64) {
	expiryMillis, err := b.f.expiry(expiryMillis)
	b.add(record.Put, key, value, expiryMillis, err)
}

// PutTTL is Put of a row that lives for so long from now on.
func (b FamilyBatch) PutTTL(key, value []byte, ttl time.Duration) {
	expiryMillis, err := b.f.db.ExpiresIn(ttl)
	b.add(record.Put, key, value, expiryMillis, err)
}

// Delete makes a key absent.
func (b FamilyBatch) Delete(key []byte) { b.add(record.Delete, key, nil, 0, nil) }

// DeleteRange makes every key of the family from start up to end absent, as Batch.DeleteRange does with version 0. A nil end is the end of
// the family.
func (b FamilyBatch) DeleteRange(start, end []byte) {
	if err := b.f.check(b.f.db); err != nil {
		if b.b.err == nil {
			b.b.err = err
		}
		return
	}
	b.b.families = addFamily(b.b.families, b.f)
	o := b.f.bounds(IteratorOptions{Start: start, End: end})
	b.b.addRange(o.Start, o.End, 0)
}

func (b FamilyBatch) add(kind record.Kind, key, value []byte, expiryMillis uint64, err error) {
	if err == nil {
		err = b.f.checkKey(b.f.db, key)
	}
	if err != nil {
		if b.b.err == nil {
			b.b.err = err
		}
		return
	}
	b.b.families = addFamily(b.b.families, b.f)
	var buf [64]byte
	b.b.add(kind, b.f.appendKey(buf[:0], key), value, 0, expiryMillis)
}

// addFamily notes that rows of a family are written. There are few of them.
func addFamily(list []*Family, f *Family) []*Family {
	if slices.Contains(list, f) {
		return list
	}
	return append(list, f)
}

// FamilySnapshot is a family as a snapshot sees it.
type FamilySnapshot struct {
	s *Snapshot
	f *Family
}

// In gives what the snapshot sees of a family.
func (s *Snapshot) In(f *Family) FamilySnapshot { return FamilySnapshot{s, f} }

// Get is as Family.Get, of what the snapshot sees.
func (s FamilySnapshot) Get(key []byte) (Row, bool, error) {
	if err := s.f.checkKey(s.s.db, key); err != nil {
		return Row{}, false, err
	}
	var buf [64]byte
	return s.f.own(s.s.Get(s.f.appendKey(buf[:0], key), MaxVersion))
}

// NewIterator makes an iterator over the rows of the family, to be closed.
func (s FamilySnapshot) NewIterator(o IteratorOptions) *FamilyIterator {
	it := &FamilyIterator{f: s.f}
	if err := s.f.check(s.s.db); err != nil {
		it.Iterator = &Iterator{err: err}
		return it
	}
	if s.f.options.NewestOnly && o.At != 0 && o.At < s.s.applied.version {
		it.Iterator = &Iterator{err: ErrSnapshotTooOld}
		return it
	}
	it.Iterator = s.s.NewIterator(s.f.bounds(o))
	return it
}

// FamilyIterator is an Iterator with the keys of a family.
type FamilyIterator struct {
	*Iterator
	f    *Family
	seek []byte
}

// SeekGE is as Iterator.SeekGE.
func (it *FamilyIterator) SeekGE(key []byte) bool {
	it.seek = it.f.appendKey(it.seek[:0], key)
	return it.Iterator.SeekGE(it.seek)
}

// SeekLT is as Iterator.SeekLT.
func (it *FamilyIterator) SeekLT(key []byte) bool {
	it.seek = it.f.appendKey(it.seek[:0], key)
	return it.Iterator.SeekLT(it.seek)
}

// Row is as Iterator.Row.
func (it *FamilyIterator) Row() Row {
	row, _, _ := it.f.own(it.Iterator.Row(), it.Valid(), nil)
	return row
}

// FamilyTx is a family as a transaction sees it. A transaction may use several.
type FamilyTx struct {
	t *Tx
	f *Family
}

// In gives what the transaction sees of a family.
func (t *Tx) In(f *Family) FamilyTx { return FamilyTx{t, f} }

// Get is as Tx.Get.
func (t FamilyTx) Get(key []byte) (Row, bool, error) {
	return t.get(key, t.t.options.Isolation == Serializable)
}

// GetForUpdate is as Tx.GetForUpdate.
func (t FamilyTx) GetForUpdate(key []byte) (Row, bool, error) { return t.get(key, true) }

func (t FamilyTx) get(key []byte, checked bool) (Row, bool, error) {
	if err := t.f.checkKey(t.t.db, key); err != nil {
		return Row{}, false, err
	}
	var buf [64]byte
	return t.f.own(t.t.get(t.f.appendKey(buf[:0], key), checked))
}

// Put is as Tx.Put. Without an expiry the family's time to live counts.
func (t FamilyTx) Put(key, value []byte, expiryMillis uint64) error {
	expiryMillis, err := t.f.expiry(expiryMillis)
	if err != nil {
		return err
	}
	return t.write(record.Put, key, value, expiryMillis)
}

// PutTTL is as Tx.PutTTL.
func (t FamilyTx) PutTTL(key, value []byte, ttl time.Duration) error {
	expiryMillis, err := t.t.db.ExpiresIn(ttl)
	if err != nil {
		return err
	}
	return t.write(record.Put, key, value, expiryMillis)
}

// Delete is as Tx.Delete.
func (t FamilyTx) Delete(key []byte) error { return t.write(record.Delete, key, nil, 0) }

// DeleteRange is as Tx.DeleteRange. A nil end is the end of the family.
func (t FamilyTx) DeleteRange(start, end []byte) error {
	if err := t.f.check(t.t.db); err != nil {
		return err
	}
	t.t.families = addFamily(t.t.families, t.f)
	o := t.f.bounds(IteratorOptions{Start: start, End: end})
	return t.t.deleteRange(o.Start, o.End)
}

func (t FamilyTx) write(kind record.Kind, key, value []byte, expiryMillis uint64) error {
	if err := t.f.checkKey(t.t.db, key); err != nil {
		return err
	}
	t.t.families = addFamily(t.t.families, t.f)
	var buf [64]byte
	return t.t.write(kind, t.f.appendKey(buf[:0], key), value, expiryMillis)
}

// NewIterator makes an iterator over what the transaction sees of the family, to be closed.
func (t FamilyTx) NewIterator(o IteratorOptions) *FamilyTxIterator {
	it := &FamilyTxIterator{f: t.f}
	if err := t.f.check(t.t.db); err != nil {
		it.TxIterator = &TxIterator{tx: t.t, err: err}
		return it
	}
	it.TxIterator = t.t.NewIterator(t.f.bounds(o))
	return it
}

// FamilyTxIterator is a TxIterator with the keys of a family.
type FamilyTxIterator struct {
	*TxIterator
	f    *Family
	seek []byte
}

// SeekGE is as TxIterator.SeekGE.
func (it *FamilyTxIterator) SeekGE(key []byte) bool {
	it.seek = it.f.appendKey(it.seek[:0], key)
	return it.TxIterator.SeekGE(it.seek)
}

// SeekLT is as TxIterator.SeekLT.
func (it *FamilyTxIterator) SeekLT(key []byte) bool {
	it.seek = it.f.appendKey(it.seek[:0], key)
	return it.TxIterator.SeekLT(it.seek)
}

// Row is as TxIterator.Row.
func (it *FamilyTxIterator) Row() Row {
	row, _, _ := it.f.own(it.TxIterator.Row(), it.Valid(), nil)
	return row
}
