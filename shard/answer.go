package shard

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/internal/evaluate"
)

// Answer is what one command came to: a result, or the error with which apply refused it.
type Answer struct {
	Result api.Result
	Err    *api.Error
}

// The encoding of an answer as an answer row keeps it (docs/formats/entry.md).
const answerFormat = 1

// answerResult is the outcome of an answer that has a result. The others are refusals.
const answerResult = 0

// keptRefusals are the refusals that are kept, by their number in an answer row: what evaluation
// decides. A refusal before evaluation executes nothing and is decided anew for every delivery. In
// the result of an operation a number stands for the code of its refusal.
var keptRefusals = []*api.Error{
	1: evaluate.ErrNotInteger,
	2: evaluate.ErrCarriesTooMuch,
	3: evaluate.ErrOverflow,
	4: evaluate.ErrNotFloat,
	5: evaluate.ErrNotFound,
	6: evaluate.ErrValueTooLarge,
	7: evaluate.ErrNotFinite,
}

// kept reports whether an answer is one to keep for duplicates: what evaluation came to. After
// any other refusal nothing was executed, and the same request may be tried again.
func (a *Answer) kept() bool { return a.Err == nil || slices.Contains(keptRefusals, a.Err) }

// codeNumber is the number of a code in the result of an operation: the first refusal that has it.
func codeNumber(code api.Code) int {
	return slices.IndexFunc(keptRefusals, func(r *api.Error) bool { return r != nil && r.Code == code })
}

// refusalOf is the refusal with a number, nil if there is none.
func refusalOf(number byte) *api.Error {
	if int(number) >= len(keptRefusals) {
		return nil
	}
	return keptRefusals[number]
}

// Flags of an operation's result.
const (
	resultExisted  = 1 << 0
	resultPrevious = 1 << 1
	// resultFailed: not applied in a batch that was applied.
	resultFailed = 1 << 2
	resultCode   = 1 << 3
	resultExpiry = 1 << 4
	resultText   = 1 << 5

	resultFlags = resultExisted | resultPrevious | resultFailed | resultCode | resultExpiry | resultText
)

// minOpResultBytes is the shortest encoding of an operation's result: flags, version, number.
const minOpResultBytes = 3

func encodeAnswer(a Answer) ([]byte, error) {
	dst := []byte{answerFormat}
	if a.Err != nil {
		number := slices.Index(keptRefusals, a.Err)
		if number < 0 {
			return nil, fmt.Errorf("answer with code %s is not one to keep", a.Err.Code)
		}
		return append(dst, byte(number)), nil
	}
	dst = append(dst, answerResult)
	dst = appendFlag(dst, a.Result.Applied)
	dst = binary.AppendUvarint(dst, uint64(a.Result.FailedOp))
	dst = binary.AppendUvarint(dst, uint64(a.Result.Version))
	dst = binary.AppendUvarint(dst, uint64(len(a.Result.Ops)))
	for i := range a.Result.Ops {
		dst = appendOpResult(dst, &a.Result.Ops[i], a.Result.Applied)
	}
	return dst, nil
}

func appendOpResult(dst []byte, o *api.OpResult, applied bool) []byte {
	flags := flagIf(o.Existed, resultExisted) | flagIf(o.Previous != nil, resultPrevious) |
		flagIf(applied && !o.Applied, resultFailed) | flagIf(o.Code != "", resultCode) |
		flagIf(o.PreviousExpiry != 0, resultExpiry) | flagIf(o.Text != nil, resultText)
	dst = append(dst, flags)
	dst = binary.AppendUvarint(dst, uint64(o.PreviousVersion))
	dst = binary.AppendVarint(dst, o.Number)
	if o.Previous != nil {
		dst = appendBytes(dst, o.Previous)
	}
	if o.Code != "" {
		dst = append(dst, byte(codeNumber(o.Code)))
	}
	if o.PreviousExpiry != 0 {
		dst = binary.AppendUvarint(dst, o.PreviousExpiry)
	}
	if o.Text != nil {
		dst = appendBytes(dst, o.Text)
	}
	return dst
}

func flagIf(set bool, flag byte) byte {
	if set {
		return flag
	}
	return 0
}

// decodeAnswer decodes what encodeAnswer wrote. The result aliases data.
func decodeAnswer(data []byte) (Answer, error) {
	r := byteReader{rest: data}
	if format := r.byte(); r.bad || format != answerFormat {
		return Answer{}, fmt.Errorf("decode answer: format: %w", errMalformed)
	}
	var a Answer
	if outcome := r.byte(); outcome == answerResult {
		a.Result = readResult(&r)
	} else if a.Err = refusalOf(outcome); a.Err == nil {
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
		readOpResult(r, &res.Ops[i], res.Applied)
	}
	return res
}

func readOpResult(r *byteReader, o *api.OpResult, applied bool) {
	flags := r.byte()
	if flags&^resultFlags != 0 || flags&resultFailed != 0 && !applied {
		r.fail()
	}
	o.Applied = applied && flags&resultFailed == 0
	o.Existed = flags&resultExisted != 0
	o.PreviousVersion = api.Version(r.uvarint())
	o.Number = r.varint()
	if flags&resultPrevious != 0 {
		o.Previous = r.bytes()
	}
	if flags&resultCode != 0 {
		number := r.byte()
		if refusal := refusalOf(number); refusal == nil || codeNumber(refusal.Code) != int(number) {
			r.fail()
		} else {
			o.Code = refusal.Code
		}
	}
	if flags&resultExpiry != 0 {
		if o.PreviousExpiry = r.uvarint(); o.PreviousExpiry == 0 {
			r.fail()
		}
	}
	if flags&resultText != 0 {
		o.Text = r.bytes()
	}
}
