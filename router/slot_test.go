package router

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/lightning-db/lightning/api"
)

func TestCRC16IsXMODEM(t *testing.T) {
	// The check value of the CRC catalogue, also given in the Redis Cluster specification.
	if got := crc16([]byte("123456789")); got != 0x31c3 {
		t.Fatalf("crc16(123456789) = %#04x, want 0x31c3", got)
	}
	if got := crc16(nil); got != 0 {
		t.Fatalf("crc16 of nothing = %#04x, want 0", got)
	}
}

// The slots are what CLUSTER KEYSLOT of a Redis server answers.
func TestSlotIsRedisClusters(t *testing.T) {
	for _, c := range []struct {
		key  string
		want api.Slot
	}{
		{"123456789", 12739},
		{"foo", 12182},
		{"bar", 5061},
		{"hello", 866},
		{"somekey", 11058},
		{"foo{hash_tag}", 2515},
		{"bar{hash_tag}", 2515},
		{"hash_tag", 2515},
		{"", 0},
	} {
		if got := Slot(0, []byte(c.key)); got != c.want {
			t.Errorf("Slot(%q) = %d, want %d", c.key, got, c.want)
		}
	}
}

// The examples of the Redis Cluster specification, "Hash tags".
func TestSlotHashesTheTagAlone(t *testing.T) {
	for _, c := range []struct{ key, tag string }{
		{"{user1000}.following", "user1000"},
		{"{user1000}.followers", "user1000"},
		{"foo{}{bar}", "foo{}{bar}"},
		{"foo{{bar}}zap", "{bar"},
		{"foo{bar}{zap}", "bar"},
		{"{}", "{}"},
		{"{a", "{a"},
		{"}a{b}", "b"},
		{"a}{", "a}{"},
		{"{a}", "a"},
	} {
		if got, want := Slot(0, []byte(c.key)), api.Slot(crc16([]byte(c.tag))%api.SlotCount); got != want {
			t.Errorf("Slot(%q) = %d, want that of %q, %d", c.key, got, c.tag, want)
		}
		if got := hashTag([]byte(c.key)); string(got) != c.tag {
			t.Errorf("hashTag(%q) = %q, want %q", c.key, got, c.tag)
		}
	}
}

// naiveSlot follows the specification's text bit by bit.
func naiveSlot(key []byte) api.Slot {
	hashed := key
	for i, c := range key {
		if c != '{' {
			continue
		}
		for j := i + 1; j < len(key); j++ {
			if key[j] == '}' {
				if j > i+1 {
					hashed = key[i+1 : j]
				}
				break
			}
		}
		break
	}
	crc := uint32(0)
	for _, c := range hashed {
		for bit := 7; bit >= 0; bit-- {
			top := crc>>15&1 ^ uint32(c)>>bit&1
			crc = crc << 1 & 0xffff
			if top == 1 {
				crc ^= 0x1021
			}
		}
	}
	return api.Slot(crc % api.SlotCount)
}

func FuzzSlot(f *testing.F) {
	for _, s := range []string{"", "a", "{a}b", "{}a", "a{b", "}{a}", "{{a}}", "a{b}c{d}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, key []byte) {
		before := bytes.Clone(key)
		if got, want := Slot(0, key), naiveSlot(key); got != want {
			t.Fatalf("Slot(%q) = %d, want %d", key, got, want)
		}
		if !bytes.Equal(key, before) {
			t.Fatal("Slot changed the key")
		}
	})
}

func BenchmarkSlot(b *testing.B) {
	for _, n := range []int{16, 256} {
		b.Run(fmt.Sprintf("key=%dB", n), func(b *testing.B) {
			key := bytes.Repeat([]byte("k"), n)
			b.SetBytes(int64(n))
			for b.Loop() {
				Slot(0, key)
			}
		})
	}
}
