package main

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

var badgerEngine = &engine{
	name: "badger", kind: "badger", module: "github.com/dgraph-io/badger/v4", log: true, logFiles: []string{".vlog", ".mem"}, open: openBadger,
	settings: "its defaults (5 memtables of 64 MiB, Snappy, blocks of 4 KiB, Bloom filters of 1 %, 4 compactors, indices in memory, detection of conflicts), " +
		"block cache 256 MiB (64 MiB for big-get), no metrics; groups by WriteBatch, transactions with serializable snapshots, repeated after a conflict",
	lacks: map[string]string{"apply": "its log cannot be switched off"},
}

type badgerStore struct{ *badger.DB }

func openBadger(dir string, c config) (store, error) {
	o := badger.DefaultOptions(dir).WithSyncWrites(c.sync).WithBlockCacheSize(int64(c.cacheBytes)).
		WithMemTableSize(int64(c.bufferBytes)).WithMetricsEnabled(false).WithLogger(nil)
	if c.bufferBytes < 64<<20 { // a smoke run: a value must fit into a tenth of a memtable
		o = o.WithValueThreshold(int64(c.bufferBytes) / 20)
	}
	opened, err := badger.Open(o)
	if err != nil {
		return nil, err
	}
	return badgerStore{opened}, nil
}

// flush does nothing: only closing writes a memtable out.
func (s badgerStore) flush() error              { return nil }
func (s badgerStore) settle() error             { return s.Flatten(workers) }
func (s badgerStore) session() (session, error) { return badgerSession{s.DB}, nil }

type badgerSession struct{ *badger.DB }

func (s badgerSession) get(key, buf []byte) (value []byte, ok bool, err error) {
	err = s.View(func(txn *badger.Txn) error {
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		ok = true
		return item.Value(func(v []byte) error {
			value = append(buf, v...)
			return nil
		})
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return buf, false, nil
	}
	return value, ok, err
}

func (s badgerSession) scan(start []byte, limit int, to *seen) error {
	return s.View(func(txn *badger.Txn) error {
		// Fetching ahead is for values in value logs; with these here it costs six times as much.
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Seek(start); it.Valid() && limit > 0; it.Next() {
			item := it.Item()
			if err := item.Value(func(v []byte) error { to.add(item.Key(), v); return nil }); err != nil {
				return err
			}
			limit--
		}
		return nil
	})
}

func (s badgerSession) write(g *group) error {
	if len(g.keys) == 1 {
		return s.Update(func(txn *badger.Txn) error { return txn.Set(g.keys[0], g.values[0]) })
	}
	batch := s.NewWriteBatch()
	defer batch.Cancel()
	for i, key := range g.keys {
		if err := batch.Set(key, g.values[i]); err != nil {
			return err
		}
	}
	return batch.Flush()
}

func (s badgerSession) update(key []byte, change func([]byte)) error {
	for {
		err := s.Update(func(txn *badger.Txn) error {
			item, err := txn.Get(key)
			if err != nil {
				return err
			}
			value, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			change(value)
			return txn.Set(key, value)
		})
		if !errors.Is(err, badger.ErrConflict) {
			return err
		}
	}
}

func (s badgerSession) close() error { return nil }

// missing is the error of a transaction that finds no value to change.
func missing(key []byte, ok bool) error {
	if ok {
		return nil
	}
	return fmt.Errorf("key %s has no value to change", key)
}
