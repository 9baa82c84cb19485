package rows

import (
	"bytes"
	"testing"

	"github.com/lightning-db/lightning/internal/testkit"
)

func TestEngineKeysSortAsUserKeysDo(t *testing.T) { // KR1
	rng := testkit.Rand(t)
	keys := [][]byte{{}, {0}, {0, 0}, {0, 1}, {0, 0xff}, {1}, {0xff}, {0xff, 0}, []byte("a"), []byte("a\x00"), []byte("ab")}
	for range 80 {
		k := make([]byte, rng.IntN(7))
		for i := range k {
			k[i] = []byte{0, 1, 2, 'a', 0xfe, 0xff}[rng.IntN(6)]
		}
		keys = append(keys, k)
	}
	for _, a := range keys {
		for _, b := range keys {
			ka, kb := Key(1, a), Key(1, b)
			if bytes.Compare(ka, kb) != bytes.Compare(a, b) {
				t.Fatalf("%x and %x sort as %x and %x do not", a, b, ka, kb)
			}
			if !bytes.Equal(a, b) && bytes.HasPrefix(kb, ka) {
				t.Fatalf("%x is a prefix of %x", ka, kb)
			}
			if len(a) == 0 || len(b) == 0 {
				continue
			}
			lower, upper := Bounds(1, a, b)
			for _, k := range keys {
				inside := bytes.Compare(lower, Key(1, k)) <= 0 && bytes.Compare(Key(1, k), upper) < 0
				if want := bytes.Compare(a, k) <= 0 && bytes.Compare(k, b) < 0; inside != want && len(k) > 0 {
					t.Fatalf("%x within [%x, %x): %t", k, a, b, inside)
				}
			}
		}
		ns, back, err := DecodeKey(nil, Key(1, a))
		if err != nil || ns != 1 || !bytes.Equal(back, a) {
			t.Fatalf("%x came back as %x, %v", a, back, err)
		}
	}
	lower, upper := Bounds(1, nil, nil)
	for _, k := range keys {
		if key := Key(1, k); bytes.Compare(key, lower) < 0 || bytes.Compare(key, upper) >= 0 {
			t.Fatalf("%x is outside its namespace", k)
		}
		if key := Key(2, k); bytes.Compare(key, upper) < 0 {
			t.Fatalf("%x of namespace 2 is inside namespace 1", k)
		}
	}
}

func TestValuesComeBackAndOtherTypesDoNot(t *testing.T) {
	for _, value := range []string{"", "v", "\x00\x01"} {
		if got, err := DecodeValue(EncodeValue([]byte(value))); err != nil || string(got) != value {
			t.Errorf("%q came back as %q, %v", value, got, err)
		}
	}
	for _, raw := range [][]byte{nil, {1}, {1, 2, 'v'}, {2, 1, 'v'}} {
		if _, err := DecodeValue(raw); err == nil {
			t.Errorf("%x was decoded", raw)
		}
	}
}

func FuzzDecodeKey(f *testing.F) {
	f.Add(Key(0x01020304, []byte("a\x00b")))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		if ns, key, err := DecodeKey(nil, data); err == nil && !bytes.Equal(Key(ns, key), data) {
			t.Fatalf("key %x does not come back", data)
		}
		_, _ = DecodeValue(data)
	})
}
