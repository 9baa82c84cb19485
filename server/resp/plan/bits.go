package plan

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func bitRows() []*Row {
	longer := "refused if the value has more than " + whole
	return inGroup("bitmap",
		&Row{Name: "setbit", Arity: 4, Flags: writes, Keys: oneKey, Since: "2.2.0", Summary: "sets one bit of a value", Make: planSetBit,
			Differs: fmt.Sprintf("the last bit is %d, because it takes and makes values of at most %d MiB", 8*api.MaxWholeBytes-1, api.MaxWholeBytes>>20)},
		&Row{Name: "getbit", Arity: 3, Flags: readsFast, Keys: oneKey, Since: "2.2.0", Summary: "one bit of a value", Make: planGetBit, Differs: longer},
		&Row{Name: "bitcount", Arity: -2, Flags: reads, Keys: oneKey, Since: "2.6.0", Summary: "how many bits of a value are set; BYTE, BIT", Make: planBitCount, Differs: longer},
		&Row{Name: "bitpos", Arity: -3, Flags: reads, Keys: oneKey, Since: "2.8.7", Summary: "where the first bit is that is set or clear; BYTE, BIT", Make: planBitPos, Differs: longer},
	)
}

const (
	errBitOffset = wire.Error("ERR bit offset is not an integer or out of range")
	errBit       = wire.Error("ERR bit is not an integer or out of range")
	// maxReadBytes is the largest value of Redis, within which bits may be asked for.
	maxReadBytes = 512 << 20
)

// parseBitOffset reads the number of a bit of a value of at most maxBytes.
func parseBitOffset(arg []byte, maxBytes int64) (uint64, error) {
	n, ok := wire.ParseNumber(arg)
	if !ok || n < 0 || n/8 >= maxBytes {
		return 0, errBitOffset
	}
	return uint64(n), nil
}

func planSetBit(_ Env, args [][]byte) (Plan, error) {
	offset, err := parseBitOffset(args[2], api.MaxWholeBytes)
	if err != nil {
		return Plan{}, err
	}
	bit, ok := wire.ParseNumber(args[3])
	if !ok || bit < 0 || bit > 1 {
		return Plan{}, errBit
	}
	op := api.Op{Kind: api.OpSetBit, Key: args[1], Offset: offset, Delta: bit}
	return Plan{Ops: []api.Op{op}, reply: replyNumber}, nil
}

func planGetBit(_ Env, args [][]byte) (Plan, error) {
	offset, err := parseBitOffset(args[2], maxReadBytes)
	if err != nil {
		return Plan{}, err
	}
	return Plan{Ops: []api.Op{readsValue(args[1])}, reply: func(_ Env, out *wire.Reply, results []api.OpResult) error {
		value := results[0].Previous
		at := offset / 8
		out.Boolean(at < uint64(len(value)) && value[at]&(0x80>>(offset%8)) != 0)
		return nil
	}}, nil
}

// bitRange is the part of a value that BITCOUNT and BITPOS look at. Its ends count bytes or bits,
// and count from the end when they are negative.
type bitRange struct {
	first, last int64
	hasLast     bool
	inBits      bool
}

// resolve makes a half-open range of bits of it.
func (r *bitRange) resolve(value []byte) (start, end int64) {
	if r.inBits {
		return resolveRange(r.first, r.last, 8*int64(len(value)))
	}
	start, end = resolveRange(r.first, r.last, int64(len(value)))
	return 8 * start, 8 * end
}

func (r *bitRange) parseUnit(arg []byte) error {
	switch wire.Option(arg) {
	case "bit":
		r.inBits = true
	case "byte":
	default:
		return wire.ErrSyntax
	}
	return nil
}

// planBitCount is BITCOUNT. Redis looks for the key before it looks at the range: without the key
// a wrong range is no error.
func planBitCount(_ Env, args [][]byte) (Plan, error) {
	r, rangeErr := parseCountRange(args[2:])
	return Plan{Ops: []api.Op{readsValue(args[1])}, reply: func(_ Env, out *wire.Reply, results []api.OpResult) error {
		found := &results[0]
		switch {
		case !found.Existed:
			out.Integer(0)
		case rangeErr != nil:
			return rangeErr
		default:
			start, end := r.resolve(found.Previous)
			out.Integer(countOnes(found.Previous, start, end))
		}
		return nil
	}}, nil
}

// parseCountRange reads the range of BITCOUNT: nothing, or both ends, perhaps with a unit.
func parseCountRange(args [][]byte) (bitRange, error) {
	r := bitRange{last: -1}
	if len(args) == 0 {
		return r, nil
	}
	if len(args) == 1 || len(args) > 3 {
		return r, wire.ErrSyntax
	}
	var ok, ok2 bool
	r.first, ok = wire.ParseNumber(args[0])
	r.last, ok2 = wire.ParseNumber(args[1])
	switch {
	case !ok || !ok2:
		return r, wire.ErrNotInteger
	case backwards(r.first, r.last):
		return bitRange{first: 1}, nil // empty; Redis looks at the unit only afterwards
	case len(args) == 3:
		return r, r.parseUnit(args[2])
	}
	return r, nil
}

// countOnes counts the bits that are set among those from start on and before end.
func countOnes(b []byte, start, end int64) int64 {
	if start >= end {
		return 0
	}
	first, last := start/8, (end-1)/8
	head := b[first] & (0xff >> (start % 8))
	tail := byte(0xff << (7 - (end-1)%8))
	if first == last {
		return int64(bits.OnesCount8(head & tail))
	}
	count := bits.OnesCount8(head) + bits.OnesCount8(b[last]&tail)
	b = b[first+1 : last]
	for ; len(b) >= 8; b = b[8:] {
		count += bits.OnesCount64(binary.BigEndian.Uint64(b))
	}
	for _, c := range b {
		count += bits.OnesCount8(c)
	}
	return int64(count)
}

// planBitPos is BITPOS. A key that is absent is an endless row of clear bits; one that is there
// goes on with clear bits unless the range has an end.
func planBitPos(_ Env, args [][]byte) (Plan, error) {
	bit, ok := wire.ParseNumber(args[2])
	switch {
	case !ok:
		return Plan{}, wire.ErrNotInteger
	case bit != 0 && bit != 1:
		return Plan{}, wire.Error("ERR The bit argument must be 1 or 0.")
	}
	r, rangeErr := parsePosRange(args[3:])
	return Plan{Ops: []api.Op{readsValue(args[1])}, reply: func(_ Env, out *wire.Reply, results []api.OpResult) error {
		found := &results[0]
		if !found.Existed {
			out.Integer(-bit)
			return nil
		}
		if rangeErr != nil {
			return rangeErr
		}
		value := found.Previous
		start, end := r.resolve(value)
		at := findBit(value, bit == 1, start, end)
		if at < 0 && start < end && bit == 0 && !r.hasLast {
			at = 8 * int64(len(value))
		}
		out.Integer(at)
		return nil
	}}, nil
}

// parsePosRange reads the range of BITPOS: nothing, a first end, or both, perhaps with a unit.
func parsePosRange(args [][]byte) (bitRange, error) {
	r := bitRange{last: -1}
	if len(args) == 0 {
		return r, nil
	}
	if len(args) > 3 {
		return r, wire.ErrSyntax
	}
	var ok bool
	if r.first, ok = wire.ParseNumber(args[0]); !ok {
		return r, wire.ErrNotInteger
	}
	if len(args) == 3 {
		if err := r.parseUnit(args[2]); err != nil {
			return r, err
		}
	}
	if len(args) > 1 {
		r.hasLast = true
		if r.last, ok = wire.ParseNumber(args[1]); !ok {
			return r, wire.ErrNotInteger
		}
	}
	return r, nil
}

// findBit finds the first bit that is as wanted from start on and before end, or -1.
func findBit(b []byte, set bool, start, end int64) int64 {
	var flip byte // makes the wanted bits ones
	if !set {
		flip = 0xff
	}
	for at := start; at < end; {
		rest := (b[at/8] ^ flip) << (at % 8)
		if rest != 0 {
			at += int64(bits.LeadingZeros8(rest))
			if at < end {
				return at
			}
			return -1
		}
		at += 8 - at%8
		for at+64 <= end && binary.BigEndian.Uint64(b[at/8:]) == uint64(flip)*0x0101010101010101 {
			at += 64
		}
	}
	return -1
}
