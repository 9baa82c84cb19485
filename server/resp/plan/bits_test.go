package plan

import (
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

// bitOf is bit i of b, the highest of the first byte being bit 0.
func bitOf(b []byte, i int64) bool { return b[i/8]&(0x80>>(i%8)) != 0 }

func TestBitsAreCountedAndFoundOneByOne(t *testing.T) {
	r := testkit.Rand(t)
	for range 3000 {
		b := make([]byte, 1+r.IntN(40))
		fill := []byte{0, 0xff, 0x55}[r.IntN(3)] // long stretches of equal bits, and none
		for i := range b {
			b[i] = fill
			if r.IntN(10) == 0 {
				b[i] = byte(r.Uint32())
			}
		}
		bits := int64(8 * len(b))
		start, end := r.Int64N(bits+1), r.Int64N(bits+1)
		count, first := int64(0), map[bool]int64{false: -1, true: -1}
		for i := start; i < end; i++ {
			set := bitOf(b, i)
			if set {
				count++
			}
			if first[set] < 0 {
				first[set] = i
			}
		}
		if got := countOnes(b, start, end); got != count {
			t.Fatalf("%x from %d to %d: %d ones, want %d", b, start, end, got, count)
		}
		for set, want := range first {
			if got := findBit(b, set, start, end); got != want {
				t.Fatalf("%x from %d to %d: first %v at %d, want %d", b, start, end, set, got, want)
			}
		}
	}
}
