package shard

import (
	"cmp"
	"encoding/binary"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/engine"
	"github.com/lightning-db/lightning/internal/evaluate"
	"github.com/lightning-db/lightning/router"
	"github.com/lightning-db/lightning/shard/parts"
)

// Stage is what a command does that stages. Its request id is that of the batch for which it does,
// and its deadline says until when the shard keeps what it brings.
type Stage struct {
	// Key is one of the batch's, by which the command is routed.
	Key []byte
	// Number and Part are a part, which nobody sees before the batch is applied.
	Number uint32
	Part   []byte
	// Drop takes all parts back instead.
	Drop bool
}

// checkStage reports a command that can never be applied.
func (c *Command) checkStage() *api.Error {
	st := c.Stage
	if refusal := evaluate.CheckKey(st.Key); refusal != nil {
		return refusal
	}
	switch {
	case c.Request.IsZero():
		return api.Errorf(api.CodeInvalid, "parts of a value need a request id")
	case st.Drop && len(st.Part) > 0:
		return api.Errorf(api.CodeInvalid, "a part is either brought or dropped")
	case st.Drop:
		return nil
	case c.DeadlineMillis == 0:
		return api.Errorf(api.CodeInvalid, "parts of a value need a deadline")
	case len(st.Part) == 0 || len(st.Part) > api.MaxPartBytes:
		return api.Errorf(api.CodeInvalid, "a part has 1 to %d bytes, not %d", api.MaxPartBytes, len(st.Part))
	case st.Number >= api.MaxBatchParts:
		return api.Errorf(api.CodeTooLarge, "a batch has at most %d parts", api.MaxBatchParts)
	}
	return nil
}

// appendStage encodes, behind opcode and evaluation version:
//
//	flags u8 | session created ms uvarint | session random u64 | sequence uvarint | floor uvarint
//	| [deadline ms uvarint] | epoch uvarint | namespace uvarint | key length uvarint, key
//	| number uvarint | part length uvarint, part
//
// The flags are those of a write, and stageDrop; a request id is always there.
func appendStage(dst []byte, c *Command) []byte {
	flags := byte(writeHasRequest)
	if c.DeadlineMillis != 0 {
		flags |= writeHasDeadline
	}
	if c.Stage.Drop {
		flags |= stageDrop
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, c.Request.Session.CreatedMillis)
	dst = binary.BigEndian.AppendUint64(dst, c.Request.Session.Random)
	dst = binary.AppendUvarint(dst, c.Request.Sequence)
	dst = binary.AppendUvarint(dst, c.Request.Floor)
	if c.DeadlineMillis != 0 {
		dst = binary.AppendUvarint(dst, c.DeadlineMillis)
	}
	dst = binary.AppendUvarint(dst, uint64(c.Epoch))
	dst = binary.AppendUvarint(dst, uint64(c.Batch.Namespace))
	dst = appendBytes(dst, c.Stage.Key)
	dst = binary.AppendUvarint(dst, uint64(c.Stage.Number))
	return appendBytes(dst, c.Stage.Part)
}

const stageDrop = 1 << 3

func readStage(r *byteReader, c *Command) error {
	flags := r.byte()
	if flags&^(writeHasRequest|writeHasDeadline|stageDrop) != 0 || flags&writeHasRequest == 0 {
		return errMalformed
	}
	c.Request = api.RequestID{
		Session:  api.SessionID{CreatedMillis: r.uvarint(), Random: r.uint64()},
		Sequence: r.uvarint(), Floor: r.uvarint(),
	}
	if flags&writeHasDeadline != 0 {
		if c.DeadlineMillis = r.uvarint(); c.DeadlineMillis == 0 {
			return errMalformed
		}
	}
	c.Epoch = api.Epoch(r.uvarint())
	ns := r.uvarint()
	st := &Stage{Drop: flags&stageDrop != 0, Key: r.bytes()}
	number := r.uvarint()
	st.Number, st.Part = uint32(number), r.bytes()
	if r.bad || ns > uint64(^uint32(0)) || number > uint64(^uint32(0)) || c.Request.IsZero() {
		return errMalformed
	}
	c.Batch.Namespace, c.Stage = api.Namespace(ns), st
	return nil
}

// appendParts encodes where in the request's own parts a value is:
//
//	first uvarint | bytes uvarint | checksum u32
func appendParts(dst []byte, p *api.Parts) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.First))
	dst = binary.AppendUvarint(dst, p.Bytes)
	return binary.BigEndian.AppendUint32(dst, p.Checksum)
}

func readParts(r *byteReader) *api.Parts {
	first, bytes, sum := r.uvarint(), r.uvarint(), r.uint32()
	if first >= api.MaxBatchParts || bytes == 0 || bytes > api.MaxValueBytes {
		r.fail()
		return nil
	}
	return &api.Parts{First: uint32(first), Count: api.PartCount(bytes), Bytes: bytes, Checksum: sum}
}

// applyStage takes a part in, or drops all of a request. The checks are those of a write, in their
// order.
func (r *run) applyStage(c *Command, v api.Version) (Answer, error) {
	refusal := r.state.checkEpoch(c.Epoch)
	if refusal == nil {
		refusal = r.state.checkSlot(router.Slot(c.Batch.Namespace, c.Stage.Key))
	}
	if refusal == nil {
		refusal = c.checkStage()
	}
	if refusal != nil {
		return Answer{Err: refusal}, nil
	}
	a, err := r.admit(c.Request, v.Millis())
	if err != nil || a.refusal != nil {
		return Answer{Err: a.refusal}, err
	}
	switch {
	case a.duplicate != nil: // the batch has its answer
	case c.Stage.Drop:
		err = r.keeper.Drop(c.Request, v)
	default:
		refusal, err = r.keeper.Take(c.Request, c.Stage.Number, c.Stage.Part, c.DeadlineMillis, v)
	}
	if err != nil || refusal != nil {
		return Answer{Err: refusal}, err
	}
	return Answer{Result: api.Result{Applied: true}}, nil
}

var _ parts.Rows = (*run)(nil)

// PutPart implements parts.Rows.
func (r *run) PutPart(key, part []byte, v api.Version) {
	r.batch.Put(key, part, engine.Version(v), 0)
	r.effects.row(key, part, v, 0)
	r.rows.Put(key, evaluate.Row{Value: part, Version: v, Live: true})
	r.wrote(v)
}

// DeletePart implements parts.Rows.
func (r *run) DeletePart(key []byte, v api.Version) {
	r.batch.Delete(key, engine.Version(v))
	r.effects.row(key, nil, v, 0)
	r.rows.Put(key, evaluate.Row{})
	r.wrote(v)
}

// part is the newest row of a part.
func (r *run) part(key []byte) ([]byte, bool, error) {
	if w := r.rows.Find(key); w != nil {
		return w.Value, w.Live, nil
	}
	found, ok, err := r.db.Get(key, engine.MaxVersion)
	return found.Value, ok, err
}

// ownedBefore are the values in parts that keys have before a command writes them.
func (r *run) ownedBefore(ns api.Namespace, writes []evaluate.Write, v api.Version) (before []parts.Owned, err error) {
	for i := 0; i < len(writes) && r.state.parts.Values > 0; i++ {
		row, err := r.row(ns, writes[i].Key)
		if err != nil {
			return nil, err
		}
		if row.Live && row.Parts != nil && !expired(row.ExpiryMillis, v.Millis()) {
			before = append(before, parts.Owned{Parts: row.Parts, ExpiryMillis: row.ExpiryMillis})
		}
	}
	return before, nil
}

// sweepParts deletes parts that are due, and those that are staged in vain.
func (r *run) sweepParts(snapshot *engine.Snapshot, v api.Version) error {
	start, end := parts.DueUntil(v.Millis())
	err := each(snapshot, start, end, false, func(row engine.Row) (bool, error) { return r.keeper.SweepDue(row.Key, row.Value, v) })
	if err != nil || r.state.parts.Stagings == 0 {
		return err
	}
	start, end = parts.AllStaged()
	return each(snapshot, start, end, false, func(row engine.Row) (bool, error) {
		id, sequence, err := parts.RequestOf(row.Key)
		if err != nil {
			return false, err
		}
		s, err := r.session(id)
		if err != nil {
			return false, err
		}
		return r.keeper.SweepStaged(row.Key, row.Value, s.known && sequence < s.floor, v)
	})
}

// each calls visit for the rows of a range until it returns false.
func each(snapshot *engine.Snapshot, start, end []byte, reverse bool, visit func(engine.Row) (bool, error)) error {
	return eachOf(snapshot, engine.IteratorOptions{Start: start, End: end, At: engine.MaxVersion}, reverse, visit)
}

func eachOf(snapshot *engine.Snapshot, o engine.IteratorOptions, reverse bool, visit func(engine.Row) (bool, error)) error {
	it := snapshot.NewIterator(o)
	first, next := it.First, it.Next
	if reverse {
		first, next = it.Last, it.Prev
	}
	var err error
	for ok := first(); ok && err == nil; {
		if ok, err = visit(it.Row()); ok {
			ok = next()
		}
	}
	return cmp.Or(err, it.Err(), it.Close())
}
