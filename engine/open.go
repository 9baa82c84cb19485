package engine

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/lightning-db/lightning/engine/internal/corrupt"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/engine/internal/memtable"
	"github.com/lightning-db/lightning/engine/internal/salvage"
	"github.com/lightning-db/lightning/engine/internal/table"
	"github.com/lightning-db/lightning/engine/internal/wal"
	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

const (
	lockName    = "LOCK"
	tableSuffix = ".table"
)

func tableName(number uint64) string { return fmt.Sprintf("%06d%s", number, tableSuffix) }

func (db *DB) path(name string) string { return db.dir + "/" + name }

// Open opens the store in a directory, which it makes if it is missing, and locks it. What it
// finds is what the last installed flush left, and what the log has of the batches after it, if there was one: every batch
// up to Durable, and none after it. What it takes from a log it writes into tables before it returns, whatever Options.Log says.
// A directory with tables or a log, but without an intact manifest, is a CorruptionError, and so is a log that is damaged
// elsewhere than at its very end (Metrics().Log tells what was cut there). Repair makes a store of either.
//
// With Options.ReadOnly nothing is made, written or removed.
func Open(dir string, o Options) (*DB, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	dir = path.Clean(dir)
	lock, err := lockDirectory(o, dir)
	if err != nil {
		return nil, err
	}
	db := &DB{
		dir: dir, options: o, lock: lock,
		nudge: make(chan struct{}, 1), manual: make(chan chan error), stop: make(chan struct{}),
		retry: make(chan struct{}, 1),
	}
	db.mu.changed = make(chan struct{})
	o.runtime().join(db)
	if err := db.load(); err != nil {
		db.runtime.leave(db)
		lock.Close()
		return nil, fmt.Errorf("open engine: %w", err)
	}
	db.events.start(o.Events)
	if o.ReadOnly {
		if seededbug.Enabled(seededbug.EngineReadOnlySkipsLog) {
			return db, nil
		}
		if err := errors.Join(db.readLog(), db.loadFamilies()); err != nil {
			db.abort()
			return nil, fmt.Errorf("open engine: %w", err)
		}
		return db, nil
	}
	if o.Clock != nil {
		db.loops.Add(1)
		go db.expireLoop()
	}
	db.loops.Add(2)
	go db.flushLoop()
	go db.compactLoop()
	err = db.openLog()
	if err == nil {
		err = db.loadFamilies()
	}
	if err != nil {
		db.abort()
		return nil, fmt.Errorf("open engine: %w", err)
	}
	if o.ScrubBytesPerSecond > 0 {
		db.loops.Add(1)
		go db.scrubLoop()
	}
	return db, nil
}

// lockDirectory makes the directory if it is missing, and locks it: for this store alone, or with others that only read.
func lockDirectory(o Options, dir string) (io.Closer, error) {
	take := o.FS.Lock
	if o.ReadOnly {
		take = o.FS.LockShared
		if seededbug.Enabled(seededbug.EngineReadOnlyUnlocked) {
			return unlocked{}, nil
		}
	} else if err := o.FS.MkdirAll(dir); err != nil {
		return nil, fmt.Errorf("make directory of engine: %w", err)
	}
	lock, err := take(dir + "/" + lockName)
	switch {
	case o.ReadOnly && vfs.IsNotExist(err): // a checkpoint that nobody has opened, or no store: load will tell
		return unlocked{}, nil
	case errors.Is(err, ErrLocked):
		return nil, fmt.Errorf("directory of engine %s is in use, close the store that has it open: %w", dir, err)
	case err != nil:
		return nil, fmt.Errorf("lock directory of engine: %w", err)
	}
	return lock, nil
}

// unlocked stands for a lock that there is no file for.
type unlocked struct{}

// Close implements io.Closer.
func (unlocked) Close() error { return nil }

// load makes the first view of what is on the disk.
func (db *DB) load() error {
	state, err := manifest.Load(db.options.FS, db.dir)
	if err != nil {
		return err
	}
	if err := db.refuseUnrepaired(); err != nil {
		return err
	}
	if state == nil {
		if state, err = db.create(); err != nil {
			return err
		}
	}
	if !db.options.ReadOnly || seededbug.Enabled(seededbug.EngineReadOnlyRemoves) {
		if err := db.settle(state); err != nil {
			return err
		}
	}
	if state.Families != db.options.Families {
		return fmt.Errorf("%s: store with column families: %v, Options.Families: %v: %w", db.dir, state.Families, db.options.Families, ErrFamilies)
	}
	set, err := db.openTables(state)
	if err != nil {
		return err
	}
	db.adopt(state, set)
	return nil
}

// refuseUnrepaired keeps everybody out of a directory in which Repair was cut short: its files are on their way, and what was
// written now would be lost when Repair goes on.
func (db *DB) refuseUnrepaired() error {
	names, err := db.options.FS.List(db.dir)
	if err == nil && slices.Contains(names, salvage.WorkName) {
		return fmt.Errorf("%s: %w", db.path(salvage.WorkName), ErrUnrepaired)
	}
	if vfs.IsNotExist(err) {
		return nil
	}
	return err
}

// settle makes what was found durable, and removes what a crash left behind.
func (db *DB) settle(state *manifest.State) error {
	// The name of the manifest may be one that the process before could not make durable. Nothing may go that the manifest
	// before it names, and nothing be called durable, until it is (E7).
	if !seededbug.Enabled(seededbug.EngineOpenWithoutSync) {
		if err := db.options.FS.SyncDir(db.dir); err != nil {
			return fmt.Errorf("sync directory of engine: %w", err)
		}
	}
	return db.removeLeftovers(state)
}

// create makes an empty store, but only where there is none: a lost manifest must not turn a
// store into an empty one (E6).
func (db *DB) create() (*manifest.State, error) {
	names, err := db.options.FS.List(db.dir)
	if err != nil && !(db.options.ReadOnly && vfs.IsNotExist(err)) {
		return nil, err
	}
	for _, name := range names {
		if strings.HasSuffix(name, tableSuffix) || strings.HasSuffix(name, wal.Suffix) {
			return nil, corrupt.Shape(manifest.Name, 0, "manifest", "a file, as there is "+name, "none")
		}
	}
	if db.options.ReadOnly {
		return nil, fmt.Errorf("%s: %w", db.dir, ErrNoStore)
	}
	state := &manifest.State{NextFile: 1, Families: db.options.Families}
	return state, manifest.Store(db.options.FS, db.dir, state)
}

// removeLeftovers deletes what a crash left behind: tables that no manifest names and temporary
// files.
func (db *DB) removeLeftovers(state *manifest.State) error {
	names, err := db.options.FS.List(db.dir)
	if err != nil {
		return err
	}
	known := make(map[string]bool, len(state.Tables))
	for _, t := range state.Tables {
		known[tableName(t.Number)] = true
	}
	for _, name := range names {
		left := strings.HasSuffix(name, tableSuffix) && !known[name] || name == manifest.Name+".tmp"
		if !left {
			continue
		}
		if err := db.options.FS.Remove(db.path(name)); err != nil {
			return fmt.Errorf("remove leftover %s: %w", name, err)
		}
	}
	return nil
}

// openTables opens every table of the manifest.
func (db *DB) openTables(state *manifest.State) (*levels.Set, error) {
	var placed []levels.Placed
	closeAll := func() {
		for _, p := range placed {
			p.Table.Reader.Close()
		}
	}
	for _, t := range state.Tables {
		opened, err := db.openTable(t.Number, t.Size)
		if err != nil {
			closeAll()
			return nil, err
		}
		placed = append(placed, levels.Placed{Level: t.Level, Table: opened})
	}
	set := levels.New(placed)
	if !set.Disjoint() {
		closeAll()
		return nil, corrupt.Shape(manifest.Name, 0, "levels", "disjoint tables", "overlapping ones")
	}
	return set, nil
}

// openTable opens one table. A file that is missing or has another length is damage.
func (db *DB) openTable(number, size uint64) (*levels.Table, error) {
	name := tableName(number)
	f, err := db.options.FS.Open(db.path(name))
	if vfs.IsNotExist(err) {
		return nil, corrupt.Shape(name, 0, "file", "one, as the manifest names it", "none")
	}
	if err != nil {
		return nil, fmt.Errorf("open table: %w", err)
	}
	r, err := table.Open(f, name, number, db.blocks)
	if err != nil {
		return nil, err
	}
	if uint64(r.Size()) != size {
		r.Close()
		return nil, corrupt.Shape(name, 0, "length of file", size, r.Size())
	}
	return &levels.Table{
		Number: number, Size: size, Properties: r.Properties(), Reader: r, Ranges: r.Ranges(), Released: db.release,
	}, nil
}

// adopt takes a state and its tables as the store's own.
func (db *DB) adopt(state *manifest.State, set *levels.Set) {
	db.durable.Store(state)
	db.nextFile.Store(state.NextFile)
	db.floor = Version(state.Floor)
	db.write.last = &applied{
		batch:     state.LastBatch,
		sequence:  state.LastSequence,
		version:   Version(state.LastVersion),
		position:  Position{Index: state.PositionIndex, Term: state.PositionTerm},
		horizon:   Horizon{Version: Version(state.HorizonVersion), ExpiryMillis: state.HorizonExpiry},
		unordered: state.Unordered,
	}
	db.applied.Store(db.write.last)
	db.latest.Store(state.HorizonExpiry)
	db.view.Store(newView(memtable.New(0), nil, set))
}
