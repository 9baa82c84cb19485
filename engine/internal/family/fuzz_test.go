package family

import (
	"bytes"
	"testing"
)

// FuzzKeys makes the keys of two families of any ids: each key tells its family, and lies in the range of no other one (FM1).
func FuzzKeys(f *testing.F) {
	f.Add(uint64(1), uint64(2), []byte("key"))
	f.Add(uint64(0xEF), uint64(0xF0), []byte{})
	f.Add(uint64(0xFF), uint64(0x100), []byte{0xff, 0xff})
	f.Add(^uint64(0), ^uint64(0)-1, []byte{0})
	f.Fuzz(func(t *testing.T, a, b uint64, rest []byte) {
		IDOf(rest) // of any bytes
		key := append(Prefix(a), rest...)
		if id, ok := IDOf(key); !ok || id != a {
			t.Fatalf("%x of family %d is of family %d, %v", key, a, id, ok)
		}
		for _, id := range []uint64{a, b} {
			start, end := Prefix(id), End(Prefix(id))
			in := bytes.Compare(start, key) <= 0 && bytes.Compare(key, end) < 0
			if in != (id == a) || NewDropped([]uint64{id}).Covers(key) != (id == a) {
				t.Fatalf("%x of family %d in [%x, %x) of family %d", key, a, start, end, id)
			}
		}
	})
}
