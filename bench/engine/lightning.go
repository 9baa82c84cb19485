package main

import (
	"context"
	"fmt"

	db "github.com/lightning-db/lightning/engine"
)

var lightning = &engine{
	name: "lightning", kind: "lightning", log: true, logFiles: []string{".log"}, open: openLightning(db.LogNever),
	settings: "memtables of 64 MiB, caches of rows and blocks 256 MiB together (64 MiB for big-get), transactions with snapshot isolation, LogAlways for durable writes and LogNever for others, " +
		"where the operating system has a write when it is acknowledged, else its defaults",
	lacks: map[string]string{"apply": "see lightning-no-log"},
}

var lightningInterval = &engine{
	name: "lightning-interval", kind: "lightning", log: true, logFiles: []string{".log"}, open: openLightning(db.LogInterval),
	settings: "lightning with LogInterval: acknowledged writes may be in the process only, 64 KiB of them or 4 MiB during a sync, and are synced every 100 ms", only: logged,
}

var lightningNoLog = &engine{
	name: "lightning-no-log", kind: "lightning", open: openLightning(db.LogOff),
	settings: "lightning with LogOff", only: append([]string{"apply"}, logged...),
}

func openLightning(mode db.LogMode) func(string, config) (store, error) {
	return func(dir string, c config) (store, error) {
		o := db.Options{MemtableBytes: c.bufferBytes, CacheBytes: c.cacheBytes, Log: mode}
		if c.sync {
			o.Log = db.LogAlways
		}
		opened, err := db.Open(dir, o)
		if err != nil {
			return nil, err
		}
		return lightningStore{opened}, nil
	}
}

type lightningStore struct{ *db.DB }

func (s lightningStore) flush() error  { return s.Flush() }
func (s lightningStore) settle() error { return s.Compact(context.Background()) }
func (s lightningStore) session() (session, error) {
	return &lightningSession{db: s.DB, batch: s.NewBatch()}, nil
}

type lightningSession struct {
	db    *db.DB
	batch *db.Batch
	value []byte
}

func (s *lightningSession) get(key, buf []byte) ([]byte, bool, error) {
	row, ok, err := s.db.GetInto(buf, key, db.MaxVersion)
	return row.Value, ok, err
}

func (s *lightningSession) scan(start []byte, limit int, to *seen) error {
	snapshot := s.db.Snapshot()
	defer snapshot.Close()
	it := snapshot.NewIterator(db.IteratorOptions{})
	for ok := it.SeekGE(start); ok && limit > 0; ok = it.Next() {
		row := it.Row()
		to.add(row.Key, row.Value)
		limit--
	}
	return it.Close()
}

func (s *lightningSession) write(g *group) error {
	for i, key := range g.keys {
		s.batch.Put(key, g.values[i], 0, 0)
	}
	if g.index > 0 {
		s.batch.SetPosition(db.Position{Index: g.index, Term: 1})
	}
	return s.db.Apply(s.batch)
}

// update runs a transaction with snapshot isolation, which is repeated when another one has changed the key meanwhile.
func (s *lightningSession) update(key []byte, change func([]byte)) error {
	return s.db.Update(context.Background(), db.TxOptions{}, func(tx *db.Tx) error {
		row, ok, err := tx.Get(key)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("key %s is gone", key)
		}
		s.value = append(s.value[:0], row.Value...)
		change(s.value)
		return tx.Put(key, s.value, 0)
	})
}

func (s *lightningSession) close() error { return nil }
