package node

import "testing"

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

func TestTheMemoryLimitIsSharedByAllShards(t *testing.T) {
	for name, c := range map[string]struct {
		config                     Config
		memtable, memtables, cache int // of one, of all, and of all
	}{
		"no limit":           {Config{}, 0, 0, 192 << 20},
		"no limit, 8 shards": {Config{Shards: 8}, 0, 0, 512 << 20},
		"much":               {Config{MemoryLimit: 4 << 30}, 16 << 20, 4 << 30 / 5, 192 << 20},
		"little":             {Config{MemoryLimit: 150 << 20, BootstrapExpect: 3}, 30 << 20 / 4, 30 << 20, 30 << 20},
		"many shards":        {Config{MemoryLimit: 150 << 20, Shards: 256}, 30 << 20 / 4, 30 << 20, 30 << 20},
		"flags decide":       {Config{MemoryLimit: 128 << 20, MemtableBytes: 5, CacheBytes: 7}, 5, 0, 21},
		"without limit":      {Config{MemtableBytes: 5}, 5, 0, 192 << 20},
	} {
		store, all := c.config.engineOptions(), c.config.runtimeOptions()
		if store.MemtableBytes != c.memtable || all.MemtableBytes != c.memtables || all.CacheBytes != c.cache {
			t.Errorf("%s: memtable %d, all memtables %d, caches %d; want %d, %d, %d", name,
				store.MemtableBytes, all.MemtableBytes, all.CacheBytes, c.memtable, c.memtables, c.cache)
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
	// Rows may have seven eighths of the caches of three shards.
	if got, want := large.collectorLimit(), int64(8<<30-3*(7<<27)); got != want {
		t.Errorf("%d beside caches of 1 GiB, want %d", got, want)
	}
	large.CacheBytes = 8 << 30
	if got := large.collectorLimit(); got != 1<<30 {
		t.Errorf("%d beside caches that are larger than the limit", got)
	}
}
