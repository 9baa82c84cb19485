package main

import (
	"context"
	"errors"

	db "github.com/lightning-db/lightning/engine"
)

const noTransactionsYet = "the engine has no transactions yet"

var lightning = &engine{
	name: "lightning", kind: "lightning", log: true, logFiles: []string{".log"}, open: openLightning(db.LogNever),
	settings: "memtables of 64 MiB, block cache 256 MiB (64 MiB for big-get), LogAlways for durable writes and LogNever for others, " +
		"where the operating system has a write when it is acknowledged, else its defaults",
	lacks: map[string]string{"apply": "see lightning-no-log", "mixed": noTransactionsYet},
}

var lightningInterval = &engine{
	name: "lightning-interval", kind: "lightning", log: true, logFiles: []string{".log"}, open: openLightning(db.LogInterval),
	settings: "lightning with LogInterval: acknowledged writes of 100 ms may be in the process only, and are synced then", only: logged,
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

func (s lightningStore) flush() error              { return s.Flush() }
func (s lightningStore) settle() error             { return s.Compact(context.Background()) }
func (s lightningStore) session() (session, error) { return &lightningSession{s.DB, s.NewBatch()}, nil }

type lightningSession struct {
	db    *db.DB
	batch *db.Batch
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

func (s *lightningSession) update([]byte, func([]byte)) error { return errors.New(noTransactionsYet) }

func (s *lightningSession) close() error { return nil }
