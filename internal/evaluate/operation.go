package evaluate

import (
	"strconv"

	"github.com/lightning-db/lightning/api"
)

// The refusals that evaluation decides. In an independent batch those of a single operation fail
// its step only.
var (
	ErrNotInteger    = api.Errorf(api.CodeNotInteger, "the value is not a decimal 64-bit integer")
	ErrOverflow      = api.Errorf(api.CodeOverflow, "the sum does not fit into 64 bits")
	ErrNotFloat      = api.Errorf(api.CodeNotFloat, "the value or the increment is not a decimal number")
	ErrNotFinite     = api.Errorf(api.CodeOverflow, "the sum is not a finite number")
	ErrNotFound      = api.Errorf(api.CodeNotFound, "the source key does not exist")
	ErrValueTooLarge = api.Errorf(api.CodeTooLarge, "a value that is changed in place has at most %d bytes, before and after", api.MaxWholeBytes)

	// ErrCarriesTooMuch fails the batch, an independent one too.
	ErrCarriesTooMuch = api.Errorf(api.CodeTooLarge, "a stored value that the batch returns or keeps is over the limit of %d bytes, or they are together over %d bytes", api.MaxWholeBytes, api.MaxInlineBatchBytes)
	// ErrOverloaded fails the batch because of those applied before it: there was no room.
	ErrOverloaded = api.Errorf(api.CodeOverloaded, "the batches proposed together return or keep more than %d bytes of stored values", MaxCarriedBytes)
)

// execute does what the operation says to the key's row, of which current is the state before.
func (e *Evaluator) execute(op *api.Op, current, source state, found *api.OpResult) *api.Error {
	switch op.Kind {
	case api.OpPut:
		e.put(op.Key, e.expiring(Row{Value: op.Value, Parts: op.Parts}, op.Expiry, current.Row))
	case api.OpDelete:
		if current.Live {
			e.put(op.Key, Row{})
		}
	case api.OpGet:
		found.Number = int64(current.length)
	case api.OpIncrement:
		return e.increment(op, current, found)
	case api.OpIncrementFloat:
		return e.incrementFloat(op, current, found)
	case api.OpExpire:
		return e.expire(op, current)
	case api.OpAppend:
		return e.overwrite(op.Key, current, uint64(current.length), op.Value, found)
	case api.OpSetRange:
		if len(op.Value) == 0 {
			found.Number = int64(current.length)
			return nil
		}
		return e.overwrite(op.Key, current, op.Offset, op.Value, found)
	case api.OpSetBit:
		return e.setBit(op, current, found)
	case api.OpCopy, api.OpRename:
		return e.copy(op, source)
	}
	return nil
}

func (e *Evaluator) increment(op *api.Op, current state, found *api.OpResult) *api.Error {
	var n int64
	if current.Live {
		var ok bool
		if n, ok = integer(current.Value); !ok { // a value that was left out is too long for one
			return ErrNotInteger
		}
	}
	sum := n + op.Delta
	if (op.Delta > 0) != (sum > n) && op.Delta != 0 {
		return ErrOverflow
	}
	found.Number = sum
	e.put(op.Key, Row{Value: strconv.AppendInt(nil, sum, 10), ExpiryMillis: current.ExpiryMillis, Live: true})
	return nil
}

// integer reads the one decimal text that AppendInt would write; nothing else counts as an
// integer, as in Redis.
func integer(text []byte) (int64, bool) {
	const longest = len("-9223372036854775808")
	if len(text) > longest {
		return 0, false
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == string(text)
}

func (e *Evaluator) incrementFloat(op *api.Op, current state, found *api.OpResult) *api.Error {
	if current.length > maxFloatText {
		return ErrNotFloat // the value may have been left out
	}
	if refusal := e.carry(current.length + powerBytes(current.Value) + powerBytes(op.Value)); refusal != nil {
		return refusal
	}
	held := current.Value
	if !current.Live {
		held = []byte("0")
	}
	sum, refusal := addFloats(held, op.Value)
	if refusal != nil {
		return refusal
	}
	// Twice: in the row and in the answer.
	if refusal := e.carry(2 * len(sum)); refusal != nil {
		return refusal
	}
	found.Text = sum
	e.put(op.Key, Row{Value: sum, ExpiryMillis: current.ExpiryMillis, Live: true})
	return nil
}

// expire writes also an expiry that the key has already, because whoever watches the key sees a
// change, as in Redis (expireGenericCommand); it does not take away or keep what is not there.
func (e *Evaluator) expire(op *api.Op, current state) *api.Error {
	if !current.Live {
		return nil
	}
	next := e.expiring(Row{}, op.Expiry, current.Row)
	sets := op.Expiry.Mode == api.ExpiryAt || op.Expiry.Mode == api.ExpiryAfter
	if next.Live && next.ExpiryMillis == current.ExpiryMillis && !sets {
		return nil
	}
	switch {
	case next.Live && current.Parts != nil:
		next.Parts = current.Parts
	case next.Live:
		if refusal := e.carry(current.length); refusal != nil {
			return refusal
		}
		next.Value = e.value(op.Key, current)
	}
	e.put(op.Key, next)
	return nil
}

// grown is a copy of the key's value with at least size bytes, the new ones zero. brought is how
// many of them the operation brings itself. Nothing is allocated for a size beyond the limit.
func (e *Evaluator) grown(key []byte, current state, size uint64, brought int) ([]byte, *api.Error) {
	if size > api.MaxWholeBytes || current.length > api.MaxWholeBytes {
		return nil, ErrValueTooLarge
	}
	n := max(int(size), current.length)
	if refusal := e.carry(n - brought); refusal != nil {
		return nil, refusal
	}
	value := make([]byte, n)
	copy(value, e.value(key, current))
	return value, nil
}

// overwrite puts part at an offset of the key's value and keeps the expiry.
func (e *Evaluator) overwrite(key []byte, current state, offset uint64, part []byte, found *api.OpResult) *api.Error {
	if offset > api.MaxWholeBytes {
		return ErrValueTooLarge
	}
	value, refusal := e.grown(key, current, offset+uint64(len(part)), len(part))
	if refusal != nil {
		return refusal
	}
	copy(value[offset:], part)
	found.Number = int64(len(value))
	e.put(key, Row{Value: value, ExpiryMillis: current.ExpiryMillis, Live: true})
	return nil
}

// setBit sets one bit; bit 0 is the highest of byte 0. A bit that has its value already is not
// written, so that whoever watches the key sees no change, as in Redis (setbitCommand).
func (e *Evaluator) setBit(op *api.Op, current state, found *api.OpResult) *api.Error {
	at, mask := op.Offset/8, byte(0x80)>>(op.Offset%8)
	value, refusal := e.grown(op.Key, current, at+1, 0)
	if refusal != nil {
		return refusal
	}
	held, wanted := value[at]&mask != 0, op.Delta != 0
	if held {
		found.Number = 1
	}
	if current.Live && at < uint64(current.length) && held == wanted {
		return nil
	}
	value[at] &^= mask
	if wanted {
		value[at] |= mask
	}
	e.put(op.Key, Row{Value: value, ExpiryMillis: current.ExpiryMillis, Live: true})
	return nil
}

// copy makes the key equal to a source that exists, and deletes the source of a rename. A key that
// is its own source stays as it is.
func (e *Evaluator) copy(op *api.Op, source state) *api.Error {
	if string(op.Key) == string(op.Source) {
		return nil
	}
	next := Row{ExpiryMillis: source.ExpiryMillis, Live: true}
	if op.Kind == api.OpRename && source.Parts != nil {
		next.Parts = source.Parts // no two keys have the same parts: a copy gets its own
	} else {
		if refusal := e.carry(source.length); refusal != nil {
			return refusal
		}
		next.Value = e.value(op.Source, source)
	}
	e.put(op.Key, next)
	if op.Kind == api.OpRename {
		e.put(op.Source, Row{})
	}
	return nil
}
