package node

import (
	"testing"

	"github.com/lightning-db/lightning/engine"
)

func TestSizesAreReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]struct {
		bytes int64
		shown string
	}{
		"1GiB": {1 << 30, "1GiB"}, "512MiB": {512 << 20, "512MiB"}, "1.5GiB": {3 << 29, "1536MiB"}, "1000": {1000, "1000"}, "0": {0, "0"}, "64 KiB": {64 << 10, "64KiB"},
	} {
		var s byteSize
		if err := s.Set(text); err != nil || int64(s) != want.bytes || s.String() != want.shown {
			t.Errorf("%q: %d, shown as %s, %v", text, int64(s), s.String(), err)
		}
	}
	for _, text := range []string{"", "GiB", "1GB", "-1GiB", "1e30GiB", "NaN", "much"} {
		if s := new(byteSize); s.Set(text) == nil {
			t.Errorf("%q is taken for %d bytes", text, int64(*s))
		}
	}
}

func TestTheMemoryLimitIsDividedAmongShards(t *testing.T) {
	for name, c := range map[string]struct {
		config Config
		want   engine.Options
	}{
		"no limit":      {Config{}, engine.Options{}},
		"much":          {Config{MemoryLimit: 4 << 30}, engine.Options{MemtableBytes: 16 << 20, CacheBytes: 64 << 20}},
		"little":        {Config{MemoryLimit: 150 << 20, BootstrapExpect: 3}, engine.Options{MemtableBytes: 20 << 20 / 6, CacheBytes: 10 << 20}},
		"flags decide":  {Config{MemoryLimit: 128 << 20, MemtableBytes: 5, CacheBytes: 7}, engine.Options{MemtableBytes: 5, CacheBytes: 7}},
		"without limit": {Config{MemtableBytes: 5}, engine.Options{MemtableBytes: 5}},
	} {
		if got := c.config.engineOptions(); got.MemtableBytes != c.want.MemtableBytes || got.CacheBytes != c.want.CacheBytes {
			t.Errorf("%s: memtable %d, cache %d; want %d, %d", name, got.MemtableBytes, got.CacheBytes, c.want.MemtableBytes, c.want.CacheBytes)
		}
	}
}

func TestRoomForRequestsIsAShareOfTheMemoryLimit(t *testing.T) {
	for limit, want := range map[byteSize]int{0: 256 << 20, 128 << 20: 32 << 20, 512 << 20: 128 << 20, 8 << 30: 256 << 20} {
		if got := (Config{MemoryLimit: limit}).share(commandShare, 256<<20); got != want {
			t.Errorf("of %s: %d, want %d", limit.String(), got, want)
		}
	}
}

func TestTheCollectorIsToldOfNoMoreThanIsLeftBesideTheCachesOutsideTheHeap(t *testing.T) {
	usual := Config{MemoryLimit: 10 << 30}
	large := Config{MemoryLimit: 10 << 30, CacheBytes: 1 << 30}
	if got := usual.collectorLimit(); got != 8<<30 {
		t.Errorf("%d without large caches", got)
	}
	// Five eighths of each shard's cache are rows.
	if got, want := large.collectorLimit(), int64(8<<30-3*(5<<27)); got != want {
		t.Errorf("%d beside caches of 1 GiB, want %d", got, want)
	}
	large.CacheBytes = 8 << 30
	if got := large.collectorLimit(); got != 1<<30 {
		t.Errorf("%d beside caches that are larger than the limit", got)
	}
}
