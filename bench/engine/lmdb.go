//go:build cgo

package main

import (
	"os"

	"github.com/PowerDNS/lmdb-go/lmdb"
)

var lmdbEngine = &engine{
	name: "lmdb", kind: "lmdb", module: "github.com/PowerDNS/lmdb-go", inPlace: true, open: openLMDB,
	settings: "by cgo, the C library that the module brings; NoTLS, NoReadahead, NoSync and NoMetaSync but for durable writes, a map of 16 GiB, " +
		"each session's read transaction renewed for each operation, values not copied by the binding; it has no log; transactions are serial",
}

type lmdbStore struct {
	*lmdb.Env
	rows lmdb.DBI
}

func openLMDB(dir string, c config) (store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	env, err := lmdb.NewEnv()
	if err != nil {
		return nil, err
	}
	const mapBytes = 16 << 30
	if err := env.SetMapSize(mapBytes); err != nil {
		return nil, err
	}
	flags := uint(lmdb.NoTLS | lmdb.NoReadahead)
	if !c.sync {
		flags |= lmdb.NoSync | lmdb.NoMetaSync
	}
	if err := env.Open(dir, flags, 0o644); err != nil {
		return nil, err
	}
	s := &lmdbStore{Env: env}
	return s, env.Update(func(txn *lmdb.Txn) (err error) {
		s.rows, err = txn.OpenRoot(0)
		return err
	})
}

func (s *lmdbStore) flush() error  { return s.Sync(true) }
func (s *lmdbStore) settle() error { return nil }

func (s *lmdbStore) session() (session, error) {
	txn, err := s.BeginTxn(nil, lmdb.Readonly)
	if err != nil {
		return nil, err
	}
	txn.RawRead = true
	txn.Reset()
	return &lmdbSession{s, txn}, nil
}

type lmdbSession struct {
	*lmdbStore
	reads *lmdb.Txn
}

func (s *lmdbSession) close() error {
	s.reads.Abort()
	return nil
}

func (s *lmdbSession) get(key, buf []byte) ([]byte, bool, error) {
	if err := s.reads.Renew(); err != nil {
		return nil, false, err
	}
	defer s.reads.Reset()
	value, err := s.reads.Get(s.rows, key)
	if lmdb.IsNotFound(err) {
		return buf, false, nil
	}
	return append(buf, value...), err == nil, err
}

func (s *lmdbSession) scan(start []byte, limit int, to *seen) error {
	if err := s.reads.Renew(); err != nil {
		return err
	}
	defer s.reads.Reset()
	cursor, err := s.reads.OpenCursor(s.rows)
	if err != nil {
		return err
	}
	defer cursor.Close()
	key, value, err := cursor.Get(start, nil, lmdb.SetRange)
	for err == nil && limit > 0 {
		to.add(key, value)
		limit--
		key, value, err = cursor.Get(nil, nil, lmdb.Next)
	}
	if lmdb.IsNotFound(err) {
		return nil
	}
	return err
}

func (s *lmdbSession) write(g *group) error {
	return s.Update(func(txn *lmdb.Txn) error {
		for i, key := range g.keys {
			if err := txn.Put(s.rows, key, g.values[i], 0); err != nil {
				return err
			}
		}
		if g.index > 0 {
			return txn.Put(s.rows, positionKey, g.position(), 0)
		}
		return nil
	})
}

func (s *lmdbSession) update(key []byte, change func([]byte)) error {
	return s.Update(func(txn *lmdb.Txn) error {
		value, err := txn.Get(s.rows, key)
		if err != nil {
			return err
		}
		change(value)
		return txn.Put(s.rows, key, value, 0)
	})
}
