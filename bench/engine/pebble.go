package main

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// pebbleShape is where the variants differ.
type pebbleShape struct {
	blockBytes int
	filters    bool // gets go through an iterator that uses the filters of the last level, too, which DB.Get does not
}

const pebbleModule = "github.com/cockroachdb/pebble/v2"

var pebbleLogs = []string{".log"}

var pebbleEngine = &engine{
	name: "pebble", kind: "pebble", module: pebbleModule, log: true, logFiles: pebbleLogs, open: openPebble(pebbleShape{blockBytes: 4 << 10}),
	settings: "memtables 4 of 64 MiB, block cache 256 MiB (64 MiB for big-get), Snappy, Bloom filters of 10 bits on all levels, data and index blocks of 4 KiB, " +
		"L0CompactionThreshold 2, L0StopWritesThreshold 1000, LBaseMaxBytes 64 MiB, 1 to 2 compactions, newest format with columnar blocks; " +
		"its transactions are a get and a set under one of 1024 locks, without isolation",
	lacks: map[string]string{"apply": "see pebble-no-log"},
}

var pebbleNoLog = &engine{
	name: "pebble-no-log", kind: "pebble", module: pebbleModule, settings: "pebble with DisableWAL",
	only: append([]string{"apply"}, logged...), open: openPebble(pebbleShape{blockBytes: 4 << 10}),
}

var pebbleLargeBlocks = &engine{
	name: "pebble-32k", kind: "pebble", module: pebbleModule, settings: "pebble with data blocks of 32 KiB", log: true,
	only: []string{"get-uniform", "get-zipf", "get-hot", "get-absent", "scan-100", "scan-full"},
	open: openPebble(pebbleShape{blockBytes: 32 << 10}),
}

var pebbleFilters = &engine{
	name: "pebble-filters", kind: "pebble", module: pebbleModule, log: true,
	settings: "pebble, reading through SeekPrefixGE with UseL6Filters, because DB.Get leaves the filters of the last level out",
	only:     []string{"get-absent"}, open: openPebble(pebbleShape{blockBytes: 4 << 10, filters: true}),
}

type pebbleStore struct {
	*pebble.DB
	shape pebbleShape
	write *pebble.WriteOptions
	locks *[1024]sync.Mutex
	seed  maphash.Seed
}

func openPebble(shape pebbleShape) func(string, config) (store, error) {
	return func(dir string, c config) (store, error) {
		o := &pebble.Options{
			CacheSize: int64(c.cacheBytes), MemTableSize: uint64(c.bufferBytes), MemTableStopWritesThreshold: 4,
			L0CompactionThreshold: 2, L0StopWritesThreshold: 1000, LBaseMaxBytes: int64(c.bufferBytes),
			CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
			FormatMajorVersion:         pebble.FormatNewest, DisableWAL: !c.log, Logger: silence{},
		}
		o.Experimental.EnableColumnarBlocks = func() bool { return true }
		for i := range o.Levels {
			o.Levels[i] = pebble.LevelOptions{BlockSize: shape.blockBytes, IndexBlockSize: 4 << 10, FilterPolicy: bloom.FilterPolicy(10)}
		}
		opened, err := pebble.Open(dir, o)
		if err != nil {
			return nil, err
		}
		s := &pebbleStore{DB: opened, shape: shape, write: pebble.NoSync, locks: new([1024]sync.Mutex), seed: maphash.MakeSeed()}
		if c.sync {
			s.write = pebble.Sync
		}
		return s, nil
	}
}

func (s *pebbleStore) flush() error { return s.Flush() }

func (s *pebbleStore) settle() error {
	return errors.Join(s.Flush(), s.Compact(context.Background(), []byte{0}, []byte{0xff}, true))
}

func (s *pebbleStore) session() (session, error) { return &pebbleSession{s}, nil }

type pebbleSession struct{ *pebbleStore }

func (s *pebbleSession) get(key, buf []byte) ([]byte, bool, error) {
	if s.shape.filters {
		return s.getByIterator(key, buf)
	}
	value, closer, err := s.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return buf, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return append(buf, value...), true, closeAll(closer)
}

func closeAll(c io.Closer) error { return c.Close() }

func (s *pebbleSession) getByIterator(key, buf []byte) ([]byte, bool, error) {
	it, err := s.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, false, err
	}
	ok := it.SeekPrefixGE(key)
	if ok {
		buf = append(buf, it.Value()...)
	}
	return buf, ok, it.Close()
}

func (s *pebbleSession) scan(start []byte, limit int, to *seen) error {
	it, err := s.NewIter(nil)
	if err != nil {
		return err
	}
	for ok := it.SeekGE(start); ok && limit > 0; ok = it.Next() {
		to.add(it.Key(), it.Value())
		limit--
	}
	return it.Close()
}

func (s *pebbleSession) write(g *group) error {
	if len(g.keys) == 1 && g.index == 0 {
		return s.Set(g.keys[0], g.values[0], s.pebbleStore.write)
	}
	batch := s.NewBatch()
	for i, key := range g.keys {
		if err := batch.Set(key, g.values[i], nil); err != nil {
			return err
		}
	}
	if g.index > 0 {
		if err := batch.Set(positionKey, g.position(), nil); err != nil {
			return err
		}
	}
	return errors.Join(batch.Commit(s.pebbleStore.write), batch.Close())
}

func (s *pebbleSession) update(key []byte, change func([]byte)) error {
	lock := &s.locks[maphash.Bytes(s.seed, key)%uint64(len(s.locks))]
	lock.Lock()
	defer lock.Unlock()
	value, ok, err := s.get(key, nil)
	if err != nil || !ok {
		return errors.Join(err, missing(key, ok))
	}
	change(value)
	return s.Set(key, value, s.pebbleStore.write)
}

func (s *pebbleSession) close() error { return nil }

// silence is a logger without a voice, except for what ends the process.
type silence struct{}

func (silence) Infof(string, ...any)         {}
func (silence) Errorf(string, ...any)        {}
func (silence) Fatalf(f string, args ...any) { pebble.DefaultLogger.Fatalf(f, args...) }
func (silence) Warningf(string, ...any)      {}
func (silence) Debugf(string, ...any)        {}
