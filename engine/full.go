package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/lightning-db/lightning/internal/seededbug"
	"github.com/lightning-db/lightning/internal/vfs"
)

// retryInterval is how long a flush or a compaction that found no room on the disk waits before it tries again, unless
// somebody asks for a flush: each attempt may write a whole table before it fails, and a second does no harm to who waits for an operator.
const retryInterval = time.Second

// full is what flushes and compactions found out about the room on the disk.
type full struct {
	flush      error  // of the last flush, or nil
	compaction error  // of the last compaction, or nil
	failures   uint64 // attempts that found no room
}

// noRoom reports whether an error says that the disk had no room for a new file, which is thrown away: nothing has
// changed, and it may be written again later. A sync that fails is not that, whatever it says.
func noRoom(err error) bool {
	return vfs.NoRoom(err) || seededbug.Enabled(seededbug.EngineGoOnAfterFailedSync) && vfs.Full(err)
}

// asFull makes an error that says that there was no room an ErrDiskFull, too.
func asFull(err error) error {
	if noRoom(err) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// foundFull notes that a flush or a compaction found no room.
func (db *DB) foundFull(last *error, err error) {
	db.mu.Lock()
	first := *last == nil
	*last = err
	db.mu.full.failures++
	if last == &db.mu.full.flush {
		db.mu.pace.flushed = 0
	}
	db.noteMemoryLocked()
	db.notifyLocked()
	db.mu.Unlock()
	if first {
		db.options.Logger.Warn("the disk is full: writes are refused when memory is, until there is room", "dir", db.dir, "error", err)
	}
}

// foundRoom notes that one did.
func (db *DB) foundRoom(last *error) {
	db.mu.Lock()
	was := *last != nil
	if was {
		*last = nil
		db.noteMemoryLocked()
		db.notifyLocked()
	}
	db.mu.Unlock()
	if was {
		db.options.Logger.Info("the disk has room again", "dir", db.dir)
	}
}

// fullLocked is the error for who waits for a flush that the full disk holds up, or nil.
func (db *DB) fullLocked() error {
	err := db.mu.full.flush
	if err == nil && len(db.view.Load().set.Levels[0]) >= db.options.StopCount {
		err = db.mu.full.compaction
	}
	return asFull(err)
}

// pause waits before another attempt. It ends early when somebody asks for a flush, or the store is closed.
func (db *DB) pause() {
	asked := db.flushesAsked()
	ctx, cancel := context.WithTimeout(context.Background(), retryInterval)
	defer cancel()
	_ = db.await(ctx, func() bool { return db.mu.stopping || db.mu.asked != asked })
}

// flushesAsked counts the calls that wanted a flush.
func (db *DB) flushesAsked() uint64 {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.mu.asked
}

// awaitRoom waits until a writer may go on, or returns ErrDiskFull when only room on the disk would help.
func (db *DB) awaitRoom(room func() bool) (err error) {
	waited := db.awaitDisk(func() bool {
		if room() {
			err = nil
			return true
		}
		err = db.fullLocked()
		return err != nil
	})
	if waited != nil {
		return waited
	}
	return err
}

// flushedTo tells why a rotation is not durable when the flush loop has ended.
func (db *DB) flushedTo(number uint64) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.flushedToLocked(number)
}

func (db *DB) flushedToLocked(number uint64) error {
	if db.mu.flushed >= number {
		return nil
	}
	if err := db.failure(); err != nil {
		return err
	}
	return asFull(db.mu.full.flush)
}

// awaitFlushed waits until a rotation is durable. On a full disk it has the flush tried again, and returns ErrDiskFull if that
// fails, too, or the store is closed meanwhile.
func (db *DB) awaitFlushed(number uint64) (err error) {
	db.mu.Lock()
	failures := db.mu.full.failures
	db.mu.asked++
	db.notifyLocked()
	db.mu.Unlock()
	db.wakeCompaction()
	waited := db.await(context.Background(), func() bool {
		if db.mu.ended || db.mu.flushed >= number {
			err = db.flushedToLocked(number)
			return true
		}
		err = db.fullLocked()
		return err != nil && db.mu.full.failures > failures
	})
	if waited != nil {
		return waited
	}
	return err
}
