package main

import (
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

var bboltEngine = &engine{
	name: "bbolt", kind: "bbolt", module: "go.etcd.io/bbolt", inPlace: true, open: openBbolt,
	settings: "hash map freelist, NoFreelistSync, NoSync and NoGrowSync but for durable writes, initial mapping of 4 GiB, pages of 4 KiB; " +
		"durable writes of several workers by Batch (delay 1 ms, size as many as workers); it has no log; transactions are serial",
}

type bboltStore struct {
	*bbolt.DB
	batched bool
}

var bucketName = []byte("rows")

func openBbolt(dir string, c config) (store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	opened, err := bbolt.Open(filepath.Join(dir, "bolt"), 0o644, &bbolt.Options{
		FreelistType: bbolt.FreelistMapType, NoFreelistSync: true, NoSync: !c.sync, NoGrowSync: !c.sync, InitialMmapSize: 4 << 30, PageSize: 4 << 10,
	})
	if err != nil {
		return nil, err
	}
	opened.MaxBatchDelay, opened.MaxBatchSize = time.Millisecond, c.writers
	return &bboltStore{opened, c.sync && c.writers > 1}, opened.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucketName)
		return err
	})
}

func (s *bboltStore) flush() error              { return s.Sync() }
func (s *bboltStore) settle() error             { return nil }
func (s *bboltStore) session() (session, error) { return s, nil }
func (s *bboltStore) close() error              { return nil }

func (s *bboltStore) get(key, buf []byte) (value []byte, ok bool, err error) {
	err = s.View(func(tx *bbolt.Tx) error {
		v := tx.Bucket(bucketName).Get(key)
		ok, value = v != nil, append(buf, v...)
		return nil
	})
	return value, ok, err
}

func (s *bboltStore) scan(start []byte, limit int, to *seen) error {
	return s.View(func(tx *bbolt.Tx) error {
		cursor := tx.Bucket(bucketName).Cursor()
		for key, value := cursor.Seek(start); key != nil && limit > 0; key, value = cursor.Next() {
			to.add(key, value)
			limit--
		}
		return nil
	})
}

func (s *bboltStore) write(g *group) error {
	update := s.Update
	if s.batched {
		update = s.Batch
	}
	return update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketName)
		for i, key := range g.keys {
			if err := bucket.Put(key, g.values[i]); err != nil {
				return err
			}
		}
		if g.index > 0 {
			return bucket.Put(positionKey, g.position())
		}
		return nil
	})
}

func (s *bboltStore) update(key []byte, change func([]byte)) error {
	return s.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(bucketName)
		value := append([]byte(nil), bucket.Get(key)...)
		if len(value) == 0 {
			return missing(key, false)
		}
		change(value)
		return bucket.Put(key, value)
	})
}
