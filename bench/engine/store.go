package main

import "encoding/binary"

// engine is a store that can be measured, with its settings.
type engine struct {
	name     string
	kind     string   // whose it is: variants of one kind stand together
	module   string   // whose version is printed
	settings string   // as they are printed
	log      bool     // writes go through a log, if the engine has one that can be switched off
	inPlace  bool     // pages are changed in place: what the kernel counts as written means nothing
	logFiles []string // endings of the names of logs, which are as large as they are allowed to be, used or not
	only     []string
	lacks    map[string]string // workloads that it cannot do, with the reason
	open     func(dir string, c config) (store, error)
}

// config is what a scene wants of a store.
type config struct {
	sync        bool // a write is acknowledged when it is on the disk
	log         bool
	writers     int
	cacheBytes  int
	bufferBytes int // of one memtable, where there are any
}

// store is an open store.
type store interface {
	session() (session, error)
	// flush writes out what is in memory, as far as the store can be told to.
	flush() error
	// settle brings the store into the state that it reads best from.
	settle() error
	Close() error
}

// session is one worker's use of a store.
type session interface {
	// get appends the value of a key to buf.
	get(key, buf []byte) (value []byte, ok bool, err error)
	// scan shows up to limit rows from start on.
	scan(start []byte, limit int, to *seen) error
	// write makes a group of rows visible together.
	write(g *group) error
	// update changes a value of eight bytes or more in a transaction.
	update(key []byte, change func(value []byte)) error
	close() error
}

// group is what is written together.
type group struct {
	keys, values [][]byte
	// index is the place in the log of the caller that the group comes from, to be stored with it; zero for none.
	index uint64
}

// positionKey is where stores without a notion of a caller's log keep the index. It is before all other keys.
var positionKey = []byte("position")

func (g *group) position() []byte {
	return binary.BigEndian.AppendUint64(nil, g.index)
}

// seen gathers the rows that a scan shows.
type seen struct {
	rows  int
	sum   uint64
	check func(key, value []byte)
}

func (s *seen) add(key, value []byte) {
	s.rows++
	s.sum += binary.LittleEndian.Uint64(value) + uint64(key[len(key)-1])
	if s.check != nil {
		s.check(key, value)
	}
}

var engines = []*engine{
	lightning, lightningInterval, lightningNoLog, pebbleEngine, pebbleNoLog, pebbleLargeBlocks, pebbleFilters,
	badgerEngine, bboltEngine, lmdbEngine,
}

func engineNamed(name string) *engine {
	for _, e := range engines {
		if e.name == name {
			return e
		}
	}
	return nil
}

// takesPart reports whether a workload is one that the variant was made for.
func (e *engine) takesPart(workload string) bool {
	if e.only == nil {
		return true
	}
	for _, w := range e.only {
		if w == workload {
			return true
		}
	}
	return false
}

// cannot is the reason why an engine lacks a workload, or empty.
func (e *engine) cannot(workload string) string {
	if !e.takesPart(workload) {
		return ""
	}
	return e.lacks[workload]
}

// logged are the workloads whose writes go through the log of a store that has one. Variants without it do the same.
var logged = []string{"load", "put", "batch-100", "churn", "kib-put"}
