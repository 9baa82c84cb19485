package shard

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/api"
)

// window is the row of one session: how far its requests are released, and the answers of those
// that are not. The session's creation time is in the key.
//
//	format u8 = 2 | floor uvarint | last used ms uvarint | count uvarint
//	| count × { gap uvarint | form u8 | answer }
//
// All answers of a session that are small are in its row, so that a run of entries writes one row
// for it whatever the number of its requests.
type window struct {
	// floor is the lowest sequence that is not released.
	floor uint64
	// lastUsedMillis is shard time, at most lastUsedStepMillis too low.
	lastUsedMillis uint64
	// kept are the answers, by sequence, all of them at or above floor and within the window.
	kept []kept
	// wholeBytes is the length of the answers that are kept whole.
	wholeBytes int
}

// kept is an answer of a window.
type kept struct {
	sequence uint64
	form     keptForm
	// Of a plain answer: the versions of the write and of what it replaced.
	version, previous api.Version
	// whole is an answer as encodeAnswer writes it.
	whole []byte
}

// keptForm says how an answer is kept.
type keptForm uint8

const (
	keptApart   keptForm = 0 // in a row of its own
	keptAbsent  keptForm = 1 // plain: one operation was applied, to a key that was absent
	keptExisted keptForm = 2 // plain: one operation was applied, to a key that existed
	keptWhole   keptForm = 3 // here, as encodeAnswer writes it
)

// What is longer is kept apart: the row of a session is written anew whenever one of its requests
// runs, with everything in it. 1024 plain answers take about 10 KiB.
const (
	maxWholeBytes  = 64
	maxWholesBytes = 4 << 10
)

const windowFormat = 2

// append encodes the row.
func (w *window) append(dst []byte) []byte {
	dst = append(dst, windowFormat)
	dst = binary.AppendUvarint(dst, w.floor)
	dst = binary.AppendUvarint(dst, w.lastUsedMillis)
	dst = binary.AppendUvarint(dst, uint64(len(w.kept)))
	next, last := w.floor, api.Version(0)
	for i := range w.kept {
		k := &w.kept[i]
		dst = binary.AppendUvarint(dst, k.sequence-next)
		dst = append(dst, byte(k.form))
		switch k.form {
		case keptAbsent, keptExisted:
			dst = binary.AppendVarint(dst, int64(k.version-last))
			if k.form == keptExisted {
				dst = binary.AppendUvarint(dst, uint64(k.version-k.previous))
			}
			last = k.version
		case keptWhole:
			dst = appendBytes(dst, k.whole)
		}
		next = k.sequence + 1
	}
	return dst
}

// decodeWindow decodes a row into a window, whose memory is used again. The answers alias the row.
func decodeWindow(w *window, row []byte) error {
	r := byteReader{rest: row}
	readWindowHead(&r, w)
	count := r.count(api.MaxSessionWindow, 2)
	next, last := w.floor, api.Version(0)
	for range count {
		k := kept{sequence: next + r.uvarint(), form: keptForm(r.byte())}
		if k.sequence < next || k.sequence-w.floor >= api.MaxSessionWindow || k.form > keptWhole {
			r.fail()
		}
		switch k.form {
		case keptAbsent, keptExisted:
			k.version = last + api.Version(r.varint())
			if k.form == keptExisted {
				age := api.Version(r.uvarint())
				if age == 0 || age >= k.version {
					r.fail()
				}
				k.previous = k.version - age
			}
			last = k.version
		case keptWhole:
			k.whole = r.bytes()
			w.wholeBytes += len(k.whole)
		}
		next = k.sequence + 1
		w.kept = append(w.kept, k)
	}
	if err := r.done(); err != nil {
		return fmt.Errorf("decode session row: %w", err)
	}
	return nil
}

// readWindowHead reads what stands before the answers.
func readWindowHead(r *byteReader, w *window) {
	if format := r.byte(); format != windowFormat {
		r.fail()
	}
	*w = window{floor: r.uvarint(), lastUsedMillis: r.uvarint(), kept: w.kept[:0]}
}

// find is the place of a sequence among the answers.
func (w *window) find(sequence uint64) (at int, found bool) {
	return slices.BinarySearchFunc(w.kept, sequence, func(k kept, s uint64) int { return cmp.Compare(k.sequence, s) })
}

// keep adds the answer of a request that has none. It returns the answer's encoding if that must
// be kept apart.
func (w *window) keep(sequence uint64, a *Answer) (apart []byte, err error) {
	k := kept{sequence: sequence}
	if !k.plain(a) {
		raw, err := encodeAnswer(*a)
		if err != nil {
			return nil, err
		}
		if len(raw) > maxWholeBytes || w.wholeBytes+len(raw) > maxWholesBytes {
			apart = raw
		} else {
			k.form, k.whole = keptWhole, raw
			w.wholeBytes += len(raw)
		}
	}
	at, _ := w.find(sequence)
	w.kept = slices.Insert(w.kept, at, k)
	return apart, nil
}

// plain makes it a plain answer if it can be one.
func (k *kept) plain(a *Answer) bool {
	if a.Err != nil || !a.Result.Applied || a.Result.FailedOp != 0 || len(a.Result.Ops) != 1 {
		return false
	}
	o := &a.Result.Ops[0]
	switch {
	case !o.Applied || o.Code != "" || o.Previous != nil || o.PreviousExpiry != 0 || o.Number != 0 || o.Text != nil:
		return false
	case !o.Existed && o.PreviousVersion == 0:
		k.form = keptAbsent
	case o.Existed && 0 < o.PreviousVersion && o.PreviousVersion < a.Result.Version:
		k.form = keptExisted
	default:
		return false
	}
	k.version, k.previous = a.Result.Version, o.PreviousVersion
	return true
}

// answer is the answer of a kept that is not apart.
func (k *kept) answer() (Answer, error) {
	if k.form == keptWhole {
		return decodeAnswer(k.whole)
	}
	op := api.OpResult{Applied: true, Existed: k.form == keptExisted, PreviousVersion: k.previous}
	return Answer{Result: api.Result{Applied: true, Version: k.version, Ops: []api.OpResult{op}}}, nil
}

// release drops the answers below a floor, and gives those that are apart to drop.
func (w *window) release(floor uint64, drop func(sequence uint64)) {
	n := 0
	for ; n < len(w.kept) && w.kept[n].sequence < floor; n++ {
		switch k := &w.kept[n]; k.form {
		case keptApart:
			drop(k.sequence)
		case keptWhole:
			w.wholeBytes -= len(k.whole)
		}
	}
	w.kept = slices.Delete(w.kept, 0, n)
	w.floor = floor
}
