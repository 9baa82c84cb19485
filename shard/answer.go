package shard

import (
	"encoding/binary"
	"fmt"

	"github.com/lightning-db/lightning/api"
)

// Answer is what one command came to: a result, or the error with which apply refused it.
type Answer struct {
	Result api.Result
	Err    *api.Error
}

// The encoding of an answer as an answer row keeps it (docs/formats/entry.md).
const answerFormat = 1

// Outcomes in an answer row. Only what evaluation decides is kept; a refusal before evaluation
// executes nothing and is decided anew for every delivery.
const (
	answerResult     = 0
	answerNotInteger = 1
	answerTooLarge   = 2
)

// Flags of an operation's result.
const (
	resultExisted  = 1 << 0
	resultPrevious = 1 << 1
)

// minOpResultBytes is the shortest encoding of an operation's result: flags, version, number.
const minOpResultBytes = 3

func encodeAnswer(a Answer) ([]byte, error) {
	dst := []byte{answerFormat}
	if a.Err != nil {
		switch a.Err.Code {
		case api.CodeNotInteger:
			return append(dst, answerNotInteger), nil
		case api.CodeTooLarge:
			return append(dst, answerTooLarge), nil
		default:
			return nil, fmt.Errorf("answer with code %s is not one to keep", a.Err.Code)
		}
	}
	dst = append(dst, answerResult)
	dst = appendFlag(dst, a.Result.Applied)
	dst = binary.AppendUvarint(dst, uint64(a.Result.FailedOp))
	dst = binary.AppendUvarint(dst, uint64(a.Result.Version))
	dst = binary.AppendUvarint(dst, uint64(len(a.Result.Ops)))
	for i := range a.Result.Ops {
		dst = appendOpResult(dst, &a.Result.Ops[i])
	}
	return dst, nil
}

func appendOpResult(dst []byte, o *api.OpResult) []byte {
	flags := byte(0)
	if o.Existed {
		flags |= resultExisted
	}
	if o.Previous != nil {
		flags |= resultPrevious
	}
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(o.PreviousVersion))
	dst = binary.AppendVarint(dst, o.Number)
	if o.Previous != nil {
		dst = appendBytes(dst, o.Previous)
	}
	return dst
}

// decodeAnswer decodes what encodeAnswer wrote. The result aliases data.
func decodeAnswer(data []byte) (Answer, error) {
	r := byteReader{rest: data}
	if format := r.byte(); r.bad || format != answerFormat {
		return Answer{}, fmt.Errorf("decode answer: format: %w", errMalformed)
	}
	var a Answer
	switch outcome := r.byte(); outcome {
	case answerResult:
		a.Result = readResult(&r)
	case answerNotInteger:
		a.Err = errNotInteger
	case answerTooLarge:
		a.Err = errCarriesTooMuch
	default:
		r.fail()
	}
	if err := r.done(); err != nil {
		return Answer{}, fmt.Errorf("decode answer: %w", err)
	}
	return a, nil
}

func readResult(r *byteReader) api.Result {
	var res api.Result
	res.Applied = r.flag()
	failed := r.uvarint()
	if failed >= api.MaxBatchOps {
		r.fail()
	}
	res.FailedOp = int(failed)
	res.Version = api.Version(r.uvarint())
	count := r.count(api.MaxBatchOps, minOpResultBytes)
	if r.bad || count == 0 {
		return res
	}
	res.Ops = make([]api.OpResult, count)
	for i := range res.Ops {
		readOpResult(r, &res.Ops[i])
	}
	return res
}

func readOpResult(r *byteReader, o *api.OpResult) {
	flags := r.byte()
	if flags&^(resultExisted|resultPrevious) != 0 {
		r.fail()
	}
	o.Existed = flags&resultExisted != 0
	o.PreviousVersion = api.Version(r.uvarint())
	o.Number = r.varint()
	if flags&resultPrevious != 0 {
		o.Previous = r.bytes()
	}
}

var (
	errNotInteger     = api.Errorf(api.CodeNotInteger, "the value is not a decimal 64-bit integer or the sum overflows")
	errCarriesTooMuch = api.Errorf(api.CodeTooLarge, "the stored values that the batch returns or keeps are together over the limit of %d bytes", api.MaxBatchBytes)

	// errEntryCarriesTooMuch is not kept: in an entry with others of its kind there was no room.
	errEntryCarriesTooMuch = api.Errorf(api.CodeOverloaded, "the batches proposed together return or keep more than %d bytes of stored values", maxEntryCarriedBytes)
)
