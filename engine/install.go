package engine

import (
	"fmt"
	"slices"

	"github.com/lightning-db/lightning/engine/internal/family"
	"github.com/lightning-db/lightning/engine/internal/levels"
	"github.com/lightning-db/lightning/engine/internal/manifest"
	"github.com/lightning-db/lightning/internal/seededbug"
)

// edit is one atomic change of what the store holds.
type edit struct {
	remove  []*levels.Table
	add     []levels.Placed
	flushed *sealed // the memtable whose rows are in add, if any
	state   func(*manifest.State)
	dropped *family.Dropped // what the making of add left out
}

// installEdit makes an edit durable, then visible. After an error nothing has changed for readers; the
// disk holds the old state or the new one, and all files of both.
func (db *DB) installEdit(e edit) error {
	db.install.Lock()
	defer db.install.Unlock()
	if err := db.failure(); err != nil {
		closeNew(e)
		return err
	}
	set := db.view.Load().set.With(e.remove, e.add)
	state := *db.durable.Load()
	e.state(&state)
	state.NextFile = db.nextFile.Load()
	state.Tables = tablesOf(set)
	if seededbug.Enabled(seededbug.EngineRemoveBeforeManifest) {
		for _, t := range e.remove {
			if !slices.ContainsFunc(e.add, func(p levels.Placed) bool { return p.Table == t }) {
				db.options.FS.Remove(db.path(tableName(t.Number)))
			}
		}
	}
	if err := db.storeState(&state, len(e.add) > 0); err != nil {
		if noRoom(err) {
			db.discardNew(e)
		} else {
			db.install.unsure = true
		}
		set.Unref() // closes the new tables; their files stay, for the new manifest may have reached the disk
		return err
	}
	for _, t := range e.remove {
		t.Obsolete.Store(true)
	}
	for _, p := range e.add {
		p.Table.Obsolete.Store(false) // a table that only moved is in both lists
	}
	db.durable.Store(&state)
	db.tablesCome(e)
	db.mu.Lock()
	old := db.replaceViewLocked(func(v *view) *view {
		left := v.sealed
		if e.flushed != nil {
			db.mu.flushed = e.flushed.number
			db.mu.pace.flushed = 0
			left = slices.DeleteFunc(slices.Clone(left), func(s *sealed) bool { return s == e.flushed })
		}
		return newView(v.memory, left, set)
	})
	db.mu.Unlock()
	db.tablesCame(e)
	old.retire()
	db.wakeCompaction()
	return nil
}

// storeState writes the manifest after the names of new tables (M1).
func (db *DB) storeState(state *manifest.State, newTables bool) error {
	if newTables && !seededbug.Enabled(seededbug.EngineSkipDirectorySync) {
		if err := db.options.FS.SyncDir(db.dir); err != nil {
			return fmt.Errorf("sync directory of engine: %w", err)
		}
	}
	return manifest.Store(db.options.FS, db.dir, state)
}

func tablesOf(set *levels.Set) (tables []manifest.Table) {
	for level, in := range set.Levels {
		for _, t := range in {
			tables = append(tables, manifest.Table{Level: level, Number: t.Number, Size: t.Size})
		}
	}
	return tables
}

// closeNew closes the tables of an edit that nobody will read.
func closeNew(e edit) {
	for _, p := range e.add {
		if !slices.Contains(e.remove, p.Table) {
			p.Table.Reader.Close()
		}
	}
}

// discardNew has the files of an edit removed that a full disk refused: the manifest is as it was, for certain.
func (db *DB) discardNew(e edit) {
	_ = db.options.FS.Remove(db.path(manifest.Name + ".tmp")) // it may not have been made, and the next Open removes it
	for _, p := range e.add {
		if !slices.Contains(e.remove, p.Table) {
			p.Table.Obsolete.Store(true)
		}
	}
}

// release is told that no view holds a table any more. Reading goroutines come here too, so the
// file is left to the compaction loop; once that is gone, it is only closed: the directory may
// belong to somebody else by then.
func (db *DB) release(t *levels.Table) {
	db.mu.Lock()
	detached := db.mu.detached
	if !detached {
		db.mu.released = append(db.mu.released, t)
	}
	db.mu.Unlock()
	if detached {
		t.Reader.Close()
		return
	}
	db.wakeCompaction()
}

// removeReleased closes released tables and removes the files that no manifest names. A file that
// cannot be removed is left to the next Open.
func (db *DB) removeReleased() {
	db.mu.Lock()
	released := db.mu.released
	db.mu.released = nil
	db.mu.Unlock()
	failed := db.failure() != nil
	if len(released) > 0 {
		db.forgetBlocks(released)
	}
	for _, t := range released {
		err := t.Reader.Close()
		if t.Obsolete.Load() && !failed {
			err = db.options.FS.Remove(db.path(tableName(t.Number)))
			if err == nil {
				db.events.emit(Event{Kind: EventTableDeleted, Table: t.Number, Bytes: t.Size})
			}
		}
		if err != nil {
			db.options.Logger.Warn("table not removed", "dir", db.dir, "table", t.Number, "error", err)
		}
	}
}
