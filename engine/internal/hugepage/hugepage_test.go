package hugepage

import (
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"unsafe"
)

// HP1.
func TestLargeSlicesBeginAtAHugePage(t *testing.T) {
	for _, n := range []int{1, 100, Bytes / 8, Bytes/8 + 1, 3 * Bytes / 8} {
		s := Make[atomic.Uint64](n)
		if len(s) != n || cap(s) != n {
			t.Fatalf("%d of %d", len(s), n)
		}
		if at := uintptr(unsafe.Pointer(&s[0])); n*8 >= Bytes && at%Bytes != 0 {
			t.Errorf("%d words begin at %#x", n, at)
		}
		for i := range s {
			if s[i].Add(1) != 1 {
				t.Fatal("not zero")
			}
		}
	}
}

// HP1, HP2.
func TestAMappingBeginsAtAHugePageAndIsZeroAgainWhenDropped(t *testing.T) {
	m, ok := Map(3 * Bytes / 8)
	if !ok {
		t.Skip("this system gives no memory outside the heap")
	}
	defer m.Unmap()
	if len(m.Words) != 3*Bytes/8 || uintptr(unsafe.Pointer(&m.Words[0]))%Bytes != 0 {
		t.Fatalf("%d words at %p", len(m.Words), &m.Words[0])
	}
	for range 2 {
		for i := range m.Words {
			if m.Words[i].Add(1) != 1 {
				t.Fatal("not zero")
			}
		}
		m.Drop()
	}
}

// BenchmarkRead is a read of a random place in a large slice, each after the one before.
func BenchmarkRead(b *testing.B) {
	const n, step = 160 << 20 / 8, 18
	for _, pages := range []string{"usual", "huge"} {
		b.Run("pages="+pages, func(b *testing.B) {
			s := make([]uint64, n)
			if pages == "huge" {
				s = Make[uint64](n)
			}
			order := rand.New(rand.NewPCG(1, 1)).Perm(n / step)
			for i := range order {
				s[order[i]*step] = uint64(order[(i+1)%len(order)] * step)
			}
			b.ResetTimer()
			at := uint64(0)
			for range b.N {
				at = s[at]
			}
			if at > n {
				b.Fatal(at)
			}
		})
	}
}

// HP3.
func TestWhatIsReleasedMayBeUsedAgainAndNothingBesideItIsLost(t *testing.T) {
	words := Make[atomic.Uint64](3 * Bytes / 8)
	mapped, ok := Map(3 * Bytes / 8)
	if ok {
		defer mapped.Unmap()
	}
	for _, words := range [][]atomic.Uint64{words, mapped.Words} {
		for i := range words {
			words[i].Store(7)
		}
		if len(words) == 0 {
			continue // this system gives no memory outside the heap
		}
		from, to := 1001, Bytes/8+77
		Release(words[from:to])
		Release(words[:0])
		for i := range words {
			if got := words[i].Load(); got != 7 && (got != 0 || i < from || i >= to) {
				t.Fatalf("word %d is %d", i, got)
			}
			words[i].Store(uint64(i))
		}
		for i := range words {
			if words[i].Load() != uint64(i) {
				t.Fatalf("word %d does not keep what is stored", i)
			}
		}
	}
}
