package keyhash

import "testing"

// TestTheHashIsThatOfTheFormat fixes it for keys of every length that has a case of its own (HK1).
func TestTheHashIsThatOfTheFormat(t *testing.T) {
	const key = "0123456789abcdefg"
	for n, want := range []uint64{
		0x9960507cd3fa4327, 0xb5910b2ba0f6c77c, 0x22ce709be0cf77d7, 0xe9d3e4e43cfa24c0, 0x71df0f4ba81c7d03, 0x5c15d776f28e08f6,
		0x672e9aef2da078a9, 0xe297aa1e0b07ab30, 0xa8f880cacde9efb9, 0xa0f013bae66168b7, 0xe662f92efbc58d8a, 0xc6c04e50cbd0bede,
		0x169a5c649e2fb27f, 0x987bc2bbc084447f, 0x2920c2e2f59f9d99, 0xf4e10e58e7e2bf1a, 0xd57b6ba7d50d75b0, 0xf2eb80fdc5adf32e,
	} {
		if got := Of([]byte(key[:n])); got != want {
			t.Errorf("%d bytes: %#x, want %#x", n, got, want)
		}
	}
}

func BenchmarkOf(b *testing.B) {
	key := []byte("user000000123456")
	for b.Loop() {
		if Of(key) == 0 {
			b.Fatal("zero")
		}
	}
}
