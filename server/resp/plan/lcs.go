package plan

import (
	"slices"

	"github.com/lightning-db/lightning/api"
	"github.com/lightning-db/lightning/server/resp/wire"
)

func lcsRows() []*Row {
	return inGroup("string",
		&Row{Name: "lcs", Arity: -3, Flags: reads, Keys: twoKeys, Since: "7.0.0", Summary: "the longest common subsequence of two values; LEN, IDX, MINMATCHLEN, WITHMATCHLEN", Make: planLCS,
			Differs: "refused if the lengths multiply to more than 16777216, which would keep a processor busy for a tenth of a second and more (Redis: 134217728); keys of several shards are not one snapshot"},
	)
}

// maxLCSCells bounds the product of the lengths of LCS' values, and so its work: under 0.1 s.
// Its memory is one bit for each, 2 MiB.
const maxLCSCells = 1 << 24

// lcsOptions are the arguments of LCS.
type lcsOptions struct {
	onlyLength, indexes, withLengths bool
	minLength                        int64
}

func parseLCS(args [][]byte) (lcsOptions, error) {
	var o lcsOptions
	for i := 0; i < len(args); i++ {
		switch word := wire.Option(args[i]); {
		case word == "len":
			o.onlyLength = true
		case word == "idx":
			o.indexes = true
		case word == "withmatchlen":
			o.withLengths = true
		case word == "minmatchlen" && i+1 < len(args):
			i++
			n, ok := wire.ParseNumber(args[i])
			if !ok {
				return o, wire.ErrNotInteger
			}
			o.minLength = n
		default:
			return o, wire.ErrSyntax
		}
	}
	if o.onlyLength && o.indexes {
		return o, wire.Error("ERR If you want both the length and indexes, please just use IDX.")
	}
	return o, nil
}

func planLCS(_ Env, args [][]byte) (Plan, error) {
	o, err := parseLCS(args[3:])
	if err != nil {
		return Plan{}, err
	}
	ops := []api.Op{readsValue(args[1]), readsValue(args[2])}
	return Plan{Ops: ops, Each: true, reply: func(_ Env, out *wire.Reply, results []api.OpResult) error {
		a, b := results[0].Previous, results[1].Previous
		if len(a)*len(b) > maxLCSCells {
			return api.Errorf(api.CodeTooLarge, "the values have %d and %d bytes, which multiply to more than the limit of %d", len(a), len(b), maxLCSCells)
		}
		runs := commonRuns(a, b)
		switch {
		case o.indexes:
			writeIndexes(out, &o, runs)
		case o.onlyLength:
			out.Integer(runsLength(runs))
		default:
			text := make([]byte, 0, runsLength(runs))
			for _, r := range slices.Backward(runs) {
				text = append(text, a[r.a:r.a+r.length]...)
			}
			out.Bulk(text)
		}
		return nil
	}}, nil
}

// writeIndexes writes the runs that are long enough, the last one first, and the length of all.
func writeIndexes(out *wire.Reply, o *lcsOptions, runs []commonRun) {
	short := func(run commonRun) bool { return int64(run.length) < o.minLength }
	total := runsLength(runs)
	runs = slices.DeleteFunc(runs, short)
	out.Dict(2)
	out.BulkString("matches")
	out.Array(len(runs))
	for _, run := range runs {
		if o.withLengths {
			out.Array(3)
		} else {
			out.Array(2)
		}
		for _, start := range []int{run.a, run.b} {
			out.Array(2)
			out.Integer(int64(start))
			out.Integer(int64(start + run.length - 1))
		}
		if o.withLengths {
			out.Integer(int64(run.length))
		}
	}
	out.BulkString("len")
	out.Integer(total)
}

// commonRun says that length bytes from a on in the one value are those from b on in the other.
type commonRun struct{ a, b, length int }

func runsLength(runs []commonRun) int64 {
	total := 0
	for _, r := range runs {
		total += r.length
	}
	return int64(total)
}

// commonRuns finds the longest common subsequence of a and b, as runs from the end to the
// beginning. Of several that are as long it is the one that Redis finds: from the ends of both it
// takes a byte that is the same, and else gives up the last byte of a if that loses less than the
// last byte of b, which goes otherwise.
func commonRuns(a, b []byte) []commonRun {
	giveUpA := lcsDirections(a, b)
	var runs []commonRun
	i, j := len(a), len(b)
	inRun := false
	for i > 0 && j > 0 {
		switch {
		case a[i-1] == b[j-1]:
			if !inRun {
				runs = append(runs, commonRun{a: i, b: j})
			}
			i, j = i-1, j-1
			run := &runs[len(runs)-1]
			run.a, run.b, run.length = i, j, run.length+1
			inRun = true
			continue
		case giveUpA.at(i-1, j-1):
			i--
		default:
			j--
		}
		inRun = false
	}
	return runs
}

// bitTable has a bit for each pair of positions in two values.
type bitTable struct {
	words  []uint64
	stride int
	turned bool // the second value has the rows
}

func (t *bitTable) at(i, j int) bool {
	if t.turned {
		i, j = j, i
	}
	n := i*t.stride + j
	return t.words[n/64]&(1<<(n%64)) != 0
}

// lcsDirections says for each pair of positions with different bytes whether the longest common
// subsequence up to there loses less without the byte of a than without the byte of b. It is the
// textbook's table of lengths, of which one row is kept; the longer value has the rows.
func lcsDirections(a, b []byte) *bitTable {
	long, short := a, b
	turned := len(a) < len(b)
	if turned {
		long, short = b, a
	}
	t := &bitTable{words: make([]uint64, (len(a)*len(b)+63)/64), stride: len(short), turned: turned}
	lengths := make([]uint32, len(short)+1) // of the row above, and left of n of this row
	for m, c := range long {
		diagonal, left := uint32(0), uint32(0)
		for n, d := range short {
			above := lengths[n+1]
			switch {
			case c == d:
				left = diagonal + 1
			case above > left:
				if !turned { // above is without the byte of long, which is a's
					t.words[(m*t.stride+n)/64] |= 1 << ((m*t.stride + n) % 64)
				}
				left = above
			case left > above && turned:
				t.words[(m*t.stride+n)/64] |= 1 << ((m*t.stride + n) % 64)
			}
			diagonal = above
			lengths[n+1] = left
		}
	}
	return t
}
